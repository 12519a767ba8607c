"""What processes agree on, with another process that answers as this one asks; two real ones: test_train_command.py."""

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from genoconv.errors import DivergedError
from genoconv.train import agreement
from genoconv.train.agreement import Agreement, parting


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


@pytest.mark.parametrize(("error", "parted"), [(None, True), (DivergedError, True), (OSError, False)])
def test_processes_leave_together_what_ends_for_all_of_them(
    error: type[Exception] | None, parted: bool, tmp_path: Path
) -> None:
    """One that fails alone must not wait for the others."""
    dist = agreement.dist
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        with contextlib.suppress(OSError, DivergedError), parting():
            if error is not None:
                raise error("lost")
        assert dist.is_initialized() is not parted
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
