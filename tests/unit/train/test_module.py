"""The training step itself: errors of the model, and who updates the weights."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from torch import nn
from train_runs import train_tiny

from genoconv.errors import DivergedError, UsageError
from genoconv.train.batch import Batch
from genoconv.train.clock import Clock
from genoconv.train.module import Learner
from genoconv.train.objectives.next_base import NextBase
from genoconv.train.settings import OptimSettings


@pytest.mark.parametrize(("lost", "error"), [(False, UsageError), (True, DivergedError)])
def test_a_refusal_of_the_model_is_a_lost_run_only_where_weights_are_lost(
    monkeypatch: pytest.MonkeyPatch, lost: bool, error: type[Exception]
) -> None:
    def refuse(batch: Any) -> None:
        raise UsageError("u holds values that are not finite")

    model = nn.Linear(2, 2)
    nn.init.constant_(model.weight, math.nan if lost else 1.0)
    clock = Clock(max_steps=1, max_seconds=None)
    learner = Learner(model, objective=NextBase(), optim=OptimSettings(), clock=clock, seed=0)
    learner._trainer = SimpleNamespace(global_step=7)
    monkeypatch.setattr(learner, "_graphed", refuse)
    with pytest.raises(error, match="after step 7" if lost else "u holds values"):
        learner.sums(cast(Batch, None))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_graph_updates_the_weights_only_where_every_batch_is_a_step(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    learners: list[Learner] = []
    started = Learner.on_train_start
    monkeypatch.setattr(Learner, "on_train_start", lambda self: (learners.append(self), started(self))[1])
    train_tiny(tmp_path / "run", fasta, f"data.accumulate={accumulate}", max_steps=1)
    (learner,) = learners
    assert learner._update is not None
    assert learner._graphed.update is (learner._update if accumulate == 1 else None)
