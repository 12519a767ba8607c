"""What processes agree on, with another process that answers as this one asks; two real ones: test_train_command.py."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from genoconv.train import agreement
from genoconv.train.agreement import Agreement, largest, summed


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Exchanges as they begin and end; the other process has the same numbers."""
    found: list[str] = []

    def all_reduce(x: Tensor, op: object = None, group: str | None = None, *, async_op: bool = False) -> Any:
        if not async_op:
            x.mul_(2)
            return None
        assert x.device.type == "cpu"
        found.append(f"begin in {group}")
        return SimpleNamespace(wait=lambda: found.append("wait"))

    monkeypatch.setattr(agreement.dist, "all_reduce", all_reduce)
    return found


def trainer(world: int, *, device: str = "cpu", asking: str | None = None) -> pl.Trainer:
    strategy = SimpleNamespace(root_device=torch.device(device), asking=asking)
    made: Any = SimpleNamespace(world_size=world, strategy=strategy)
    return cast(pl.Trainer, made)


@pytest.mark.parametrize(("device", "asking"), [("cpu", None), ("cuda", "a group")])
def test_processes_agree_a_step_later_and_no_gpu_takes_part(events: list[str], device: str, asking: str | None) -> None:
    pair, asked = trainer(2, device=device, asking=asking), Agreement()
    answers = [asked.ask(pair, [number, 0]) for number in (3, 0, 5)]
    assert answers == [[0, 0], [3, 0], [0, 0]]
    begin = f"begin in {asking}"
    assert events == [begin, begin, "wait", begin, "wait"]
    assert largest(pair, [False, 4]) == [0, 4]
    assert events[5:] == [begin, "wait"]


def test_one_process_asks_nobody(events: list[str]) -> None:
    alone = trainer(1)
    assert Agreement().ask(alone, [True, 7]) == [1, 7]
    assert largest(alone, [True, 7]) == [1, 7]
    assert not events
    assert [summed(trainer(world), torch.ones(1)).tolist() for world in (1, 2)] == [[1], [2]]
