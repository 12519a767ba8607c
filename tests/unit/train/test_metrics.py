"""Rows of ``metrics.csv``: what is written, what a resumed run reads back, and what it refuses."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from genoconv.errors import DataError, DivergedError
from genoconv.train import callbacks
from genoconv.train.metrics import has_rows, read_rows

HEADER = "step,tokens,split,loss,perplexity,learning_rate,tokens_per_second\n"
TRAIN, VALID = "1,100,train,1.4,4.1,0.001,50.0\n", "2,200,valid,1.3,3.7,0.001,\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.csv"


def test_rows_are_read_back(path: Path) -> None:
    assert read_rows(path) == []
    assert not has_rows(path)
    path.write_text(HEADER)
    assert read_rows(path) == []
    assert not has_rows(path)
    path.write_text(HEADER + TRAIN + VALID)
    train, valid = read_rows(path)
    assert (train.step, train.tokens, train.split, train.loss, train.tokens_per_second) == (1, 100, "train", 1.4, 50.0)
    assert (valid.split, valid.perplexity, valid.tokens_per_second) == ("valid", 3.7, None)
    assert has_rows(path)


@pytest.mark.parametrize("cut", range(1, len(VALID)))
def test_a_last_line_cut_by_a_kill_is_dropped(path: Path, cut: int) -> None:
    path.write_text(HEADER + TRAIN + VALID[:-cut])
    assert [row.step for row in read_rows(path)] == [1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\n", "byte 0 is not UTF-8"),
        (b"a,b\n", "line 1: not the header of a training run"),
        (b'"\n', "not a table of comma-separated values"),
        (f"{HEADER}{TRAIN}1,2\n".encode(), "line 3: expected 7 values of a measurement"),
        (f"{HEADER}{TRAIN.replace('1.4', 'x')}".encode(), "line 2: expected 7 values of a measurement"),
        (f"{HEADER}{TRAIN.replace('train', 'other')}".encode(), "line 2: not a measurement"),
        (f"{HEADER}{TRAIN.replace('1,100', '-1,100')}".encode(), "line 2: not a measurement"),
        (f"{HEADER}{TRAIN.replace('1.4', '')}".encode(), "line 2: not a measurement"),
    ],
)
def test_damage_is_refused_with_its_line(path: Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"^{path}: {words}; restore the file, or move it away"):
        read_rows(path)


def test_time_that_went_into_validation_does_not_slow_training_down(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    ignored: Any = SimpleNamespace(begin=lambda done: None, show=lambda row: None)
    clock: Any = SimpleNamespace(tokens=0, progress=lambda step: 0.0)
    measuring = callbacks.Measuring(clock, None, ignored, every=1, pacing=ignored, pending=[])
    trainer: Any = SimpleNamespace(global_step=1, loggers=[])
    learner: Any = SimpleNamespace(objective=SimpleNamespace(figures=lambda sums: {"loss": sums[0]}))

    def row(split: str) -> float | None:
        return measuring.row(trainer, split, learner, [1.0], rate=0.1).tokens_per_second

    measuring.on_train_start(trainer, learner)
    now[0], clock.tokens = 110.0, 500
    measuring.pause(6.0)
    assert row("valid") is None
    assert row("train") == pytest.approx(500 / 4)
    now[0], clock.tokens = 112.0, 600
    assert row("train") == pytest.approx(100 / 2)


def test_one_unusual_batch_is_not_an_explosion() -> None:
    quiet = [[float(step), 0.1, 2.0, 1.0] for step in range(9)]
    callbacks._check([*quiet, [9.0, 0.1, 50.0, 1.0]], limit=10)
    with pytest.raises(DivergedError, match=r"the loss exploded to 60 at step 3, learning rate 0\.1 \(limit 10\)"):
        callbacks._check([*quiet[:3], [3.0, 0.1, 120.0, 2.0], [4.0, 0.1, 90.0, 1.0]], limit=10)
    with pytest.raises(DivergedError, match="the loss is nan at step 9"):
        callbacks._check([*quiet, [9.0, 0.1, float("nan"), 1.0]], limit=10)
