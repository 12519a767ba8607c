"""What follows the exchange of gradients, in a graph of its own; graphs on a GPU: tests/numerics/gpu/test_train.py."""

import logging
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genoconv.train import update as module
from genoconv.train.update import Update

RATES = (0.5, 0.25, 0.125, 0.0625, 0.03125)  # which float32 holds exactly


class Exchange:
    """One process: gradients move to places that stay."""

    def __init__(self, model: nn.Module) -> None:
        self.slots = {p: torch.zeros_like(p) for p in model.parameters()}
        self.met = 0

    def gather(self, gradients: Mapping[nn.Parameter, Tensor | None]) -> None:
        for parameter, slot in self.slots.items():
            gradient = gradients[parameter]
            assert gradient is not None
            slot.copy_(gradient)
            parameter.grad = slot

    def meet(self, *, marked: bool = False) -> None:
        assert not marked
        self.met += 1


class Capture:
    """Stands for :func:`.graphs.captured`: nothing happens before a replay, which reads the same places."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.graphs = self.replays = 0

    def __call__(self, work: Callable[[], None], stream: object) -> tuple[Any, None]:
        gradients = [p.grad for p in self.parameters]
        self.graphs += 1

        def replay() -> None:
            self.replays += 1
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient
            work()

        return SimpleNamespace(replay=replay), None


def learned(monkeypatch: pytest.MonkeyPatch, *, fused: bool, graphs: bool, fails: bool = False) -> tuple[Tensor, str]:
    """Weights after a step at each rate, and how many graphs were captured and replayed."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters(), fused=fused)
    exchange, capture = Exchange(model), Capture(list(model.parameters()))

    def refuse(work: object, stream: object) -> None:
        capture.graphs += 1
        raise RuntimeError("operation not\n permitted when stream is capturing")

    monkeypatch.setattr(module, "captured", refuse if fails else capture)
    monkeypatch.setattr(module, "_stream", lambda device: None)
    update = Update(optimizer, clip=0.5, exchange=exchange, graphs=graphs)  # type: ignore[arg-type]
    if fused:
        update._rates = torch.zeros(1)  # as on a GPU
    generator = torch.Generator().manual_seed(1)
    for rate in RATES:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        model(torch.randn(5, 3, generator=generator)).square().sum().backward()
        update()
        assert optimizer.param_groups[0]["lr"] == rate
    assert exchange.met == len(RATES)
    return torch.cat([p.detach().flatten() for p in model.parameters()]), f"{capture.graphs}, {capture.replays}"


def test_a_graph_after_the_exchange_takes_every_step_but_the_first(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain, none = learned(monkeypatch, fused=True, graphs=False)
    weights, counts = learned(monkeypatch, fused=True, graphs=True)
    assert (none, counts) == ("0, 0", f"1, {len(RATES) - 1}")
    assert torch.equal(weights, plain)
    assert not caplog.records


def test_steps_are_taken_without_a_graph_where_there_can_be_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain, _ = learned(monkeypatch, fused=True, graphs=False)
    with caplog.at_level(logging.WARNING, "genoconv"):
        weights, tried = learned(monkeypatch, fused=True, graphs=True, fails=True)
    assert tried == "1, 0"
    assert torch.equal(weights, plain)
    assert [record.getMessage() for record in caplog.records] == [
        "weights are updated without a CUDA graph: operation not permitted when stream is capturing"
    ]
    weights, tried = learned(monkeypatch, fused=False, graphs=True)
    assert tried == "0, 0"
    torch.testing.assert_close(weights, plain)
