"""Ctrl-C and SIGTERM while training: noted, so that the run can end in order."""

import os
import signal
import threading
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTICE = b"\ngenoconv: stopping after this step, then saving a checkpoint; once more to leave at once\n"


class Interrupts:
    """A context in which a signal leaves at once, until :meth:`begin`: from then on the first one is only noted.

    Leaving is SystemExit with the code of a signal, 128 + its number.

    Args:
        processes: of the run. Where there are several, Ctrl-C, which reaches them all, is ignored until they have
            found each other: those that are just starting would die of it and leave the others waiting.
        quiet: do not say, at the first signal, what happens next.

    Attributes:
        signal: the first signal that was noted, or None.
    """

    def __init__(self, *, processes: int, quiet: bool = False) -> None:
        self.signal: int | None = None
        self._processes = processes
        self._quiet = quiet
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._leave) for number in _SIGNALS}
            if self._processes > 1:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited by the processes that Lightning starts
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def begin(self) -> None:
        """Note signals from now on, whoever has set handlers since."""
        for number in self._previous:
            signal.signal(number, self._note)

    def came(self) -> bool:
        """Whether a signal was noted."""
        return self.signal is not None

    def _leave(self, number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            self._leave(number, frame)
        self.signal = number
        if not self._quiet:
            os.write(2, _NOTICE)  # logging is not safe in a handler
