"""Ctrl-C and SIGTERM while training: noted, so that the run can end in order."""

import os
import signal
import threading
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTICE = b"\ngenoconv: stopping after this step, then saving a checkpoint; once more to leave at once\n"


class Interrupts:
    """A context in which the first signal is noted and a second one leaves at once, with the exit code of a signal.

    Args:
        quiet: do not say, at the first signal, what happens next.

    Attributes:
        signal: the first signal that came, or None.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.signal: int | None = None
        self._quiet = quiet
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def renew(self) -> None:
        """Take the signals back from whoever has set handlers since."""
        for number in self._previous:
            signal.signal(number, self._note)

    def came(self) -> bool:
        """Whether a signal was noted."""
        return self.signal is not None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise SystemExit(128 + number)
        self.signal = number
        if not self._quiet:
            os.write(2, _NOTICE)  # logging is not safe in a handler
