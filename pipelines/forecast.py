"""How much there is to do and about how long it will take here: said before a run, and all that ``--dry-run`` says."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from genoconv.progress import duration

log = logging.getLogger(__name__)

_ENOUGH_SECONDS = 0.5
# A longer first step is not repeated to see what it takes without what is made once (filters, kernels).
_LONG_STEP_SECONDS = 5.0
_GROWTH = 4


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run would do.

    Attributes:
        amount, unit: of the work: 5,012,331 records.
        seconds: about how long it takes on these devices; None where that cannot be known.
        devices: where.
        files: written by a dry run, which is none.
        beside: further work that is counted in ``seconds``, amount and unit.
    """

    amount: int
    unit: str
    seconds: float | None
    devices: tuple[str, ...]
    files: tuple[Path, ...] = ()
    beside: tuple[tuple[int, str], ...] = ()

    def counts(self) -> dict[str, float | None]:
        """What ``--json`` says of a dry run."""
        work = {unit: amount for amount, unit in self._work}
        return {**work, "estimated_seconds": None if self.seconds is None else round(self.seconds, 1)}

    def __str__(self) -> str:
        where = self.devices[0] if len(self.devices) == 1 else f"{len(self.devices)} devices ({self.devices[0]}, ...)"
        work = " and ".join(f"{amount:,} {unit}" for amount, unit in self._work)
        return f"{work} on {where}" if self.seconds is None else f"{work}, about {duration(self.seconds)} on {where}"

    @property
    def _work(self) -> tuple[tuple[int, str], ...]:
        return (self.amount, self.unit), *self.beside


def forecast(
    work: Callable[[int], float],
    *,
    amount: int,
    unit: str,
    available: int,
    devices: Sequence[str],
) -> Forecast:
    """Measure how fast this machine is.

    Args:
        work: does that many items of the run and returns how much of ``unit`` they amount to; what it finds is dropped.
        amount, unit: of the whole run.
        available: items that ``work`` can do at most.
        devices: that will share the work; it is measured on the first.
    """
    return at_rate(speed(work, available=available), amount=amount, unit=unit, devices=devices)


def at_rate(rate: float | None, *, amount: int, unit: str, devices: Sequence[str]) -> Forecast:
    """The forecast from what :func:`speed` has measured on one of the devices; other arguments as there."""
    seconds = None if not rate else amount / rate / len(devices)
    return Forecast(amount, unit, seconds, tuple(devices))


def speed(work: Callable[[int], float], *, available: int, enough: float = _ENOUGH_SECONDS) -> float | None:
    """Amount per second, from steps of growing size until one has taken ``enough`` seconds; None where that is nothing.

    ``work`` and ``available`` are those of :func:`forecast`.
    """
    if not available:
        return None
    items, first = 1, True
    while True:
        began = time.perf_counter()
        done = work(items)
        took = time.perf_counter() - began
        if took >= (_LONG_STEP_SECONDS if first else enough) or (not first and items >= available):
            return done / took if took > 0 else None
        items, first = (1, False) if first else (min(items * _GROWTH, available), False)
