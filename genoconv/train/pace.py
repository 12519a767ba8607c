"""When a run validates and when it ends, so that its minutes hold what is promised for them.

Validation costs time, the last step is followed by a last validation and the test set, and a step may take longer than
what is left. All of that is estimated from what was measured on this machine so far and counted before it is begun.
"""

import logging
import math
from collections import deque
from collections.abc import Sequence

from genoconv.train.clock import Clock
from genoconv.train.held_out import HeldOut

log = logging.getLogger(__name__)

POINTS = 5  # validations in a run, at least, the last one included
_EVERY = 100
# Share of a run's minutes that measuring may take, and how much of that one validation on the way may.
_MEASURING = 0.25
_ON_THE_WAY = 0.1
# A step computes forward, backward and update; measuring is forward alone. Until it has been timed:
_FORWARD_SPEEDUP = 2.0


class Pace:
    """Decisions between steps; on several processes those of the first one count.

    Args:
        clock: how far the run is.
        every: steps between validations; None: at least :data:`POINTS` in a run, and every 100 steps as far as that
            is affordable.
        held_out: the sets that are measured.
        world: processes that measure together.
    """

    def __init__(self, clock: Clock, *, every: int | None, held_out: Sequence[HeldOut], world: int) -> None:
        self.clock = clock
        self.every = every
        self.held_out = held_out
        self.world = world
        self._steps: deque[tuple[float, int]] = deque(maxlen=4)  # seconds, tokens
        self._measured: float | None = None  # bases per second
        self._measuring = 0.0
        self._mark = 0
        self._count = 0
        self._limited = clock.max_seconds is None

    def begin(self, step: int) -> None:
        """The run is resumed at ``step``; 0 is its start."""
        self._mark = math.floor(POINTS * self.clock.progress(step))

    def step_done(self, seconds: float, tokens: int) -> None:
        """Count one optimiser step of so many tokens, of this process."""
        if self._count == 1:
            self._steps.clear()  # the first one also compiled and allocated
        self._count += 1
        if self._count == 1 and self.clock.max_seconds is not None and seconds > self.clock.max_seconds:
            log.warning(
                "one step takes %.0f s, more than the %.0f s of --max-minutes, so it is the only one; lower"
                " data.tokens_per_batch, or choose a smaller preset",
                seconds,
                self.clock.max_seconds,
            )
        self._steps.append((seconds, tokens))
        self._keep_reserve()

    @property
    def limited(self) -> bool:
        """Whether it has been said how much can be measured."""
        return self._limited

    def is_over(self, *, steps: int = 1) -> bool:
        """Whether the minutes do not hold so many more steps and what follows the last one."""
        return self.clock.time_is_up(next_step=steps * self._step_seconds)

    @property
    def goes_by_time(self) -> bool:
        """Whether it depends on the clock after which steps to measure."""
        return self.every is None and self.clock.max_seconds is not None

    def validation_is_due(self, step: int) -> bool:
        """Whether to measure after ``step``, which is not the last one."""
        mark = math.floor(POINTS * self.clock.progress(step))
        passed, self._mark = mark > self._mark, max(mark, self._mark)
        if self.every is not None:
            return step % self.every == 0
        return self._affordable(point=True) if passed else step % _EVERY == 0 and self._affordable(point=False)

    def was_due(self, step: int) -> bool:
        """Whether a run that had not been interrupted would have measured after ``step``, as far as steps decide."""
        if step == 0:
            return False
        if self.every is not None:
            return step % self.every == 0
        last = self.clock.max_steps
        if last is None:
            return False
        passed = math.floor(POINTS * step / last) > math.floor(POINTS * (step - 1) / last)
        return passed or (self.clock.max_seconds is None and step % _EVERY == 0)

    def limit_is_due(self) -> bool:
        """Whether it is time to say how much can be measured: enough was timed, or no time is left to time more."""
        if self._limited or not self.clock.max_seconds:
            return False
        used = self.clock.seconds / self.clock.max_seconds
        return self.is_over() or used > _MEASURING or (self._count > 2 and used > 1 / (2 * POINTS))

    def limits(self) -> list[int]:
        """Bases of each set that the minutes allow to be measured at a time."""
        return [
            int(held_out.bases * min(1.0, self._each / max(self._cost(held_out), 1e-9))) for held_out in self.held_out
        ]

    def limit(self, bases: Sequence[int]) -> None:
        """Measure no more than :meth:`limits`, those of the first process."""
        self._limited = True
        for held_out, some in zip(self.held_out, bases, strict=True):
            all_of_them = held_out.bases
            if held_out.limit(some):
                log.info(
                    "%s: measuring %s of %s bases each time, so that the run keeps to --max-minutes",
                    {"valid": "validation", "test": "test set"}[held_out.split],
                    f"{held_out.bases:,}",
                    f"{all_of_them:,}",
                )
        self._keep_reserve()

    def resume_limits(self, windows: Sequence[int]) -> None:
        """Measure so many windows of each set, as before the interruption."""
        self._limited = True
        for held_out, count in zip(self.held_out, windows, strict=True):
            held_out.take(count)

    def measured(self, held_out: HeldOut, seconds: float) -> None:
        """A set was read to its end in so many seconds."""
        self._measured = held_out.bases / max(seconds, 1e-9)
        self._measuring += seconds

    @property
    def _step_seconds(self) -> float:
        return sum(seconds for seconds, _ in self._steps) / len(self._steps) if self._steps else 0.0

    def _cost(self, held_out: HeldOut) -> float:
        """Estimated seconds to measure a set; 0 before anything was timed."""
        if self._measured is not None:
            return held_out.bases / self._measured
        seconds, tokens = (sum(column) for column in zip(*self._steps, strict=True)) if self._steps else (0.0, 1)
        return held_out.bases * seconds / (_FORWARD_SPEEDUP * max(1, tokens) * self.world)

    @property
    def _each(self) -> float:
        """Seconds that reading one set once may take."""
        assert self.clock.max_seconds is not None
        return _MEASURING * self.clock.max_seconds / (POINTS + len(self.held_out) - 1)

    def _keep_reserve(self) -> None:
        if self.clock.max_seconds is not None:
            costs = [self._cost(held_out) for held_out in self.held_out]
            self.clock.reserve = sum(costs if self._limited else (min(cost, self._each) for cost in costs))

    def _affordable(self, *, point: bool) -> bool:
        """Whether the minutes allow one more validation: one of the :data:`POINTS`, or one beside them."""
        if self.clock.max_seconds is None:
            return True
        cost = self._cost(next(held_out for held_out in self.held_out if held_out.split == "valid"))
        if point:
            return cost <= _ON_THE_WAY * self.clock.max_seconds
        planned = self._measuring + self.clock.reserve + (POINTS - 1 - self._mark) * cost
        return planned + cost <= _MEASURING * self.clock.max_seconds
