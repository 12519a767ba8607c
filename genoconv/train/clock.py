"""How far a run is: steps, bases and seconds, interruptions not counted."""

import time

from torch import Tensor

from genoconv.genome.tokenizer import PAD


class Clock:
    """Counts a run's progress across interruptions.

    Args:
        max_steps: optimiser steps at the end; None if only time ends the run.
        max_seconds: seconds at the end; None if only steps do.

    Attributes:
        batches: batches that this process has computed.
        tokens: bases in them, padding not counted.
    """

    def __init__(self, *, max_steps: int | None, max_seconds: float | None) -> None:
        self.max_steps = max_steps
        self.max_seconds = max_seconds
        self.batches = 0
        self.tokens = 0
        self._before = 0.0
        self._started = time.monotonic()

    def start(self) -> None:
        """Time counts from here."""
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self._before + time.monotonic() - self._started

    def count(self, ids: Tensor) -> None:
        """Add one batch of tokens, (B, N)."""
        self.batches += 1
        self.tokens += int((ids != PAD).sum())

    def progress(self, step: int) -> float:
        """Share of the run that is done, 0 to 1: of its steps or of its time, whichever is further."""
        by_steps = step / self.max_steps if self.max_steps else 0.0
        by_time = self.seconds / self.max_seconds if self.max_seconds else 0.0
        return min(1.0, max(by_steps, by_time))

    @property
    def time_is_up(self) -> bool:
        """Whether the minutes are used."""
        return self.max_seconds is not None and self.seconds >= self.max_seconds

    def state(self) -> dict[str, float]:
        """For a checkpoint."""
        return {"batches": self.batches, "tokens": self.tokens, "seconds": self.seconds}

    def restore(self, state: dict[str, float]) -> None:
        """From a checkpoint."""
        self.batches, self.tokens = int(state["batches"]), int(state["tokens"])
        self._before = float(state["seconds"])
        self._started = time.monotonic()
