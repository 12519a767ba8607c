"""The calibration at the end of ``genoconv train``: what it holds, how large it is, what goes wrong without harm."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from calls import call
from fasta_files import write_fasta
from train_runs import patterned_bases, resumed, tiny_config

from genoconv.errors import Interrupted, OutputError
from genoconv.models import load_model
from genoconv.models.checkpoint import model_digest
from genoconv.pipelines.models import calibrate
from genoconv.pipelines.train import calibration
from genoconv.pipelines.train import run as pipeline
from genoconv.pipelines.train.calibration import Size, affordable, time_for
from genoconv.pipelines.train.options import TrainRun
from genoconv.tasks.calibration import NAME, Calibration


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample whose size does not depend on how fast this machine is."""
    monkeypatch.setattr(calibration, "time_for", lambda seconds: 5.0)
    monkeypatch.setattr(calibration, "affordable", lambda sampling, budget: Size(5000, 0))


def train(folder: Path, *fastas: Path, force: bool = False, calibrate: bool = True) -> None:
    config = tiny_config(fastas[0], *([f"fasta={list(map(str, fastas))}"] if fastas[1:] else []), max_steps=2)
    config = config.model_copy(update={"run": config.run.model_copy(update={"calibrate": calibrate})})
    assert pipeline.train(config, folder=folder, force=force, quiet=True) == 0


def test_a_trained_model_is_calibrated_as_the_command_does(
    fasta: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert TrainRun().calibrate
    folder = tmp_path / "run"
    with caplog.at_level(logging.INFO, logger="genoconv"):
        train(folder, fasta)
    told = [line for line in caplog.messages if "calibrate" in line or "SNVs by scan" in line]
    assert [line.partition(",")[0] for line in told[:1]] == ["the finished model will be calibrated on a sample"]
    assert f"{folder / NAME}: " in told[1]
    assert "to add them: genoconv models calibrate" in told[2]
    found = Calibration.load(folder)
    assert found is not None
    assert (found.facts["model"], found.facts["positions"]) == (model_digest(folder), 5024)
    before = (folder / NAME).read_bytes()
    words = [
        "models",
        "calibrate",
        folder,
        "-f",
        fasta,
        "--sample",
        5000,
        "--variants",
        0,
        "--device",
        "cpu",
        "--force",
    ]
    call(*words)
    assert (folder / NAME).read_bytes() == before


def test_of_several_sources_the_first_is_sampled(fasta: Path, tmp_path: Path) -> None:
    other = write_fasta(tmp_path / "other.fa", {"chr1": patterned_bases(20_000, seed=2)})
    train(tmp_path / "run", other, fasta)
    found = Calibration.load(tmp_path / "run")
    assert found is not None
    assert found.facts["genome"]["name"] == "other.fa"


def test_what_goes_wrong_leaves_the_model(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"

    def fail(error: BaseException) -> Any:
        def fill(*_: object, **__: object) -> None:
            raise error

        return fill

    monkeypatch.setattr(calibrate, "fill", fail(OutputError("the disk is full")))
    train(folder, fasta)
    [warning] = [line for line in caplog.messages if "disk is full" in line]
    assert warning.endswith(f"to calibrate it, run: genoconv models calibrate {folder} -f {fasta}")
    load_model(folder)
    monkeypatch.setattr(calibrate, "fill", fail(KeyboardInterrupt()))
    with pytest.raises(Interrupted, match="is complete; to calibrate it, run: genoconv models calibrate"):
        train(folder, fasta, force=True)
    load_model(folder)
    assert not (folder / NAME).exists()
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert not (folder / "previous").exists()


def test_a_calibration_does_not_outlive_its_weights(fasta: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(folder, fasta)
    assert (folder / NAME).exists()
    config = resumed(folder, "run.max_steps=3", "run.calibrate=false")
    assert pipeline.resume(config, folder=folder, quiet=True) == 0
    assert not (folder / NAME).exists()
    (folder / NAME).touch()
    train(folder, fasta, force=True, calibrate=False)
    assert not (folder / NAME).exists()


def test_a_short_run_has_none_and_says_how(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(calibration, "time_for", lambda seconds: 0.1)
    with caplog.at_level(logging.INFO, logger="genoconv"):
        train(tmp_path / "run", fasta)
    assert not (tmp_path / "run" / NAME).exists()
    assert any("too short to calibrate" in line and "genoconv models calibrate" in line for line in caplog.messages)


def test_a_window_that_takes_longer_than_all_the_time_is_not_read(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(calibration, "_FORWARD_SPEEDUP", 1e-9)
    monkeypatch.setattr(calibration, "affordable", lambda *_: pytest.fail("measured"))
    with caplog.at_level(logging.INFO, logger="genoconv"):
        train(tmp_path / "run", fasta)
    assert any("too few scores could be sampled in 5 s" in line for line in caplog.messages)


@dataclass
class Machine:
    """As fast as it says."""

    scanned: float | None
    scored: float | None
    places: range

    def scan_speed(self, *, seconds: float) -> float | None:
        return self.scanned

    def score_speed(self, *, seconds: float) -> float | None:
        return self.scored

    def positions(self, numbers: range) -> int:
        return 10 * len(numbers)


@pytest.mark.parametrize(
    ("scanned", "scored", "bases", "expected"),
    [
        (1e3, 3.0, 10**7, Size(18_000, 0)),  # a CPU: 18 of 20 seconds, the rest was measuring
        (1.01e3, 3.1, 10**7, Size(18_000, 0)),  # nearly as fast
        (1e3, 1e3, 10**7, Size(6_000, 4_000)),  # a third for the scan
        (300.0, 1e3, 10**7, Size(5_400, 0)),  # the scan alone fits
        (1e7, 1e5, 10**7, Size(5_000_000, 20_000)),  # no more than the command's own
        (200.0, 1e3, 10**7, None),  # too slow
        (1e7, 1e5, 4_000, None),  # too small a genome
        (None, None, 0, None),
    ],
)
def test_the_sample_follows_from_the_speed(
    scanned: float | None, scored: float | None, bases: int, expected: Size | None
) -> None:
    machine: Any = Machine(scanned, scored, range(bases // 10))
    assert affordable(machine, 20.0) == expected


def test_it_takes_a_twentieth_of_the_run_and_seconds_at_most() -> None:
    assert [time_for(seconds) for seconds in (10, 100, 10_000)] == [0.5, 5, 20]
