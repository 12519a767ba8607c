"""AdamW's groups, the learning rate over a run, and the clock that it follows."""

import math

import pytest
import torch

from genoconv.models import HyenaDNA
from genoconv.models.config import ModelConfig
from genoconv.train import clock as clock_module
from genoconv.train.clock import Clock
from genoconv.train.job import stages
from genoconv.train.optim import adamw, apply_settings, parameter_groups, rate_multiplier
from genoconv.train.settings import DataSettings, OptimSettings, Stage

SETTINGS = OptimSettings(lr=1e-3, filter_lr=2e-4, weight_decay=0.1, warmup_steps=9, final_lr_ratio=0.1)


@pytest.mark.parametrize("tied", [True, False])
def test_only_matrices_decay_and_filters_have_a_rate_of_their_own(tied: bool) -> None:
    model = HyenaDNA(ModelConfig(d_model=8, n_layer=2, max_length=32, filter_order=8, tied_head=tied))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, plain, filters = (
        {names[id(p)] for p in group["params"]}  # type: ignore[attr-defined]
        for group in parameter_groups(model, SETTINGS)
    )
    assert decayed | plain | filters == set(names.values())
    assert len(decayed) + len(plain) + len(filters) == len(names)
    assert all("filter_fn" in name for name in filters)
    assert {"backbone.layers.0.mixer.in_proj.weight", "backbone.layers.1.mlp.fc1.weight"} <= decayed
    assert ("lm_head.weight" in decayed) is not tied
    assert "backbone.embeddings.word_embeddings.weight" in plain
    assert not any(name.endswith("bias") or "norm" in name for name in decayed)
    rates = [(group["lr"], group["weight_decay"]) for group in parameter_groups(model, SETTINGS)]
    assert rates == [(1e-3, 0.1), (1e-3, 0.0), (2e-4, 0.0)]


def test_linear_warm_up_then_a_cosine_to_its_floor() -> None:
    share = rate_multiplier(SETTINGS, Clock(max_steps=1000, max_seconds=None).progress)
    assert share(0) == pytest.approx(0.1)
    assert share(4) == pytest.approx(0.5, rel=1e-3)
    assert share(500) == pytest.approx(0.55)
    assert share(1000) == pytest.approx(0.1)
    assert share(1200) == pytest.approx(0.1)
    assert all(share(step) > share(step + 1) for step in range(10, 999))


def test_time_rules_the_schedule_only_where_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(clock_module.time, "monotonic", lambda: now[0])
    clock, both = Clock(max_steps=None, max_seconds=80), Clock(max_steps=100, max_seconds=80)
    now[0] += 20
    assert clock.progress(5) == 0.25
    assert both.progress(5) == 0.05  # a machine that is fast enough gets the same schedule as any other
    now[0] += 55
    assert both.progress(10) == pytest.approx((75 / 80 - 0.25) / 0.75)
    assert not both.time_is_up()
    now[0] += 5
    assert both.progress(10) == clock.progress(5) == 1.0
    assert both.time_is_up()
    resumed = Clock(max_steps=None, max_seconds=100)
    resumed.restore(both.state())
    now[0] += 1000  # waiting does not count
    resumed.start()
    assert resumed.seconds == 80


def test_a_restored_optimiser_takes_the_settings_given_now() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4))
    clock = Clock(max_steps=100, max_seconds=None)

    def schedule(settings: OptimSettings) -> torch.optim.lr_scheduler.LambdaLR:
        return torch.optim.lr_scheduler.LambdaLR(adamw(model, settings), rate_multiplier(settings, clock.progress))

    old = schedule(SETTINGS)
    for _ in range(20):
        old.optimizer.step()
        old.step()
    lower = SETTINGS.model_copy(update={"lr": 1e-4, "weight_decay": 0.2})
    for settings, factor in ((SETTINGS, 1.0), (lower, 0.1)):
        new = schedule(settings)
        new.optimizer.load_state_dict(old.optimizer.state_dict())
        new.load_state_dict(old.state_dict())
        apply_settings(new, model, settings)
        assert new.optimizer.param_groups[0]["lr"] == old.optimizer.param_groups[0]["lr"] * factor
        assert new.optimizer.param_groups[0]["weight_decay"] == settings.weight_decay
        new.optimizer.step()
        new.step()
        cosine = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 0.21))
        assert new.optimizer.param_groups[0]["lr"] == pytest.approx(settings.lr * cosine)


@pytest.mark.parametrize(
    ("longest", "max_steps", "expected"),
    [
        (1026, None, [(1026, None)]),
        (8192, None, [(1024, 100), (4096, 100), (8192, None)]),
        (8192, 80, [(1024, 10), (4096, 10), (8192, None)]),
        (8192, 2, [(1024, 1), (4096, 1), (8192, None)]),
        (16384, None, [(1024, 100), (4096, 100), (16384, None)]),
    ],
)
def test_lengths_warm_up(longest: int, max_steps: int | None, expected: list[tuple[int, int | None]]) -> None:
    found = stages(DataSettings(), longest=longest, max_steps=max_steps)
    assert [(stage.length, stage.steps) for stage in found] == expected


def test_stages_that_are_given_are_kept() -> None:
    given = (Stage(length=8, steps=1), Stage(length=16))
    assert stages(DataSettings(stages=given), longest=100_000, max_steps=5) == given
