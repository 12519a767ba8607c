"""Gradients of two processes that talk through gloo: one goes through graphs, the other launches its steps.

A graph itself needs a GPU (``tests/numerics/gpu/test_train.py``). Here one is a pass that has its gradients ready
before anybody asks for them, in places that stay. A whole run of two processes: ``tests/cli/test_train_command.py``.
"""

import contextlib
import multiprocessing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from genoconv.train import exchange as exchange_module
from genoconv.train import graphs
from genoconv.train import update as update_module
from genoconv.train.batch import Batch
from genoconv.train.exchange import Exchange
from genoconv.train.graphs import GraphedSums
from genoconv.train.update import Update
from support import HANG

LENGTHS = ((8, 8, 8, 8, 8, 5, 8), (6, 7, 6, 9, 6, 6, 6))  # of each process's batches
NONE = torch.empty(0)


class Squares:
    """An objective with sums of its own for every batch."""

    def sums(self, model: nn.Module, batch: Batch) -> Tensor:
        values = model(batch.weights)
        return torch.stack([values.square().sum(), torch.tensor(float(values.numel()))])


class Graph(graphs._Graph):
    """Like a captured pass: gradients lie in the same places after each replay, and are gathered from there."""

    replays = 0

    def __init__(self, model: nn.Module, objective: Any, batch: Batch, update: Update | None) -> None:
        assert update is not None
        self.model, self.objective, self.length, self.update = model, objective, batch.ids.shape[1], update
        self.parameters = list(model.parameters())

    def fits(self, batch: Batch) -> bool:
        return batch.ids.shape[1] == self.length

    def replay(self, batch: Batch) -> Tensor:
        Graph.replays += 1
        sums = self.objective.sums(self.model, batch)
        found = torch.autograd.grad(sums[0] / sums[1], self.parameters)
        assert self.update is not None
        self.update.record(dict(zip(self.parameters, found, strict=True)))
        return sums.detach()


def batch_of(rank: int, number: int) -> Batch:
    length = LENGTHS[rank][number]
    generator = torch.Generator().manual_seed(10 * number + rank)
    return Batch(torch.zeros(1, length, dtype=torch.uint8), torch.randn(length, 3, generator=generator), length, NONE)


def new(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    return model, torch.optim.AdamW(model.parameters(), lr=2**-4, fused=True)


def process(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    graphs._Graph = Graph  # type: ignore[misc]
    update_module._stream = lambda device: None  # type: ignore[assignment, return-value]
    update_module.captured = lambda work, stream: (SimpleNamespace(replay=work), None)  # type: ignore[assignment]
    GraphedSums._pays = lambda self, batch: rank == 0  # type: ignore[method-assign]
    model, optimizer = new(rank)  # the second process begins with other weights
    graphed = GraphedSums(model, Squares())  # type: ignore[arg-type]
    graphed.update = update = Update(optimizer, clip=0.5, exchange=Exchange(model))
    update._rates = torch.zeros(1) if rank == 0 else None  # on a GPU, where graphs can read them
    for number in range(len(LENGTHS[0])):
        sums = graphed(batch_of(rank, number))
        if not graphed.updated:
            optimizer.zero_grad()
            (sums[0] / sums[1]).backward()
            update()
    torch.save((model.state_dict(), Graph.replays), folder / f"{rank}.pt")
    dist.destroy_process_group()


def alone() -> dict[str, Tensor]:
    """The weights after the same steps in one process, on the mean of both gradients."""
    model, optimizer = new(0)
    update = Update(optimizer, clip=0.5)
    for number in range(len(LENGTHS[0])):
        optimizer.zero_grad()
        for rank in range(2):
            sums = Squares().sums(model, batch_of(rank, number))
            (sums[0] / sums[1] / 2).backward()
        update()
    return model.state_dict()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_graph_on_one_process_and_none_on_the_other_learn_what_one_process_learns(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    pair = [context.Process(target=process, args=(rank, tmp_path)) for rank in range(2)]
    for one in pair:
        one.start()
    for one in pair:
        one.join(HANG)
        one.kill()  # it waits where the other has failed
        one.join()
    assert [one.exitcode for one in pair] == [0, 0]
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert [replays for _, replays in found] == [
        3,
        0,
    ]  # of seven steps: after three of a kind, and not of the short one
    assert all(torch.equal(found[0][0][name], found[1][0][name]) for name in found[0][0])
    for weights, _ in found:
        torch.testing.assert_close(dict(weights), dict(alone()))


def like_two_processes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The other process has gradients twice as large; returns the sizes of what is exchanged."""
    sizes: list[int] = []

    def all_reduce(buffer: Tensor, *, async_op: bool) -> SimpleNamespace:
        assert async_op
        sizes.append(buffer.numel())
        buffer.mul_(3)
        return SimpleNamespace(wait=lambda: None)

    monkeypatch.setattr(dist, "broadcast", lambda tensor, src: None)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    return sizes


def test_a_missing_gradient_counts_as_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    like_two_processes(monkeypatch)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())
    exchange = Exchange(model)
    for weights, biases in ((1, 1), (1, 0), (0, 0)):
        filled = {p: weights if p.ndim == 2 else biases for p in model.parameters()}
        exchange.gather({p: torch.ones_like(p) if some else None for p, some in filled.items()})
        exchange.meet()
        found = [float(p.grad.mean()) for p in model.parameters() if p.grad is not None]
        assert found == [1.5 * weights, 1.5 * biases] * 2


class Mark:
    """A moment in a graph; here it keeps what was gathered by then."""

    seen: list[list[float]]

    def __init__(self, device: torch.device) -> None:
        self.exchange: Exchange | None = None

    def record(self) -> None:
        assert self.exchange is not None
        self.seen.append([float(bucket.buffer.abs().sum()) for bucket in self.exchange._early + self.exchange._late])


@pytest.mark.parametrize("unused", [False, True])
def test_the_first_gradients_of_a_backward_pass_are_gathered_within_it(
    monkeypatch: pytest.MonkeyPatch, unused: bool
) -> None:
    """Unless one of them never comes: then all are gathered behind it."""
    sizes, seen = like_two_processes(monkeypatch), []
    monkeypatch.setattr(exchange_module, "_mark", Mark)
    monkeypatch.setattr(Mark, "seen", seen, raising=False)
    monkeypatch.setattr(Exchange, "_after_mark", lambda self: contextlib.nullcontext())
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 6), nn.Linear(6, 2))
    if unused:
        model.append(nn.Linear(2, 2))
    parameters = list(model.parameters())
    exchange = Exchange(model)
    exchange._mark.exchange = exchange  # type: ignore[attr-defined, union-attr]
    for step in (1, 2):
        with exchange.overlapping():
            loss = model[:4](torch.randn(5, 3)).square().sum()
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            assert len(seen) == (step - 1 if unused else step)
        exchange.gather(dict(zip(parameters, gradients, strict=True)), marked=True)
        exchange.meet(marked=True)
        assert len(seen) == step
        for parameter, gradient in zip(parameters, gradients, strict=True):
            expected = torch.zeros_like(parameter) if gradient is None else 1.5 * gradient
            torch.testing.assert_close(parameter.grad, expected)
    assert sizes[:2] == ([26, 40] if unused else [44, 16])  # whole parameters, a quarter or more for the end
    assert seen[0][0] > 0
    assert seen[0][1] == 0  # still to come


def test_a_pass_that_fails_while_it_is_captured_leaves_nothing_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    like_two_processes(monkeypatch)
    monkeypatch.setattr(exchange_module, "_mark", Mark)
    monkeypatch.setattr(Mark, "record", lambda self: None)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    exchange = Exchange(model)
    with contextlib.suppress(RuntimeError), exchange.overlapping():
        torch.autograd.grad(model(torch.ones(1, 3)).sum(), list(model.parameters()))
        raise RuntimeError("cannot be captured")
    exchange.gather({p: torch.ones_like(p) for p in model.parameters()})
    exchange.meet()
    assert all(bool((p.grad == 1.5).all()) for p in model.parameters())
