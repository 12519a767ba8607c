"""What processes exchange, with another process that has the same gradients; two real ones: test_train_command.py."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from genoconv.train import exchange
from genoconv.train.exchange import Agreement, Exchange


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Exchanges as they begin and end; the other process gives whatever this one gives."""
    found: list[str] = []

    def all_reduce(x: Tensor, op: object = None, *, async_op: bool) -> SimpleNamespace:
        assert async_op
        found.append("begin")
        if op is None:
            x.mul_(2)
        return SimpleNamespace(wait=lambda: found.append("wait"))

    monkeypatch.setattr(exchange.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(exchange.dist, "broadcast", lambda tensor, src: found.append("broadcast"))
    monkeypatch.setattr(exchange.dist, "all_reduce", all_reduce)
    monkeypatch.setattr(exchange, "_BUCKET_BYTES", 4 * 16)
    return found


def model_of(layers: int) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(layers)))


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_exchanges_begin_while_the_backward_pass_runs(events: list[str]) -> None:
    model, x = model_of(3), torch.randn(5, 4)
    model(x).square().sum().backward()
    alone = gradients(model)
    model.zero_grad()
    ours = Exchange(model)
    assert events == ["broadcast"] * 3
    events.clear()
    for parameter in model.parameters():
        parameter.register_hook(lambda _: events.append("gradient"))
    for _ in range(2):
        events.clear()
        model(x).square().sum().backward()
        assert events == ["gradient", "begin"] * 3
        ours.finish()
        assert events[6:] == ["wait"] * 3
        torch.testing.assert_close(gradients(model), alone)
        model.zero_grad()


def test_gradients_of_several_passes_are_exchanged_once(events: list[str]) -> None:
    model, x = model_of(2), torch.randn(5, 4)
    model(x).sum().backward()
    alone = gradients(model)
    model.zero_grad()
    ours = Exchange(model)
    for active in (False, False, True):
        events.clear()
        ours.active = active
        model(x).sum().backward()
        assert events == ["begin", "begin"] * active
    ours.finish()
    torch.testing.assert_close(gradients(model), [3 * gradient for gradient in alone])


def test_what_gets_no_gradient_counts_as_zero_and_holds_nobody_up(events: list[str]) -> None:
    model = model_of(3)
    ours = Exchange(model)
    events.clear()
    model[0](torch.ones(1, 4)).sum().backward()
    assert events == []  # the buckets before it are not there
    ours.finish()
    assert events == ["begin"] * 3 + ["wait"] * 3
    assert [bool(gradient.any()) for gradient in gradients(model)] == [True, False, False]


def test_gradients_of_a_graph_go_through_the_same_buckets(events: list[str]) -> None:
    model = model_of(2)
    parameters = list(model.parameters())
    ours = Exchange(model)
    events.clear()
    given = [torch.randn(4, 4), None]
    found = ours.exchanged(given, parameters)
    assert events == ["begin", "begin", "wait", "wait"]
    torch.testing.assert_close(found, [given[0], torch.zeros(4, 4)])
    again = ours.exchanged([torch.ones(4, 4)] * 2, parameters)
    assert [x.data_ptr() for x in again] == [x.data_ptr() for x in found]


def test_processes_agree_a_step_later(events: list[str]) -> None:
    def trainer(world: int) -> pl.Trainer:
        made: Any = SimpleNamespace(world_size=world, strategy=SimpleNamespace(root_device=torch.device("cpu")))
        return cast(pl.Trainer, made)

    agreement = Agreement()
    answers = [agreement.ask(trainer(2), [number, 0]) for number in (3, 0, 5)]
    assert answers == [[0, 0], [3, 0], [0, 0]]
    assert events == ["begin", "begin", "wait", "begin", "wait"]
    assert agreement.ask(trainer(1), [True, 7]) == [1, 7]
