"""Ctrl-C and SIGTERM: the first unwinds the command like any exception, a second one ends it at once, silently."""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

# One key press or one `kill` of a group can arrive twice: from the terminal and from a parent process.
_ONE_SIGNAL_SECONDS = 0.5
# After which a finaliser that was interrupted is over.
_AGAIN_SECONDS = 0.02
_SHOW_CURSOR = "\x1b[?25h"


class _Handler:
    def __init__(self) -> None:
        self.process = os.getpid()
        self.number = 0
        self.first: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self.process:  # a worker process: its parent explains
            os._exit(128 + number)
        now = time.monotonic()
        if self.first is None:
            if self._is_dropping(frame):
                self._again()
                return
            self.first, self.number = now, number
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise SystemExit(128 + number)
        if now - self.first > _ONE_SIGNAL_SECONDS:
            if sys.stderr.isatty():
                sys.stderr.write(_SHOW_CURSOR)  # which a progress bar may have hidden
                sys.stderr.flush()
            os._exit(128 + number)

    def lost(self, what: "sys.UnraisableHookArgs") -> None:
        """Send the signal again whose exception was raised where Python drops it: in a finaliser or a callback."""
        if self.first is None or not issubclass(what.exc_type, KeyboardInterrupt | SystemExit):
            sys.__unraisablehook__(what)
            return
        self.first = None
        self._again()

    def _is_dropping(self, frame: FrameType | None) -> bool:
        """Whether the signal came while :meth:`lost` runs, where Python would drop what is raised as well."""
        while frame is not None and frame.f_code is not _Handler.lost.__code__:
            frame = frame.f_back
        return frame is not None

    def _again(self) -> None:
        again = threading.Timer(_AGAIN_SECONDS, os.kill, (self.process, self.number))
        again.daemon = True
        again.start()


class _End:
    """Ends the process without taking the interpreter apart: freeing what torch has made takes half a second.

    Attributes:
        code: of the exit; None where the process has not come to :func:`leave`.
    """

    code: int | None = None

    def __call__(self) -> None:
        if self.code is not None:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(self.code)


_end = _End()
_handler: _Handler | None = None


def end_quickly() -> None:
    """Let :func:`leave` end the process as soon as everything that was registered with atexit has run.

    For the installed command, before anything else is registered: the first that is registered is called last.
    """
    atexit.register(_end)


def install() -> None:
    """Take over SIGINT and SIGTERM, unless whoever started us has them ignored."""
    global _handler
    _handler = handler = _Handler()
    sys.unraisablehook = handler.lost
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def settle() -> None:
    """The command is over but for its last words: a signal from now on can only end them."""
    if _handler is not None and _handler.first is None:
        _handler.first = time.monotonic()


def leave(code: int) -> NoReturn:
    """End the process with ``code``; signals that arrive while the interpreter closes down change nothing."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _end.code = code
    sys.exit(code)
