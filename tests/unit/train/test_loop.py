"""A run under Lightning, in this process: it learns, resumes exactly, and ends in order whatever happens."""

import math
import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from train_runs import resume, same_weights, tiny_config, train_tiny, untrained, weights

from genoconv.errors import Interrupted, ModelError, OutputError, TrainingError, UsageError
from genoconv.models import load_model
from genoconv.pipelines.train import run as pipeline
from genoconv.pipelines.train import session
from genoconv.train import callbacks, loop, validating
from genoconv.train import clock as clock_module
from genoconv.train.checkpoints import newest_checkpoint
from genoconv.train.metrics import read_rows
from genoconv.train.module import Learner
from genoconv.train.objectives.next_base import NextBase

# Two batches a step, dropout, windows on both strands, lengths in stages: all that draws random numbers.
HARD = (
    "data.accumulate=2",
    "data.stages=[{length: 32, steps: 3}, {length: 64}]",
    "data.packing=true",
    "model.embed_dropout=0.1",
)


def steps_of(folder: Path) -> list[int]:
    return [row.step for row in read_rows(folder / "metrics.csv") if row.split == "train"]


def at_call(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, number: int, action: Callable[[], None]) -> None:
    """Do ``action`` just before the ``number``-th call of a method."""
    original, calls = getattr(owner, name), [0]

    def watched(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            action()
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, watched)


def test_rows_of_a_gpu_come_a_step_later_and_are_the_same(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("run.log_every=2", "run.validate_every=4", "run.checkpoint_every=3")
    at_once = read_rows(train_tiny(tmp_path / "at-once", fasta, *settings, max_steps=7) / "metrics.csv")
    waited: list[int] = []

    class Late(callbacks._Late):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.comes_later = True
            self._there = SimpleNamespace(synchronize=lambda: waited.append(self.step))

    monkeypatch.setattr(callbacks, "_Late", Late)
    later = read_rows(train_tiny(tmp_path / "later", fasta, *settings, max_steps=7) / "metrics.csv")
    assert [replace(row, tokens_per_second=None) for row in later] == [
        replace(row, tokens_per_second=None) for row in at_once
    ]
    assert [row.step for row in later if row.split == "train"] == [2, 4, 6, 7]
    assert waited[0] == 2


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def test_it_learns_what_there_is_to_learn(fasta: Path, tmp_path: Path) -> None:
    folder = train_tiny(tmp_path / "run", fasta, max_steps=60)
    rows = read_rows(folder / "metrics.csv")
    assert steps_of(folder) == list(range(1, 61))
    assert rows[0].perplexity > 3.8
    best_possible = 1.99
    assert best_possible < rows[-1].perplexity < 2.6
    assert [(row.split, row.step) for row in rows[-3:]] == [("train", 60), ("valid", 60), ("test", 60)]
    assert [row.step for row in rows if row.split == "valid"] == [12, 24, 36, 48, 60]
    assert rows[-2].perplexity == pytest.approx(rows[-1].perplexity, rel=0.1)
    assert all(row.tokens_per_second for row in rows if row.split == "train")
    assert rows[-1].tokens > 60 * 400


@pytest.mark.parametrize(("length", "longest"), [("null", "1,024"), ("1026", "1,024"), ("1000", "1,000")])
def test_windows_are_as_long_as_the_model_reads_without_special_tokens(
    length: str, longest: str, fasta: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    train_tiny(tmp_path / "run", fasta, "preset=tiny-1k", f"max_length={length}", max_steps=1)
    assert f"up to {longest} bases" in caplog.text
    assert f"the longest {longest})" in caplog.text


def test_stopping_and_going_on_is_the_same_as_not_stopping(fasta: Path, tmp_path: Path) -> None:
    whole = train_tiny(tmp_path / "whole", fasta, *HARD)
    parts = tmp_path / "parts"
    with pytest.MonkeyPatch.context() as patch:
        at_call(patch, Learner, "training_step", 7, send(signal.SIGINT))  # in the middle of step 4
        with pytest.raises(SystemExit) as left:
            train_tiny(parts, fasta, *HARD)
    assert left.value.code == 130
    assert not (parts / "config.json").exists()
    assert steps_of(parts) == [1, 2, 3, 4]
    assert resume(parts) == 0
    assert same_weights(whole, parts)
    assert steps_of(parts) == list(range(1, 7))
    assert not same_weights(whole, train_tiny(tmp_path / "seed", fasta, *HARD, "run.seed=1"))


@pytest.mark.parametrize("during", ["measuring", "a step"])
def test_ctrl_c_that_leaves_at_once_carries_the_advice(
    fasta: Path, tmp_path: Path, during: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def act() -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "run"
    if during == "a step":
        at_call(monkeypatch, Learner, "training_step", 2, act)
    else:
        at_call(monkeypatch, session, "measure_baselines", 1, act)
    with pytest.raises(Interrupted, match=f"resume with: genoconv train --resume {folder}"):
        train_tiny(folder, fasta)
    assert "go on with" not in caplog.text  # said once, by the command


@pytest.mark.parametrize("moment", ["before the first step", "validation", "after training", "second"])
def test_a_signal_at_any_moment_leaves_a_run_that_can_resume(
    fasta: Path, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="genoconv")
    folder = tmp_path / "run"
    owner, name, number, code, saved = {
        "before the first step": (loop, "_batches", 1, 143, None),
        "validation": (validating, "measure", 1, 143, 4),
        "after training": (session, "measure_baselines", 1, 143, 6),
        "second": (Learner, "training_step", 5, 143, None),
    }[moment]
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def act() -> None:
        if moment == "after training":
            raise SystemExit(143)  # as the command's own handler does
        os.kill(os.getpid(), signal.SIGTERM)
        if moment == "second":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        at_call(patch, owner, name, number, act)
        with pytest.raises(SystemExit) as left:
            train_tiny(folder, fasta, "run.validate_every=4")
    assert left.value.code == code
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert f"resume with: genoconv train --resume {folder}" in caplog.text
    found = newest_checkpoint(folder / "checkpoints")
    assert found == (None if saved is None else folder / "checkpoints" / f"step-{saved:08d}.ckpt")
    if moment == "validation":  # what was broken off is no measurement
        assert all(row.split == "train" for row in read_rows(folder / "metrics.csv"))
    assert resume(folder) == 0
    assert same_weights(folder, train_tiny(tmp_path / "whole", fasta, "run.validate_every=4"))
    valid = [row.step for row in read_rows(folder / "metrics.csv") if row.split == "valid"]
    assert valid == [4, 6]


@pytest.mark.parametrize(
    ("lr", "every", "message"),
    [
        ("1", 200, "the loss exploded to "),
        ("1e30", 200, "the weights are no longer finite after step "),
        ("1e30", 1, "the weights are no longer finite after step "),
    ],
)
def test_a_lost_run_stops_with_step_rate_and_advice(
    fasta: Path, tmp_path: Path, lr: str, every: int, message: str
) -> None:
    folder = tmp_path / "run"
    settings = (f"optim.lr={lr}", "optim.warmup_steps=0", f"run.checkpoint_every={every}", "run.log_every=5")
    with pytest.raises(TrainingError) as caught:
        train_tiny(folder, fasta, *settings, max_steps=1000)
    text = str(caught.value)
    assert message in text
    assert re.search(r" step \d+, learning rate (1|1e\+30)[ ;]", text), text
    assert f"genoconv train --resume {folder} --set optim.lr=" in text
    assert not (folder / "config.json").exists()
    kept = newest_checkpoint(folder / "checkpoints")
    assert kept is None or all(
        bool(torch.isfinite(value).all()) for value in torch.load(kept, weights_only=True)["state_dict"].values()
    )


def test_a_nan_is_reported_with_its_own_step(fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = NextBase.sums, [0]

    def poisoned(self: NextBase, model: Any, batch: Any) -> Any:
        calls[0] += model.training
        return original(self, model, batch) * (math.nan if calls[0] == 7 else 1.0)

    monkeypatch.setattr(NextBase, "sums", poisoned)
    # The last batch of a step whose losses are looked at: what follows a NaN would end the run before.
    with pytest.raises(TrainingError, match=r"the loss is nan at step 7, learning rate 0\.0\d+;"):
        train_tiny(tmp_path / "run", fasta, "run.log_every=7", max_steps=20)


def test_a_lower_rate_given_at_resume_is_used(fasta: Path, tmp_path: Path) -> None:
    folder = train_tiny(tmp_path / "run", fasta)
    before = weights(folder)
    assert resume(folder, "optim.lr=1e-30", "optim.filter_lr=1e-30", "run.max_steps=9") == 0
    after = weights(folder)
    assert steps_of(folder) == list(range(1, 10))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_finished_run_is_left_alone(fasta: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="genoconv")
    folder = train_tiny(tmp_path / "run", fasta, max_steps=2)
    stamp = (folder / "config.json").stat().st_mtime_ns
    assert resume(folder) == 0
    assert "this run is finished" in caplog.text
    assert (folder / "config.json").stat().st_mtime_ns == stamp


def test_what_makes_another_run_cannot_be_changed_at_resume(fasta: Path, tmp_path: Path) -> None:
    folder = train_tiny(tmp_path / "run", fasta, max_steps=1)
    with pytest.raises(UsageError, match=r"data\.tokens_per_batch, run\.seed cannot change within a run"):
        resume(folder, "run.seed=5", "data.tokens_per_batch=100", "optim.clip=2")
    with pytest.raises(UsageError, match=r"no run\.yaml there"):
        resume(tmp_path)


def test_a_damaged_checkpoint_is_named(fasta: Path, tmp_path: Path) -> None:
    folder = train_tiny(tmp_path / "run", fasta, max_steps=2)
    path = folder / "checkpoints" / "step-00000002.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"step-00000002\.ckpt: damaged.*; remove it"):
        resume(folder, "run.max_steps=4")


def test_two_checkpoints_are_kept_and_hold_nothing_to_unpickle(fasta: Path, tmp_path: Path) -> None:
    folder = train_tiny(tmp_path / "run", fasta, "run.checkpoint_every=2", max_steps=7)
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == ["step-00000006.ckpt", "step-00000007.ckpt"]
    state = torch.load(folder / "checkpoints" / names[-1], weights_only=True)
    assert state["genoconv"]["batches"] == 7
    model = load_model(folder).state_dict()
    assert all(torch.equal(value, state["state_dict"][f"model.{name}"]) for name, value in model.items())


def test_minutes_end_a_run(fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def step(self: Learner, *arguments: Any, original: Callable[..., Any] = Learner.training_step) -> Any:
        now[0] += 0.03
        return original(self, *arguments)

    monkeypatch.setattr(Learner, "training_step", step)
    clock = SimpleNamespace(monotonic=lambda: now[0])
    for module in (clock_module, callbacks, validating):
        monkeypatch.setattr(module, "time", clock)
    folder = train_tiny(tmp_path / "run", fasta, "run.max_minutes=0.01", "data.valid_tokens=200", max_steps=None)
    rows = read_rows(folder / "metrics.csv")
    assert rows[-1].split == "test"
    assert 15 < rows[-1].step <= 20  # of 0.03 s each
    assert rows[-3].learning_rate < 0.005


def test_accumulating_is_the_mean_of_the_batches(fasta: Path, tmp_path: Path) -> None:
    plain = ("data.reverse_complement=false", "model.embed_dropout=0", "windows.step=64", "data.tokens_per_batch=256")
    one = train_tiny(tmp_path / "one", fasta, *plain, "data.accumulate=4", max_steps=3)
    assert steps_of(one) == [1, 2, 3]
    rows = read_rows(one / "metrics.csv")
    assert rows[0].tokens == 4 * 256
    assert rows[0].perplexity == pytest.approx(4, rel=0.1)


def test_variants_of_arithmetic_give_nearly_the_same_model(fasta: Path, tmp_path: Path) -> None:
    plain = train_tiny(tmp_path / "plain", fasta, "model.n_layer=2")
    recomputed = train_tiny(tmp_path / "recomputed", fasta, "model.n_layer=2", "run.activation_checkpointing=true")
    assert same_weights(plain, recomputed)
    half = train_tiny(tmp_path / "half", fasta, "model.n_layer=2", "run.precision=bf16")
    assert not same_weights(plain, half)
    perplexities = [read_rows(folder / "metrics.csv")[-1].perplexity for folder in (plain, half)]
    assert perplexities[0] == pytest.approx(perplexities[1], rel=0.02)
    assert all(value.dtype == torch.float32 for value in weights(half).values())


def test_activation_checkpointing_is_really_on(fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from genoconv.models import hyena

    calls: list[int] = []
    original = hyena.checkpoint
    monkeypatch.setattr(hyena, "checkpoint", lambda *a, **k: (calls.append(1), original(*a, **k))[1])
    train_tiny(tmp_path / "off", fasta, max_steps=2)
    assert not calls
    train_tiny(tmp_path / "on", fasta, "run.activation_checkpointing=true", max_steps=2)
    assert len(calls) == 2


def test_tensorboard_gets_every_curve(fasta: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with pytest.raises(OutputError, match="TensorBoard needs a path that is UTF-8"):
        train_tiny(tmp_path / os.fsdecode(b"\xff"), fasta, "run.tensorboard=true", max_steps=3)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = train_tiny(tmp_path / "run", fasta, "run.tensorboard=true", max_steps=3)
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3]
    rows = read_rows(folder / "metrics.csv")
    assert events.Scalars("valid/perplexity")[-1].value == pytest.approx(rows[-2].perplexity, rel=1e-5)
    assert events.Scalars("test/perplexity")[-1].value == pytest.approx(rows[-1].perplexity, rel=1e-5)
    assert {"train/tokens_per_second", "train/learning_rate"} <= set(events.Tags()["scalars"])


def test_the_first_weights_come_from_the_seed(fasta: Path) -> None:
    one, same, other = (untrained(tiny_config(fasta, f"run.seed={seed}")).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["lm_head.weight"], other["lm_head.weight"])


def test_nothing_says_when_to_stop(fasta: Path, tmp_path: Path) -> None:
    config = tiny_config(fasta)
    endless = config.model_copy(update={"run": config.run.model_copy(update={"max_steps": None})})
    with pytest.raises(UsageError, match="--max-steps or --max-minutes"):
        pipeline.train(endless, folder=tmp_path / "run", quiet=True)


@pytest.mark.parametrize(("device", "devices"), [("cuda", None), ("cuda:7", None)])
@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU is needed to ask for one in vain")
def test_a_missing_gpu_is_a_usage_error(fasta: Path, tmp_path: Path, device: str, devices: int | None) -> None:
    with pytest.raises(UsageError, match=f"--device {device}: torch sees 0 CUDA devices"):
        train_tiny(tmp_path / "run", fasta, f"run.device={device}")
