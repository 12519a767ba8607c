"""Reading the held-out windows between steps and at the end."""

import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from genoconv.train.best import Best
from genoconv.train.callbacks import Measuring, Pacing, learning_rate
from genoconv.train.held_out import HeldOut, measure
from genoconv.train.metrics import Row
from genoconv.train.module import Learner
from genoconv.train.stream import Share


class Validating(pl.Callback):
    """Reads the held-out windows when the pace says so, and after the last step, then also the test set.

    Args:
        pacing: says when.
        measuring: writes the rows.
        held_out: ``valid`` and, where there is one, ``test``.
        share: of this process.
        validated: the last step after which the validation windows were read, and their loss, on the first process.
        save: saves a checkpoint of the step that was done last.
        best: keeps the best weights, which the test set is measured with, and may end the run; None keeps the last.
    """

    def __init__(
        self,
        pacing: Pacing,
        measuring: Measuring,
        held_out: dict[str, HeldOut],
        *,
        share: Share,
        validated: tuple[int, float],
        save: Callable[[pl.Trainer, pl.LightningModule], None],
        best: Best | None = None,
    ) -> None:
        self.pacing = pacing
        self.measuring = measuring
        self.held_out = held_out
        self.share = share
        self.validated, self._loss = validated
        self.save = save
        self.best = best

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validated, loss = trainer.strategy.broadcast((self.validated, self._loss))
        step = trainer.global_step
        if self.best is not None and self.validated == step:
            self._note(pl_module, loss, step)  # its checkpoint was saved just before
        if self.validated != step and self.pacing.pace.was_due(step) and not trainer.should_stop:
            self._validate(trainer, pl_module)  # the run was interrupted just before
        if self.best is not None and self.best.exhausted:
            trainer.should_stop = True

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if self.pacing.validate and not self._validate(trainer, pl_module) and self.pacing.ask_for_signal(trainer):
            # Before another step, so that the resumed run can catch up on this validation.
            trainer.should_stop = True
            self.save(trainer, pl_module)
        elif self.best is not None and self.best.exhausted and not trainer.should_stop:
            assert isinstance(pl_module, Learner)
            trainer.should_stop = True
            self.measuring.finish(trainer, pl_module)
            self.save(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.pacing.ask_for_signal(trainer):
            return
        if self.validated != trainer.global_step:
            self._validate(trainer, pl_module)
        if self.best is not None:
            self.best.put_back()
        if "test" in self.held_out:
            self._read(trainer, pl_module, self.held_out["test"])
        self.pacing.ask_for_signal(trainer)

    def _validate(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> bool:
        row = self._read(trainer, pl_module, self.held_out["valid"])
        if row is not None:
            self.validated = row.step
            self._note(pl_module, row.loss, row.step)
        return row is not None

    def _note(self, pl_module: pl.LightningModule, loss: float, step: int) -> None:
        if self.best is not None:
            assert isinstance(pl_module, Learner)
            self.best.seen(loss, step)
            pl_module.state["best"] = self.best.state()

    def _read(self, trainer: pl.Trainer, pl_module: pl.LightningModule, held_out: HeldOut) -> Row | None:
        assert isinstance(pl_module, Learner)
        self.measuring.settle(trainer, pl_module)  # its row says how many tokens all processes have read
        begun = time.monotonic()
        sums = measure(trainer, pl_module, held_out, self.share, in_a_hurry=self.pacing.interrupts.came)
        seconds = time.monotonic() - begun
        self.measuring.pause(seconds)
        self.pacing.resume_timing()
        if sums is None or not sums[1]:  # broken off, or no base that could be a target
            return None
        self.pacing.pace.measured(held_out, seconds)
        return self.measuring.row(trainer, held_out.split, pl_module, sums, rate=learning_rate(trainer))
