"""When a step goes through a CUDA graph; the graphs themselves need a GPU (tests/numerics/test_train_gpu.py)."""

import pytest
import torch
from torch import nn

from genoconv.train import graphs
from genoconv.train.data import Batch


class _Graph:
    made: list[int]

    update = None

    def __init__(self, model: nn.Module, objective: object, batch: Batch, update: object = None) -> None:
        self.shape = tuple(x.shape for x in batch if isinstance(x, torch.Tensor))
        self.made.append(batch.ids.shape[1])

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
