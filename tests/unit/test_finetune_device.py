"""Fine-tuning computes where the run computes, before and after the training loop, which leaves models on the CPU."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from finetune_runs import base_model, classed_table, finetune

from genoconv.models.heads import Predictor
from genoconv.pipelines.finetune import run, vectors
from genoconv.train import loop


@pytest.mark.parametrize("mode", ["head", "full"])
def test_vectors_are_computed_on_the_device_of_the_run(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = torch.device("cpu", 3)  # told from any other by its number
    events: list[str] = []

    def noted(function: Any, event: str) -> Any:
        def call(*values: Any, **named: Any) -> Any:
            events.append(event)
            return function(*values, **named)

        return call

    def to(self: Predictor, *values: Any, **named: Any) -> Any:
        events.extend("moved" for value in values if value == device)
        return torch.nn.Module.to(self, *values, **named)

    found = run.find_machine
    monkeypatch.setattr(run, "find_machine", lambda settings, **rest: replace(found(settings, **rest), device=device))
    monkeypatch.setattr(Predictor, "to", to)
    monkeypatch.setattr(vectors, "pooled", noted(vectors.pooled, "computed"))
    monkeypatch.setattr(loop, "run", noted(loop.run, "trained"))
    base = base_model(tmp_path / "base")
    finetune(classed_table(tmp_path / "t.csv"), base, tmp_path / "out", "--mode", mode)
    trained = events.index("trained")
    assert events[:trained] == ["moved", "computed"]
    # With the head alone, what was computed before serves the evaluation too.
    assert events[trained + 1] == "moved"
    assert set(events[trained + 2 :]) == ({"computed"} if mode == "full" else set())
