"""The minutes of a run: validation and steps that they do not hold are not begun, or are made to fit."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from fasta_files import random_bases, write_fasta
from train_runs import patterned_genome, train_tiny

from genoconv.genome.fasta.access import Fasta
from genoconv.models import HyenaDNA, ModelConfig
from genoconv.train import clock as clock_module
from genoconv.train import foresight
from genoconv.train.clock import Clock
from genoconv.train.held_out import HeldOut
from genoconv.train.objectives.next_base import NextBase
from genoconv.train.pace import Pace
from genoconv.train.readers import WindowReader
from genoconv.train.settings import DataSettings
from genoconv.train.stream import Share


class Machine:
    """A machine on which a step takes ``step`` seconds and a base of held-out sequence 1 / ``speed`` of one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, step: float, speed: float) -> None:
        self.now, self.step, self.speed, self.tokens = 1000.0, step, speed, 1000
        monkeypatch.setattr(clock_module.time, "monotonic", lambda: self.now)

    def run(self, pace: Pace, *, most: int = 100_000) -> tuple[int, list[int]]:
        """Steps done, and the steps after which the held-out windows were read on the way."""
        valid, *rest = pace.held_out
        validated = []
        pace.clock.start()
        pace.begin(0)
        for step in range(1, most + 1):
            self.now += self.step
            pace.step_done(self.step, self.tokens)
            over, due = pace.is_over(), pace.validation_is_due(step)
            if pace.limit_is_due():
                pace.limit(pace.limits())
            if over or step == pace.clock.max_steps:
                break
            if due:
                validated.append(step)
                self.read(pace, valid)
        for held_out in (valid, *rest):
            self.read(pace, held_out)
        return step, validated

    def read(self, pace: Pace, held_out: HeldOut) -> None:
        self.now += held_out.bases / self.speed
        pace.measured(held_out, held_out.bases / self.speed)


@pytest.fixture
def fasta(tmp_path: Path) -> Fasta:
    return Fasta(write_fasta(tmp_path / "genome.fa", {"c": random_bases(100_000, seed=1)}))


def held_out(fasta: Fasta, *, bases: int) -> list[HeldOut]:
    starts = np.arange(0, 100_000, 100)
    frame = pd.DataFrame({"contig": "c", "start": starts, "end": starts + 100, "strand": "+"})
    reader = WindowReader(fasta, frame)
    return [HeldOut(split, reader, bases=bases, tokens_per_batch=1000) for split in ("valid", "test")]


# Every two of the values meet once.
@pytest.mark.parametrize(
    ("seconds", "step", "speedup"),
    [
        *[(30, 0.05, 2.5), (30, 0.7, 1.5), (30, 4.0, 4)],
        *[(60, 0.05, 1.5), (60, 0.7, 4), (60, 4.0, 2.5)],
        *[(600, 0.05, 4), (600, 0.7, 2.5), (600, 4.0, 1.5)],
    ],
)
def test_a_run_keeps_to_its_minutes(
    fasta: Fasta, monkeypatch: pytest.MonkeyPatch, seconds: float, step: float, speedup: float
) -> None:
    machine = Machine(monkeypatch, step=step, speed=speedup * 1000 / step)
    sets = held_out(fasta, bases=100_000)
    pace = Pace(Clock(max_steps=None, max_seconds=seconds), every=None, held_out=sets, world=1)
    begun = machine.now
    steps, validated = machine.run(pace)
    used = machine.now - begun
    assert used <= seconds * 1.08 + step
    assert used >= seconds * 0.8 - step
    training = steps * step
    assert training >= 0.5 * seconds - step  # measuring does not eat the run
    assert len(validated) + 1 >= 5 or step > 0.03 * seconds
    assert all(some.bases >= 100 for some in sets)


def test_validation_that_costs_nothing_is_not_limited(fasta: Fasta, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, step=0.1, speed=1e7)
    sets = held_out(fasta, bases=50_000)
    pace = Pace(Clock(max_steps=None, max_seconds=100), every=None, held_out=sets, world=1)
    machine.tokens = 1_000_000
    steps, validated = machine.run(pace)
    assert steps >= 990
    assert [some.bases for some in sets] == [50_000, 50_000]
    assert set(range(100, 1000, 100)) <= set(validated)


def test_a_step_that_takes_longer_than_the_minutes_is_the_only_one(
    fasta: Fasta, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(monkeypatch, step=120, speed=100)
    pace = Pace(Clock(max_steps=None, max_seconds=60), every=None, held_out=held_out(fasta, bases=10_000), world=1)
    assert machine.run(pace) == (1, [])
    assert "one step takes 120 s, more than the 60 s of --max-minutes, so it is the only one" in caplog.text


@pytest.mark.parametrize(("last", "expected"), [(5, [1, 2, 3, 4]), (60, [12, 24, 36, 48]), (7, [2, 3, 5, 6])])
def test_a_short_run_has_five_validation_points(
    fasta: Fasta, monkeypatch: pytest.MonkeyPatch, last: int, expected: list[int]
) -> None:
    machine = Machine(monkeypatch, step=1, speed=1000)
    sets = held_out(fasta, bases=10_000)
    pace = Pace(Clock(max_steps=last, max_seconds=None), every=None, held_out=sets, world=1)
    assert machine.run(pace) == (last, expected)
    assert [step for step in range(last) if pace.was_due(step)] == expected
    assert sets[0].bases == 10_000


def test_what_was_asked_for_is_done(fasta: Fasta, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, step=1, speed=1000)
    pace = Pace(Clock(max_steps=20, max_seconds=None), every=6, held_out=held_out(fasta, bases=10_000), world=1)
    assert machine.run(pace) == (20, [6, 12, 18])
    assert [step for step in range(20) if pace.was_due(step)] == [6, 12, 18]


def test_processes_measure_together_and_so_in_less_time(fasta: Fasta, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module.time, "monotonic", lambda: 0.0)
    reserves = []
    for world in (1, 4):
        clock = Clock(max_steps=None, max_seconds=100)
        Pace(clock, every=None, held_out=held_out(fasta, bases=1_000), world=world).step_done(1.0, 1000)
        reserves.append(clock.reserve)
    assert reserves[0] == pytest.approx(4 * reserves[1])


def test_the_first_step_does_not_count_for_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """It also compiles and allocates."""
    machine = Machine(monkeypatch, step=1, speed=1)
    pace = Pace(Clock(max_steps=None, max_seconds=100), every=None, held_out=[], world=1)
    for seconds in (40, 1):
        pace.step_done(seconds, 1000)
    machine.now += 85
    assert not pace.is_over()
    machine.now += 14.5
    assert pace.is_over()


@pytest.mark.parametrize(("seconds", "affordable"), [(34, True), (36, False)])
def test_a_validation_beside_the_points_leaves_time_for_them(
    fasta: Fasta, monkeypatch: pytest.MonkeyPatch, seconds: float, affordable: bool
) -> None:
    """One was measured, this one, four points and the last are to come: seven in a quarter of 1,000 seconds."""
    Machine(monkeypatch, step=1, speed=1)
    valid = held_out(fasta, bases=1000)[0]
    pace = Pace(Clock(max_steps=None, max_seconds=1000), every=None, held_out=[valid], world=1)
    pace.measured(valid, seconds)
    pace.step_done(1, 1000)
    assert pace.validation_is_due(100) == affordable


@pytest.mark.parametrize(("minutes", "announced"), [(1e-5, True), (5, False)])
def test_minutes_without_room_for_a_step_are_announced_before_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, minutes: float, announced: bool
) -> None:
    fasta = patterned_genome(tmp_path / "g.fa")
    train_tiny(tmp_path / "run", fasta, f"run.max_minutes={minutes}", max_steps=2)
    told = [number for number, message in enumerate(caplog.messages) if "a window of each held-out set" in message]
    assert len(told) == announced
    if announced:
        first = next(number for number, message in enumerate(caplog.messages) if "it is the only one" in message)
        assert told[0] < first


def job_of(fasta: Fasta, **data: int) -> Any:
    """What looking ahead reads of a job, with a model that drops out."""
    torch.manual_seed(1)
    model = HyenaDNA(ModelConfig(d_model=16, n_layer=1, max_length=100, filter_order=16, resid_dropout=0.5)).train()
    valid, _ = held_out(fasta, bases=2_500)
    settings = SimpleNamespace(max_steps=None)
    return SimpleNamespace(
        model=model,
        objective=NextBase(),
        longest=100,
        data=DataSettings(tokens_per_batch=512, **data),
        settings=settings,
        train=valid.reader,
        held_out={"valid": valid.reader},
    )


def test_looking_ahead_leaves_no_trace_in_weights_or_random_numbers(fasta: Fasta) -> None:
    job = job_of(fasta)
    weights = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    random = torch.get_rng_state()
    foresight.warn_of_short_minutes(job, seconds=60)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in job.model.state_dict().items())
    assert all(parameter.grad is None for parameter in job.model.parameters())


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_least_that_a_run_does_is_a_step_and_a_window(
    fasta: Fasta, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, accumulate: int
) -> None:
    monkeypatch.setattr(foresight, "_seconds_per_base", lambda job: 0.01)
    needed = 0.01 * (accumulate * 512 + 100 / 3)
    foresight.warn_of_short_minutes(job_of(fasta, accumulate=accumulate), seconds=needed / 1.19)
    assert not caplog.messages
    foresight.warn_of_short_minutes(job_of(fasta, accumulate=accumulate), seconds=needed / 1.21)
    (message,) = caplog.messages
    assert f"about {needed:.0f} s here, more than the {needed / 1.21:.0f} s of --max-minutes" in message


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_processes_share_out_the_held_out_windows(fasta: Fasta, world: int) -> None:
    measured = [
        tuple(row.tolist())
        for rank in range(world)
        for batch in held_out(fasta, bases=2_500)[0].batches(Share(rank, world))
        for row in batch.ids
    ]
    (valid, _) = held_out(fasta, bases=2_500)
    assert sorted(measured) == sorted(tuple(valid.reader.read(number).tokens.tolist()) for number in valid.windows)
    assert len(measured) == 25
