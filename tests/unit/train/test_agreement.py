"""What processes agree on, with another process that answers as this one asks; two real ones: test_train_command.py."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from genoconv.train import agreement
from genoconv.train.agreement import Agreement


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Exchanges as they begin and end; the other process has the same numbers."""
    found: list[str] = []

    def all_reduce(x: Tensor, op: object, *, async_op: bool) -> SimpleNamespace:
        assert async_op
        found.append("begin")
        return SimpleNamespace(wait=lambda: found.append("wait"))

    monkeypatch.setattr(agreement.dist, "all_reduce", all_reduce)
    return found


def test_processes_agree_a_step_later(events: list[str]) -> None:
    def trainer(world: int) -> pl.Trainer:
        made: Any = SimpleNamespace(world_size=world, strategy=SimpleNamespace(root_device=torch.device("cpu")))
        return cast(pl.Trainer, made)

    asked = Agreement()
    answers = [asked.ask(trainer(2), [number, 0]) for number in (3, 0, 5)]
    assert answers == [[0, 0], [3, 0], [0, 0]]
    assert events == ["begin", "begin", "wait", "begin", "wait"]
    assert asked.ask(trainer(1), [True, 7]) == [1, 7]
