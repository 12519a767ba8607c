"""What happens between steps: stopping in time and for good reasons, measuring, checkpoints.

A checkpoint is whole or not there, and is taken between two optimiser steps, so it holds no half-summed gradients.
"""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from genoconv import atomic
from genoconv.errors import TrainingError
from genoconv.train.clock import Clock
from genoconv.train.interrupts import Interrupts
from genoconv.train.metrics import MetricsFile, Row
from genoconv.train.module import LanguageModel

log = logging.getLogger(__name__)

_KEPT = 2
_PARTIAL = "partial.ckpt"
_EXPLODED = 2 * math.log(4)


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the most steps in ``folder``."""
    return max(folder.glob("step-*.ckpt"), default=None)


class Stopping(pl.Callback):
    """Ends a run in order when its time is up or a signal came, on all processes after the same step."""

    def __init__(self, clock: Clock, interrupts: Interrupts) -> None:
        self.clock = clock
        self.interrupts = interrupts

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.interrupts.begin()  # Lightning has set a handler of its own, which would leave without saving
        self.clock.start()
        self._stop_if_wanted(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if between_steps(trainer, self.clock):
            self._stop_if_wanted(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.interrupts.begin()  # also where validation is all that is left to do

    def _stop_if_wanted(self, trainer: pl.Trainer) -> None:
        if anywhere(trainer, int(self.clock.time_is_up or self.interrupts.came())):
            trainer.should_stop = True


class Measuring(pl.Callback):
    """Writes ``metrics.csv``, moves the progress bar, and stops a run that has lost its way.

    Args:
        clock: how far the run is.
        rows: where measurements go, on the first process; None elsewhere.
        every: steps between rows.
        validated: the last step after which the held-out windows were read, if any.
        advance: told the percentage of the run that has just been done.
    """

    def __init__(
        self, clock: Clock, rows: MetricsFile | None, *, every: int, validated: int, advance: Callable[[float], None]
    ) -> None:
        self.clock = clock
        self.rows = rows
        self.every = every
        self.validated = validated
        self.advance = advance
        self._pending: list[tuple[int, float, Tensor]] = []  # step, its learning rate, its loss
        self._since = (0.0, 0)
        self._paused = 0.0
        self._shown = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = (time.monotonic(), self.clock.tokens)

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._step = trainer.global_step + 1, _rate(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._pending.append((*self._step, outputs["nats"]))
        done = 100 * self.clock.progress(trainer.global_step)
        self.advance(max(0.0, done - self._shown))
        self._shown = max(self._shown, done)
        if between_steps(trainer, self.clock) and (trainer.global_step % self.every == 0 or last_step(trainer)):
            self._measure(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validating = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._paused += time.monotonic() - self._validating
        assert isinstance(pl_module, LanguageModel)
        if not math.isfinite(pl_module.valid_loss):
            return
        self.validated = trainer.global_step
        row = self._row(trainer, "valid", pl_module.valid_loss, _rate(trainer), None)
        log.info("step %s: validation perplexity %.4f", f"{row.step:,}", row.perplexity)

    def _measure(self, trainer: pl.Trainer) -> None:
        losses = trainer.strategy.reduce(torch.stack([loss for *_, loss in self._pending]), reduce_op="mean")
        assert isinstance(losses, Tensor)
        values = losses.tolist()
        _check([(step, rate, loss) for (step, rate, _), loss in zip(self._pending, values, strict=True)])
        now = time.monotonic()
        bases = (self.clock.tokens - self._since[1]) * trainer.world_size
        speed = bases / max(1e-9, now - self._since[0] - self._paused)
        self._row(trainer, "train", sum(values) / len(values), self._pending[-1][1], speed)
        self._since, self._paused, self._pending = (now, self.clock.tokens), 0.0, []

    def _row(self, trainer: pl.Trainer, split: str, loss: float, rate: float, speed: float | None) -> Row:
        row = Row.of(trainer.global_step, self.clock.tokens * trainer.world_size, split, loss, rate, speed)
        if self.rows is not None:
            self.rows.add(row)
        for logger in trainer.loggers:
            logger.log_metrics(row.curves(), step=row.step)
        return row


class Checkpoints(pl.Callback):
    """Saves every ``every`` steps and where the run ends; keeps the newest two.

    Args:
        folder: where to.
        clock: how far the run is.
        every: steps between checkpoints.
        saved: the step whose checkpoint is there already.
    """

    def __init__(self, folder: Path, clock: Clock, *, every: int, saved: int) -> None:
        self.folder = folder
        self.clock = clock
        self.every = every
        self._saved = saved
        self._rate = 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._rate = _rate(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if not between_steps(trainer, self.clock) or step == self._saved:
            return
        if step % self.every and not last_step(trainer):
            return
        if not all(bool(torch.isfinite(weights).all()) for weights in pl_module.parameters()):
            raise TrainingError(f"the weights are no longer finite after step {step}, learning rate {self._rate:.3g}")
        self._saved = step
        partial = self.folder / _PARTIAL
        trainer.save_checkpoint(partial)  # written by the first process, all must take part
        if trainer.is_global_zero:
            atomic.commit(partial, self.folder / f"step-{step:08d}.ckpt")
            for old in sorted(self.folder.glob("step-*.ckpt"))[:-_KEPT]:
                old.unlink()


def between_steps(trainer: pl.Trainer, clock: Clock) -> bool:
    """Whether the batch that has just ended was the last of its optimiser step."""
    return clock.batches % int(trainer.accumulate_grad_batches) == 0


def last_step(trainer: pl.Trainer) -> bool:
    """Whether no step follows."""
    return bool(trainer.should_stop or trainer.global_step == trainer.max_steps)


def _rate(trainer: pl.Trainer) -> float:
    """The learning rate of the next step, that of the matrices; 0 outside training."""
    return float(trainer.optimizers[0].param_groups[0]["lr"]) if trainer.optimizers else 0.0


def anywhere(trainer: pl.Trainer, number: int) -> int:
    """The largest ``number`` of all processes; each must ask."""
    if trainer.world_size == 1:
        return number
    largest = trainer.strategy.reduce(torch.tensor(number, device=trainer.strategy.root_device), reduce_op="max")
    return int(largest)


def _check(measured: list[tuple[int, float, float]]) -> None:
    """Raise where the losses of some batches, as (step, learning rate, nats a base), show that a run is lost."""
    for step, rate, loss in measured:
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss} at step {step}, learning rate {rate:.3g}")
    if sum(loss for *_, loss in measured) > _EXPLODED * len(measured):  # one odd batch is no explosion
        step, rate, loss = next(some for some in measured if some[2] > _EXPLODED)
        raise TrainingError(
            f"the loss exploded to {loss:.3g} nats a base at step {step}, learning rate {rate:.3g}"
            f" (a uniform guess has {math.log(4):.3g})"
        )
