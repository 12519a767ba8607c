"""When a step goes through a CUDA graph; the graphs themselves need a GPU (tests/numerics/gpu/test_train.py)."""

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch import nn

from genoconv.train import graphs
from genoconv.train.batch import Batch

if TYPE_CHECKING:
    from genoconv.train.exchange import Exchange
    from genoconv.train.update import Update


class _Graph:
    made: list[int]

    update = None

    def __init__(self, model: nn.Module, objective: object, batch: Batch, update: object = None) -> None:
        self.shape = tuple(x.shape for x in batch if isinstance(x, torch.Tensor))
        self.made.append(batch.ids.shape[1])

    def fits(self, batch: Batch) -> bool:
        return tuple(x.shape for x in batch if isinstance(x, torch.Tensor)) == self.shape

    def __call__(self, batch: Batch) -> str:
        return "graph"


class _Objective:
    def sums(self, model: nn.Module, batch: Batch) -> str:
        return "step"


def test_a_batch_of_another_shape_does_not_end_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Graph, "made", [], raising=False)
    monkeypatch.setattr(graphs, "_Graph", _Graph)
    monkeypatch.setattr(graphs.GraphedSums, "_pays", lambda self, batch: True)
    graphed = graphs.GraphedSums(nn.Linear(1, 1), _Objective())
    none = torch.empty(0)

    def ways(lengths: list[int]) -> str:
        batches = [Batch(torch.zeros(1, n, dtype=torch.uint8), none, n, none) for n in lengths]
        return "".join(str(graphed(batch))[0] for batch in batches)

    assert ways([8, 8, 8, 8, 8]) == "sssgg"
    assert ways([5, 8, 5, 8, 5, 8]) == "sgsgsg"  # the last batch of each epoch
    assert ways([9, 9, 9, 9]) == "sssg"  # the next stage of a run
    assert _Graph.made == [8, 9]


@pytest.mark.parametrize(
    ("rows", "length", "weighted", "targets", "served"),
    [
        (4, 16, True, 0, True),
        (3, 16, True, 0, True),
        (1, 5, True, 0, True),
        (5, 16, True, 0, False),
        (2, 17, True, 0, False),
        (3, 16, False, 0, False),
        (3, 16, True, 3, False),
    ],
)
def test_a_graph_serves_smaller_batches_of_the_same_kind(
    rows: int, length: int, weighted: bool, targets: int, served: bool
) -> None:
    def batch(rows: int, length: int, *, weighted: bool = True, targets: int = 0) -> Batch:
        weights = torch.ones(rows, length) if weighted else torch.empty(0)
        return Batch(torch.zeros(rows, length, dtype=torch.uint8), weights, rows * length, torch.zeros(targets))

    graph = graphs._Graph.__new__(graphs._Graph)
    graph.batch, graph.update = batch(4, 16), None
    graph.shape = tuple(x.shape for x in graph.batch if isinstance(x, torch.Tensor))
    assert graph.fits(batch(rows, length, weighted=weighted, targets=targets)) is served


def test_a_large_graph_is_filled_up_for_a_small_batch_only_where_others_take_a_whole_one() -> None:
    def batch(length: int) -> Batch:
        return Batch(torch.zeros(1, length, dtype=torch.uint8), torch.empty(0), length, torch.empty(0))

    graph = graphs._Graph.__new__(graphs._Graph)
    graph.batch, graph.shape, graph.update = batch(2**17), (), None
    assert not graph.fits(batch(2**15))
    assert graph.fits(batch(2**16))
    graph.update = cast("Update", SimpleNamespace(exchange=None))
    assert not graph.fits(batch(2**15))
    graph.update.exchange = cast("Exchange", object())
    assert graph.fits(batch(1))
    assert not graph.fits(batch(2**17 + 1))


def test_a_graph_that_cannot_be_captured_is_tried_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    def fails(*_: object) -> None:
        tried.append(1)
        raise RuntimeError("CUDA error: operation not\n permitted when stream is capturing")

    monkeypatch.setattr(graphs, "_Graph", fails)
    graphed = graphs.GraphedSums(nn.Linear(1, 1), _Objective())
    monkeypatch.setattr(graphs.GraphedSums, "_pays", lambda self, batch: self.enabled)
    none = torch.empty(0)
    batch = Batch(torch.zeros(1, 8, dtype=torch.uint8), none, 8, none)
    with caplog.at_level(logging.WARNING, "genoconv"):
        assert [graphed(batch) for _ in range(12)] == ["step"] * 12
    assert len(tried) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "training continues without CUDA graphs: CUDA error: operation not permitted when stream is capturing"
    ]


@pytest.mark.parametrize(
    ("change", "pays"),
    [
        ("none", True),
        ("many tokens", False),
        ("a long row", False),
        ("a CPU", False),
        ("no gradients", False),
        ("checkpointing", False),
        ("turned off", False),
    ],
)
def test_where_a_graph_pays(monkeypatch: pytest.MonkeyPatch, change: str, pays: bool) -> None:
    shape = {"many tokens": (2**14, 2**5), "a long row": (1, 2**16)}.get(change, (8, 1024))
    kind = "cpu" if change == "a CPU" else "cuda"
    ids: Any = SimpleNamespace(device=SimpleNamespace(type=kind), shape=shape, numel=lambda: shape[0] * shape[1])
    none = torch.empty(0)
    model = nn.Linear(1, 1)
    model.checkpointing = change == "checkpointing"  # type: ignore[assignment]
    graphed = graphs.GraphedSums(model, _Objective(), enabled=change != "turned off")
    with torch.set_grad_enabled(change != "no gradients"):
        assert graphed._pays(Batch(ids, none, 1, none)) is pays
    graphed.enabled = False
    assert not graphed._pays(Batch(ids, none, 1, none))
