"""What happens between steps: measuring, checkpoints, stopping in time and for good reasons."""

import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from genoconv import atomic
from genoconv.errors import TrainingError
from genoconv.train.clock import Clock
from genoconv.train.metrics import MetricsFile, Row
from genoconv.train.module import LanguageModel

_KEPT = 2
_EXPLODED = 2 * math.log(4)


def checkpoint_name(step: int) -> str:
    """File name of the checkpoint after ``step`` optimiser steps."""
    return f"step-{step:08d}.ckpt"


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the most steps in ``folder``."""
    return max(folder.glob("step-*.ckpt"), default=None)


class Checkpoints(pl.Callback):
    """Saves every ``every`` steps, whole or not at all, and keeps the newest two.

    Args:
        folder: where to.
        every: steps between checkpoints.
        saved: the step whose checkpoint is there already.
    """

    def __init__(self, folder: Path, *, every: int, saved: int) -> None:
        self.folder = folder
        self.every = every
        self._saved = saved

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step % self.every == 0 and trainer.global_step > 0:
            self.save(trainer)

    def save(self, trainer: pl.Trainer) -> Path:
        """Write the checkpoint of this step, if it is not there."""
        path = self.folder / checkpoint_name(trainer.global_step)
        if self._saved != trainer.global_step:
            self._saved = trainer.global_step
            if trainer.world_size > 1:  # Lightning writes from rank 0, all must take part
                trainer.save_checkpoint(path)
            else:
                with atomic.atomic_file(path) as temporary:
                    trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                for old in sorted(self.folder.glob("step-*.ckpt"))[:-_KEPT]:
                    old.unlink()
        return path


class Stopping(pl.Callback):
    """Ends a run in order: its time is up, or a signal came. A second Ctrl-C does not wait.

    Attributes:
        signal: the signal that ended the run, or None.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.signal: int | None = None
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # After Lightning has set its own, which would leave without saving.
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._note)
        self.clock.start()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.clock.batches % trainer.accumulate_grad_batches:
            return  # a checkpoint holds no half-summed gradients
        wanted = self.clock.time_is_up or self.signal is not None
        if trainer.world_size > 1:
            wanted = trainer.strategy.reduce_boolean_decision(wanted, all=False)
        if wanted:
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


class Measuring(pl.Callback):
    """Writes ``metrics.csv``, moves the progress bar, and stops a run that has lost its way.

    Args:
        rows: where measurements go, on the first process; None elsewhere.
        every: steps between rows.
        advance: told the share of the run that has just been done.
    """

    def __init__(self, rows: MetricsFile | None, *, every: int, advance: Callable[[float], None]) -> None:
        self.rows = rows
        self.every = every
        self.advance = advance
        self._losses: list[Tensor] = []
        self._since = (0.0, 0)
        self._shown = 0.0
        self._paused = 0.0
        self._validated = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = (time.monotonic(), self._clock(pl_module).tokens)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._losses.append(outputs["loss"].detach())
        clock = self._clock(pl_module)
        done = clock.progress(trainer.global_step)
        self.advance(max(0.0, done - self._shown))
        self._shown = max(self._shown, done)
        if trainer.global_step % self.every or clock.batches % trainer.accumulate_grad_batches:
            return
        loss = torch.stack(self._losses).mean().item()
        self._losses = []
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        now = time.monotonic()
        speed = (clock.tokens - self._since[1]) * trainer.world_size / max(1e-9, now - self._since[0] - self._paused)
        self._since, self._paused = (now, clock.tokens), 0.0
        self._check(loss, trainer.global_step, rate)
        self._add(Row.of(trainer.global_step, clock.tokens * trainer.world_size, "train", loss, rate, speed))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validating = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._paused += time.monotonic() - self._validating
        assert isinstance(pl_module, LanguageModel)
        rate = trainer.optimizers[0].param_groups[0]["lr"] if trainer.optimizers else 0.0
        tokens = pl_module.clock.tokens * trainer.world_size
        self._add(Row.of(trainer.global_step, tokens, "valid", pl_module.valid_loss, rate))

    def measured(self, step: int) -> bool:
        """Whether the held-out windows were read after ``step``."""
        return self._validated == step

    def _add(self, row: Row) -> None:
        if row.split == "valid":
            self._validated = row.step
        if self.rows is not None:
            self.rows.add(row)

    @staticmethod
    def _clock(module: pl.LightningModule) -> Clock:
        assert isinstance(module, LanguageModel)
        return module.clock

    @staticmethod
    def _check(loss: float, step: int, rate: float) -> None:
        advice = "lower --set optim.lr and optim.filter_lr (a half is a good start) or raise optim.warmup_steps"
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss} at step {step}, learning rate {rate:.3g}: {advice}")
        if loss > _EXPLODED:
            raise TrainingError(
                f"the loss exploded to {loss:.3g} nats a base at step {step}, learning rate {rate:.3g}"
                f" (a uniform guess has {math.log(4):.3g}): {advice}"
            )
