"""How far a run is: steps, bases and seconds, interruptions not counted."""

import time

_LEFT_TO_STEPS = 0.25


class Clock:
    """Counts a run's progress across interruptions.

    Args:
        max_steps: optimiser steps at the end; None if only time ends the run.
        max_seconds: seconds at the end; None if only steps do.

    Attributes:
        batches: batches that this process has computed.
        own_tokens: tokens in those since it started, padding not counted.
        tokens: tokens that all processes have read, as of their last exchange.
        reserve: seconds to keep for what follows the last step: measuring on held-out windows.
    """

    def __init__(self, *, max_steps: int | None, max_seconds: float | None) -> None:
        self.max_steps = max_steps
        self.max_seconds = max_seconds
        self.batches = 0
        self.own_tokens = 0
        self.tokens = 0
        self.reserve = 0.0
        self._before = 0.0
        self._started = time.monotonic()

    def start(self) -> None:
        """Time counts from here."""
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self._before + time.monotonic() - self._started

    def count(self, tokens: int) -> None:
        """Add one batch of so many tokens, of this process."""
        self.batches += 1
        self.own_tokens += tokens

    def progress(self, step: int) -> float:
        """Share of the run that is done after ``step`` steps, 0 to 1.

        Of its steps, where they end it; else of its time. Where both may, it is the steps', so that the learning rate
        does not depend on how fast a machine is, until time threatens to run out first: from a quarter of it on, the
        further of the two counts. Time that is kept for measuring is not there to be trained in.
        """
        by_time = self.seconds / self._for_training if self.max_seconds else 0.0
        if self.max_steps is None:
            return min(1.0, by_time)
        return min(1.0, max(step / self.max_steps, (by_time - _LEFT_TO_STEPS) / (1 - _LEFT_TO_STEPS)))

    def time_is_up(self, *, next_step: float = 0.0) -> bool:
        """Whether the minutes are used, or would be exceeded by a step of ``next_step`` seconds and the reserve."""
        return self.max_seconds is not None and self.seconds + next_step + self.reserve >= self.max_seconds

    @property
    def _for_training(self) -> float:
        assert self.max_seconds
        return max(self.max_seconds - self.reserve, 1e-3 * self.max_seconds)

    def state(self) -> dict[str, float]:
        """For a checkpoint."""
        return {"batches": self.batches, "tokens": self.tokens, "seconds": self.seconds}

    def restore(self, state: dict[str, float]) -> None:
        """From a checkpoint."""
        self.batches, self.tokens = int(state["batches"]), int(state["tokens"])
        self._before = float(state["seconds"])
        self._started = time.monotonic()
