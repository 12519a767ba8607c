"""What happens between steps: stopping in time and for good reasons, rows of ``metrics.csv``."""

import logging
import math
import time
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from genoconv.errors import DivergedError
from genoconv.train.clock import Clock
from genoconv.train.display import Display
from genoconv.train.interrupts import Interrupts
from genoconv.train.metrics import MetricsFile, Row
from genoconv.train.module import Learner
from genoconv.train.pace import Pace

log = logging.getLogger(__name__)


class Pacing(pl.Callback):
    """Asks the pace, after every step and on all processes alike, whether to stop and whether to validate.

    Attributes:
        validate: whether the held-out windows are to be read before the next step.
        signal: that ended the run on any process, or 0.
        begun: whether training has begun: what went wrong before was the checkpoint or the start.
    """

    def __init__(self, pace: Pace, interrupts: Interrupts) -> None:
        self.pace = pace
        self.interrupts = interrupts
        self.validate = False
        self.signal = 0
        self.begun = False
        self._since = (0.0, 0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.begun = True
        self.interrupts.begin()  # Lightning has set a handler of its own, which would leave without saving
        clock = self.pace.clock
        clock.start()
        self.pace.begin(trainer.global_step)
        self.resume_timing()
        over = clock.time_is_up() or self._had_all_steps(trainer)
        trainer.should_stop = trainer.should_stop or any((self.ask_for_signal(trainer), *largest(trainer, [over])))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        clock = self.pace.clock
        self.validate = False
        if not between_steps(trainer, clock):
            return
        self.pace.step_done(time.monotonic() - self._since[0], clock.tokens - self._since[1])
        over = self.pace.is_over() or self._had_all_steps(trainer)
        due = self.pace.validation_is_due(trainer.global_step)
        signal, limit = self.interrupts.signal or 0, self.pace.limit_is_due()
        ended, validate, limited, self.signal = largest(trainer, [over, due, limit, signal])
        if limited:
            self.pace.limit(trainer.strategy.broadcast(self.pace.limits()))
            assert isinstance(pl_module, Learner)
            pl_module.state["limits"] = [len(held_out.windows) for held_out in self.pace.held_out]
        trainer.should_stop = bool(trainer.should_stop or ended or self.signal)
        self.validate = bool(validate) and not trainer.should_stop
        self.resume_timing()

    def ask_for_signal(self, trainer: pl.Trainer) -> int:
        """The signal that came to any process, or 0; all must ask."""
        (self.signal,) = largest(trainer, [self.interrupts.signal or 0])
        return self.signal

    def _had_all_steps(self, trainer: pl.Trainer) -> bool:
        return self.pace.clock.max_steps is not None and trainer.global_step >= self.pace.clock.max_steps

    def resume_timing(self) -> None:
        """The next step is timed from here."""
        self._since = (time.monotonic(), self.pace.clock.tokens)


class Measuring(pl.Callback):
    """Writes the rows of training, feeds the display, and stops a run that is lost.

    Args:
        clock: how far the run is.
        rows: where measurements go, on the first process; None elsewhere.
        display: what a person sees.
        every: steps between rows.
        pacing: says whether a signal ends the run: then what is not yet a row waits in the checkpoint, so that the rows
            of a resumed run are those of one that was not interrupted.
        pending: sums that a checkpoint kept, as [step, learning rate, sums...].
    """

    def __init__(
        self,
        clock: Clock,
        rows: MetricsFile | None,
        display: Display,
        *,
        every: int,
        pacing: Pacing,
        pending: list[list[float]],
    ) -> None:
        self.clock = clock
        self.rows = rows
        self.display = display
        self.every = every
        self.pacing = pacing
        self._pending: list[tuple[int, float, Tensor]] = []  # step, its learning rate, its sums on this process
        self._settled = pending  # the same, of all processes
        self._since = (0.0, 0)
        self._paused = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = (time.monotonic(), self.clock.tokens)
        self.display.begin(self.clock.progress(trainer.global_step))

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._step = trainer.global_step + 1, learning_rate(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._pending.append((*self._step, outputs["sums"]))
        if not between_steps(trainer, self.clock):
            return
        assert isinstance(pl_module, Learner)
        step = trainer.global_step
        if step % self.every == 0 or (trainer.should_stop and not self.pacing.signal):
            self._measure(trainer, pl_module)
        self.display.advance(self.clock.progress(step), step)

    def settle(self, trainer: pl.Trainer, learner: Learner) -> None:
        """Put the sums of all processes that are not yet in a row into the learner's state."""
        if self._pending:
            together = trainer.strategy.reduce(torch.stack([sums for *_, sums in self._pending]), reduce_op="sum")
            assert isinstance(together, Tensor)
            for (step, rate, _), sums in zip(self._pending, together.tolist(), strict=True):
                self._settled.append([step, rate, *sums])
            self._pending = []
        learner.state["pending"] = [list(record) for record in self._settled]

    def finish(self, trainer: pl.Trainer, learner: Learner) -> None:
        """Write the last row of training where the run ends before one is due."""
        if self._pending or self._settled:
            self._measure(trainer, learner)

    def pause(self, seconds: float) -> None:
        """So many seconds since the last row went into something else than training."""
        self._paused += seconds

    def row(self, trainer: pl.Trainer, split: str, learner: Learner, sums: list[float], *, rate: float) -> Row:
        """Write one row of ``sums``; ``rate`` is the learning rate."""
        speed = None
        if split == "train":
            now = time.monotonic()
            bases = (self.clock.tokens - self._since[1]) * trainer.world_size
            speed = bases / max(1e-9, now - self._since[0] - self._paused)
            self._since, self._paused = (now, self.clock.tokens), 0.0
        tokens = self.clock.tokens * trainer.world_size
        row = Row(trainer.global_step, tokens, split, learner.objective.figures(sums), rate, speed)
        if self.rows is not None:
            self.rows.add(row)
        for logger in trainer.loggers:
            logger.log_metrics(row.curves(), step=row.step)
        self.display.show(row)
        return row

    def _measure(self, trainer: pl.Trainer, learner: Learner) -> None:
        self.settle(trainer, learner)
        _check(self._settled, limit=learner.objective.explosion)
        totals = [math.fsum(column) for column in zip(*(record[2:] for record in self._settled), strict=True)]
        rate = self._settled[-1][1]
        self._settled = []
        learner.state["pending"] = []
        if totals[1]:
            self.row(trainer, "train", learner, totals, rate=rate)


def between_steps(trainer: pl.Trainer, clock: Clock) -> bool:
    """Whether the batch that has just ended was the last of its optimiser step."""
    return clock.batches % int(trainer.accumulate_grad_batches) == 0


def learning_rate(trainer: pl.Trainer) -> float:
    """The learning rate of the next step, that of the matrices; 0 outside training."""
    return float(trainer.optimizers[0].param_groups[0]["lr"]) if trainer.optimizers else 0.0


def largest(trainer: pl.Trainer, numbers: Sequence[int]) -> list[int]:
    """Each number as the process has it that has most; all must ask. True is 1."""
    if trainer.world_size == 1:
        return [int(number) for number in numbers]
    mine = torch.tensor([float(number) for number in numbers], device=trainer.strategy.root_device)
    most = trainer.strategy.reduce(mine, reduce_op="max")
    assert isinstance(most, Tensor)
    return [int(number) for number in most.tolist()]


def _check(measured: list[list[float]], *, limit: float) -> None:
    """Raise where batches, as [step, learning rate, summed loss, weight, ...], show that a run is lost."""
    losses = [(int(step), rate, total / max(weight, 1.0)) for step, rate, total, weight, *_ in measured]
    for step, rate, loss in losses:
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} at step {step}, learning rate {rate:.3g}")
    if sum(loss for *_, loss in losses) > limit * len(losses):  # one unusual batch is not an explosion
        step, rate, loss = next(some for some in losses if some[2] > limit)
        raise DivergedError(
            f"the loss exploded to {loss:.3g} at step {step}, learning rate {rate:.3g} (limit {limit:.3g})"
        )
