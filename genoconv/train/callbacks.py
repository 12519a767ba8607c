"""What happens between steps: stopping in time and for good reasons, rows of ``metrics.csv``."""

import logging
import math
import time
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from genoconv.errors import DivergedError
from genoconv.train.agreement import Agreement, largest, summed
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
        self._agreement = Agreement()

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
        self.pace.step_done(time.monotonic() - self._since[0], clock.own_tokens - self._since[1])
        # What depends on steps alone all processes know at once, the rest a step later.
        over = self.pace.is_over(steps=min(2, trainer.world_size))
        due = self.pace.validation_is_due(trainer.global_step)
        signal, limit = self.interrupts.signal or 0, self.pace.limit_is_due()
        ended, validate, limited, self.signal = self._agreement.ask(trainer, [over, due, limit, signal])
        ended = ended or self._had_all_steps(trainer)
        validate = validate if self.pace.goes_by_time else due
        if limited and not self.pace.limited:
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
        self._since = (time.monotonic(), self.pace.clock.own_tokens)


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
        self._late: _Late | None = None
        self._exchanged = 0  # of this process's tokens
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
        assert isinstance(pl_module, Learner)
        self.catch_up(trainer, pl_module)
        self._pending.append((*self._step, outputs["sums"]))
        if not between_steps(trainer, self.clock):
            return
        step, last = trainer.global_step, trainer.should_stop and not self.pacing.signal
        if step % self.every == 0 or last:
            self._late = self._take(trainer)
            if last or not self._late.comes_later:
                self.catch_up(trainer, pl_module)
        self.display.advance(self.clock.progress(step), step)

    def settle(self, trainer: pl.Trainer, learner: Learner) -> None:
        """Put the sums of all processes that are not yet in a row into the learner's state."""
        self.catch_up(trainer, learner)
        if self._pending:
            self._absorb(self._take(trainer))
        learner.state["pending"] = [list(record) for record in self._settled]

    def finish(self, trainer: pl.Trainer, learner: Learner) -> None:
        """Write the last row of training where the run ends before one is due."""
        self.catch_up(trainer, learner)
        if self._pending:
            self._late = self._take(trainer)
            self.catch_up(trainer, learner)
        elif self._settled:
            self._write(trainer, learner, trainer.global_step)

    def pause(self, seconds: float) -> None:
        """So many seconds since the last row went into something else than training."""
        self._paused += seconds

    def row(
        self,
        trainer: pl.Trainer,
        split: str,
        learner: Learner,
        sums: list[float],
        *,
        rate: float,
        step: int | None = None,
    ) -> Row:
        """Write one row of ``sums``; ``rate`` is the learning rate, ``step`` that of the newest sums, or the last."""
        tokens, speed = self.clock.tokens, None
        if split == "train":
            now = time.monotonic()
            speed = (tokens - self._since[1]) / max(1e-9, now - self._since[0] - self._paused)
            self._since, self._paused = (now, tokens), 0.0
        step = trainer.global_step if step is None else step
        row = Row(step, tokens, split, learner.objective.figures(sums), rate, speed)
        if self.rows is not None:
            self.rows.add(row)
        for logger in trainer.loggers:
            logger.log_metrics(row.curves(), step=row.step)
        self.display.show(row)
        return row

    def catch_up(self, trainer: pl.Trainer, learner: Learner) -> None:
        """Write the row of training that waits for its numbers, if one does."""
        late, self._late = self._late, None
        if late is not None:
            self._absorb(late)
            self._write(trainer, learner, late.step)

    def _take(self, trainer: pl.Trainer) -> "_Late":
        """Exchange the sums of all processes, and with them how many tokens each has read."""
        sums = torch.stack([sums for *_, sums in self._pending]).double()
        tokens = sums.new_full((1,), self.clock.own_tokens - self._exchanged)  # a count that float32 would round
        self._exchanged = self.clock.own_tokens
        together = summed(trainer, torch.cat([tokens, sums.flatten()]))
        steps = [(step, rate) for step, rate, _ in self._pending]
        self._pending = []
        return _Late(steps, together, step=trainer.global_step)

    def _absorb(self, late: "_Late") -> None:
        """Take in what all processes have; waits for it."""
        tokens, records = late.numbers()
        self.clock.tokens += tokens
        self._settled += records

    def _write(self, trainer: pl.Trainer, learner: Learner, step: int) -> None:
        _check(self._settled, limit=learner.objective.explosion)
        totals = [math.fsum(column) for column in zip(*(record[2:] for record in self._settled), strict=True)]
        rate = self._settled[-1][1]
        self._settled = []
        learner.state["pending"] = []
        if totals[1]:
            self.row(trainer, "train", learner, totals, rate=rate, step=step)


class _Late:
    """Sums on their way from a GPU, which computes the next step meanwhile.

    Args:
        steps: step and learning rate of each batch.
        numbers: (1 + batches x terms,): tokens, then the sums of each batch.
        step: the last one.

    Attributes:
        comes_later: whether there is anything to wait for.
    """

    def __init__(self, steps: list[tuple[int, float]], numbers: Tensor, *, step: int) -> None:
        self.steps = steps
        self.step = step
        self.comes_later = numbers.is_cuda
        self._numbers = numbers.to("cpu", non_blocking=True)
        if self.comes_later:
            self._there = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._there.record(torch.cuda.current_stream(numbers.device))

    def numbers(self) -> tuple[int, list[list[float]]]:
        """The tokens, and [step, learning rate, sums...] of each batch."""
        if self.comes_later:
            self._there.synchronize()
        tokens, *sums = self._numbers.tolist()
        terms = len(sums) // len(self.steps)
        rows = [sums[first : first + terms] for first in range(0, len(sums), terms)]
        return int(tokens), [[*step, *row] for step, row in zip(self.steps, rows, strict=True)]


def between_steps(trainer: pl.Trainer, clock: Clock) -> bool:
    """Whether the batch that has just ended was the last of its optimiser step."""
    return clock.batches % int(trainer.accumulate_grad_batches) == 0


def learning_rate(trainer: pl.Trainer) -> float:
    """The learning rate of the next step, that of the matrices; 0 outside training."""
    return float(trainer.optimizers[0].param_groups[0]["lr"]) if trainer.optimizers else 0.0


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
