"""Heads without pooling: every base from its own state, both strands, records longer than the model."""

import numpy as np
import pytest
import torch
from embed_files import bases, padded, rc, small_model, states

from genoconv.models.heads import HeadConfig, Predictor
from genoconv.models.parts import overlapping
from genoconv.tasks.bases import BaseOutputs, Stretch, whole
from genoconv.tokens import encode
from genoconv.train.batch import Item, collate
from genoconv.train.objectives.labelled import Labelled
from genoconv.train.records import BaseReader


def predictor(**head: object) -> Predictor:
    config = HeadConfig(**{"kind": "multilabel", "labels": ("a", "b"), "pooling": "none", **head})  # type: ignore[arg-type]
    model = Predictor.on(small_model(max_length=42), config).eval()
    torch.manual_seed(5)
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter)
    return model


def one_way(model: Predictor, sequence: str) -> np.ndarray:
    """The state of each base, from a window of its own in which it has what it should before it."""
    limit = model.config.max_bases
    if len(sequence) <= limit:
        return states(model, sequence)
    step = limit // 2
    firsts = [max(0, place // step - 1) * step for place in range(len(sequence))]
    return np.stack([states(model, sequence[first : place + 1])[-1] for place, first in enumerate(firsts)])


def by_hand(model: Predictor, sequence: str, *, flipped: bool = True) -> np.ndarray:
    head = model.head
    seen, other = one_way(model, sequence), one_way(model, rc(sequence))
    other = other[::-1] if flipped else other
    if head.config.both_strands:
        seen = np.concatenate([seen, other], axis=1) if head.config.stranded else (seen + other) / 2
    outputs = seen @ head.linear.weight.detach().double().numpy().T + head.linear.bias.detach().double().numpy()
    return 1 / (1 + np.exp(-outputs))


KINDS = [{}, {"both_strands": True}, {"both_strands": True, "stranded": True}]


@pytest.mark.parametrize("head", KINDS)
def test_every_way_to_the_predictions_of_bases_gives_the_same(head: dict[str, object]) -> None:
    model = predictor(**head)
    limit = model.config.max_bases
    some = [bases(length, seed=length) for length in (17, limit, limit + 1, 3 * limit - 7, 1)]
    found = model.predict(padded(*some)).numpy()
    assert found.shape == (5, 3 * limit - 7, 2)
    tasks = BaseOutputs(model).predictions([whole(encode(s)) for s in some])
    for row, sequence, values in zip(found, some, tasks, strict=True):
        wanted = by_hand(model, sequence)
        np.testing.assert_allclose(row[: len(sequence)], wanted, atol=2e-5)
        np.testing.assert_allclose(values, wanted, atol=2e-5)
        assert np.isnan(row[len(sequence) :]).all()
    if head:  # the other strand is not simply the same
        assert not np.allclose(found[1, :limit], by_hand(model, some[1], flipped=False), atol=1e-3)


@pytest.mark.parametrize("head", KINDS)
def test_a_stretch_has_the_predictions_of_the_whole(head: dict[str, object]) -> None:
    tokens = encode(bases(200))
    outputs = BaseOutputs(predictor(**head))
    [everything] = outputs([whole(tokens)])
    outputs._vectors.most = 23  # states are held for so many bases at once
    parts = outputs([Stretch(tokens, first, min(first + 37, 200)) for first in range(0, 200, 37)])
    np.testing.assert_allclose(np.concatenate(parts), everything, atol=1e-5)


def test_both_strands_predict_alike_where_labels_have_no_strand() -> None:
    model, sequence = predictor(both_strands=True), bases(130)
    one, two = BaseOutputs(model).predictions([whole(encode(s)) for s in (sequence, rc(sequence))])
    np.testing.assert_allclose(one, two[::-1], atol=1e-5)


@pytest.mark.parametrize("length", [1, 9, 10, 11, 25, 64])
def test_windows_cover_each_base_once_with_half_a_window_before_it(length: int) -> None:
    windows = list(overlapping(0, length, length=length, longest=10))
    assert [place for _, kept, end in windows for place in range(kept, end)] == list(range(length))
    for start, kept, end in windows:
        assert end - start <= 10
        assert kept == start == 0 or kept - start >= 5
    if length > 20:  # of a part, the same windows
        for start, kept, end in overlapping(12, 19, length=length, longest=10):
            assert any(start == s and k <= kept and end <= e for s, k, e in windows)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "regression"])
def test_what_is_unknown_is_not_learned_or_counted(kind: str) -> None:
    labels = {"binary": ("n", "y"), "regression": ("x", "y")}.get(kind, ("a", "b", "c"))
    model = predictor(kind=kind, labels=labels)
    head = model.head.config
    random = np.random.default_rng(2)
    width = 1 if kind in ("binary", "multiclass") else head.outputs
    targets = random.integers(2, size=(30, width)).astype(np.float32)
    tokens = encode(bases(30))
    objective = Labelled(head)
    full = objective.sums(model, collate([Item(tokens[:20], target=targets[:20])]))
    hidden = targets.copy()
    hidden[20:] = np.nan
    shorter = Item(encode(bases(7)), target=np.full((7, width), np.nan, np.float32))
    found = objective.sums(model, collate([Item(tokens, target=hidden), shorter]))
    torch.testing.assert_close(found, full, atol=1e-4, rtol=1e-4)
    assert found.detach()[1] == 20 * (1 if kind == "multiclass" else head.outputs)
    found[0].backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.head.parameters() if p.grad is not None)


def test_a_flipped_record_has_the_targets_of_its_other_strand() -> None:
    tokens, targets = encode("ACGTT"), np.arange(5, dtype=np.float32)[:, None]
    reader = BaseReader([tokens], [targets])
    item = reader.read(0, crop=(1, 4), flip=True)
    assert item.tokens.tolist() == encode("ACG").tolist()
    assert item.target is not None
    assert item.target[:, 0].tolist() == [3, 2, 1]
    item = BaseReader([tokens], [targets], opposite=[targets + 10]).read(0, crop=(1, 4), flip=True)
    assert item.target is not None
    assert item.target[:, 0].tolist() == [11, 12, 13]
