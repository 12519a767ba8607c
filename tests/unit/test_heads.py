"""Heads: pooling over the bases alone, sequences longer than the model, both strands, model folders."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from embed_files import bases, padded, rc, small_model, states

from genoconv.errors import ModelError
from genoconv.models import load_model, model_digest, save_model
from genoconv.models.heads import Head, HeadConfig, Predictor
from genoconv.models.parts import cut, opposite
from genoconv.models.published import layouts
from genoconv.models.published.conversion import restore_published
from genoconv.pipelines.finetune.vectors import pooled
from genoconv.pipelines.models.run import describe_model
from genoconv.tokens import PAD, encode
from genoconv.train.optim import parameter_groups
from genoconv.train.settings import HeadOptimSettings


def predictor(*, seed: int = 0, **head: object) -> Predictor:
    config = HeadConfig(**{"kind": "multiclass", "labels": ("a", "b", "c"), **head})  # type: ignore[arg-type]
    model = Predictor.on(small_model(), config).eval()
    torch.manual_seed(seed)
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter)
    return model


def by_hand(model: Predictor, sequence: str, *, mirrored: bool = False) -> np.ndarray:
    """The vector of a sequence, from the states of its parts, each alone."""
    limit, pooling = model.config.max_bases, model.head.config.pooling
    blocks = range(model.config.n_layer) if model.head.config.layers == "all" else ()

    def layers(part: str) -> np.ndarray:
        return np.concatenate([states(model, part, layer) for layer in (*blocks, None)], axis=1)

    if pooling == "last":
        return layers(sequence[-limit:])[-1]
    parts = -(-len(sequence) // limit)
    edges = [len(sequence) * part // parts for part in range(parts + 1)]
    edges = [len(sequence) - edge for edge in reversed(edges)] if mirrored else edges
    whole = np.concatenate([layers(sequence[a:b]) for a, b in pairwise(edges)])
    if pooling == "mean":
        return whole.mean(0)
    scores = whole @ model.head.attention.weight[0].detach().double().numpy()  # type: ignore[union-attr]
    weights = np.exp(scores - scores.max())
    return (weights[:, None] * whole).sum(0) / weights.sum()


@pytest.mark.parametrize("pooling", ["mean", "last", "attention"])
@pytest.mark.parametrize(("both", "layers"), [(False, "last"), (True, "last"), (True, "all")])
def test_every_way_to_the_pooled_vector_gives_the_same(pooling: str, both: bool, layers: str) -> None:
    model = predictor(pooling=pooling, both_strands=both, layers=layers)
    limit = model.config.max_bases
    some = [bases(40), bases(limit, seed=2), bases(limit + 1, seed=3), bases(3 * limit - 7, seed=4), "A"]
    forward = np.stack([by_hand(model, s) for s in some])
    backward = np.stack([by_hand(model, rc(s), mirrored=True) for s in some])
    wanted = (forward + backward) / 2 if both else forward
    with torch.no_grad():
        together = model.pooled(padded(*some)).numpy()
    np.testing.assert_allclose(together, wanted, atol=2e-5)
    np.testing.assert_allclose(pooled(model, [encode(s) for s in some]), wanted, atol=2e-5)


def test_a_record_has_the_same_vector_alone_and_in_any_batch() -> None:
    model = predictor(pooling="attention", both_strands=True)
    with torch.no_grad():
        alone = model.pooled(padded(bases(30)))
        among = model.pooled(padded(bases(30), bases(250, seed=5)))[:1]
    torch.testing.assert_close(alone, among, atol=1e-5, rtol=0)


def test_parts_are_equal_and_cover_each_record_once() -> None:
    ids = torch.arange(1, 24).repeat(3, 1) + 7
    for row, length in enumerate((23, 11, 4)):
        ids[row, length:] = PAD
    pieces, valid = cut(ids, longest=10, last=False)
    assert valid.sum((1, 2)).tolist() == [23, 11, 4]
    assert valid.sum(2).tolist() == [[7, 8, 8], [5, 6, 0], [4, 0, 0]]
    assert [pieces[row][valid[row]].tolist() for row in range(3)] == [
        ids[r, :n].tolist() for r, n in enumerate((23, 11, 4))
    ]
    last, valid = cut(ids, longest=10, last=True)
    assert last[0, 0].tolist() == ids[0, 13:].tolist()
    assert valid.sum((1, 2)).tolist() == [10, 10, 4]


def test_the_opposite_strand_of_padded_rows() -> None:
    assert opposite(padded("ACGTN", "AAC")).tolist() == padded("NACGT", "GTT").tolist()


def test_predictions_are_probabilities_or_values_in_their_unit() -> None:
    ids = padded(bases(30), bases(50, seed=2))
    classes = predictor().predict(ids)
    assert classes.shape == (2, 3)
    torch.testing.assert_close(classes.sum(1), torch.ones(2))
    one = predictor(kind="binary", labels=("no", "yes")).predict(ids)
    assert one.shape == (2, 1)
    assert ((one > 0) & (one < 1)).all()
    values = predictor(kind="regression", labels=("x", "y"))
    before = values.predict(ids)
    values.head.offset.fill_(100.0)
    values.head.unit.fill_(2.0)
    torch.testing.assert_close(values.predict(ids), 2 * before + 100)
    for wrong in (ids[0], ids.float(), padded(""), "ACGT", ids.numpy(), ids > 7):
        with pytest.raises(ModelError, match="predict takes"):
            values.predict(wrong)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="only padding"):
        values.predict(torch.full((1, 4), PAD))


def test_a_model_folder_keeps_the_head(tmp_path: Path) -> None:
    model = predictor(pooling="attention", both_strands=True)
    model.head.center.normal_()
    save_model(model, tmp_path / "m", provenance={})
    again = load_model(tmp_path / "m")
    assert isinstance(again, Predictor)
    assert again.head.config == model.head.config
    ids = padded(bases(40), bases(130, seed=2))
    assert torch.equal(again.predict(ids), model.predict(ids))
    assert torch.equal(again.hidden(ids[:, :60]), model.hidden(ids[:, :60]))
    assert describe_model(tmp_path / "m")["head"]["labels"] == ["a", "b", "c"]
    digest = model_digest(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    record = json.loads(path.read_text())
    record["head"]["both_strands"] = False
    path.write_text(json.dumps(record))
    assert model_digest(tmp_path / "m") != digest


def test_the_backbone_is_exported_without_the_head(tmp_path: Path) -> None:
    save_model(small_model(), tmp_path / "base", provenance={})
    save_model(Predictor.on(load_model(tmp_path / "base"), predictor().head.config), tmp_path / "m", provenance={})
    _, tensors, _ = restore_published(tmp_path / "m", layouts.HF)
    _, wanted, _ = restore_published(tmp_path / "base", layouts.HF)
    assert tensors.keys() == wanted.keys()
    assert all(torch.equal(tensors[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ({"kind": "binary", "labels": ["a"]}, "a binary head has two, not 1"),
        ({"kind": "multiclass", "labels": ["a", "a"]}, "two have the same name"),
        ({"kind": "rank", "labels": ["a"]}, "kind: Input should be"),
        ({"kind": "regression", "labels": ["a"], "depth": 3}, "depth: Extra inputs"),
        ({"kind": "regression"}, "labels: Field required"),
    ],
)
def test_an_unknown_head_is_refused(tmp_path: Path, head: dict[str, object], words: str) -> None:
    save_model(small_model(), tmp_path / "m", provenance={})
    path = tmp_path / "m" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"head": head}))
    with pytest.raises(ModelError, match=words) as caught:
        load_model(tmp_path / "m")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parameters_have_the_rates_of_their_parts() -> None:
    model = predictor()
    settings = HeadOptimSettings(lr=1.0, filter_lr=2.0, head_lr=3.0, weight_decay=0.5)
    rates = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in parameter_groups(model, settings)
        for parameter in group["params"]  # type: ignore[attr-defined]
    }
    block = model.backbone.layers[0]
    assert rates[id(model.head.linear.weight)] == (3.0, 0.5)
    assert rates[id(block.mixer.in_proj.weight)] == (1.0, 0.5)  # type: ignore[union-attr]
    assert rates[id(block.norm1.weight)] == (1.0, 0.0)  # type: ignore[union-attr]
    assert rates[id(block.mixer.filter_fn.bias)] == (2.0, 0.0)  # type: ignore[union-attr]
    assert len(rates) == len(list(model.parameters()))
    model.freeze()
    assert [p for g in parameter_groups(model, settings) for p in g["params"]] == list(model.head.parameters())  # type: ignore[attr-defined]


@pytest.mark.parametrize("pooling", ["mean", "last", "attention"])
def test_pooling_keeps_float32_under_autocast(pooling: str) -> None:
    head = Head(HeadConfig(kind="binary", labels=("a", "b"), pooling=pooling), 8)  # type: ignore[arg-type]
    random = torch.Generator().manual_seed(2)
    if head.attention is not None:
        torch.nn.init.normal_(head.attention.weight, generator=random)
    states = torch.randn(3, 40, 8, generator=random)
    valid = torch.ones(3, 40, dtype=torch.bool)
    expected = head.pool(states, valid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head.pool(states, valid), expected)
