"""Ctrl-C and SIGTERM while training: noted, so that the run can end in order."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTICE = b"\ngenoconv: stopping after this step, then saving a checkpoint; once more to leave at once\n"
_WAITED = b"genoconv: error: interrupted while waiting for another process of the run\n"
# Seconds for the main thread to act on a signal; after that it is taken to wait for another process.
_GRACE = 2.0


class Interrupts:
    """A context in which a signal leaves at once, until :meth:`begin`: from then on the first one is only noted.

    Leaving is what the handler before does, or SystemExit with the code of a signal, 128 + its number. Where there are
    several processes, this one can be waiting for another inside a library, where no handler of Python's runs. So a
    thread watches as well, and ends a process that does not leave by itself.

    Args:
        processes: of the run.
        worker: whether another process of the run started this one. Until they have found each other it ignores Ctrl-C,
            which reaches them all: the other one ends it.
        quiet: do not say, at the first signal, what happens next.

    Attributes:
        signal: the first signal that was noted, or None.
        abandon: called before a process that is waiting for another is ended.
    """

    def __init__(self, *, processes: int, worker: bool = False, quiet: bool = False) -> None:
        self.signal: int | None = None
        self.abandon: Callable[[], object] = lambda: None
        self._processes = processes
        self._worker = worker
        self._quiet = quiet
        self._begun = False
        self._leaving = threading.Event()
        self._previous: dict[int, Any] = {}
        self._watching = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            # A process that was started with Ctrl-C ignored, in the background of a script, still ignores it.
            wanted = [one for one in _SIGNALS if self._worker or signal.getsignal(one) is not signal.SIG_IGN]
            self._previous = {number: signal.signal(number, self._leave) for number in wanted}
            if self._worker:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            if self._processes > 1:
                self._watching.enter_context(self._watched())
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._watching.close()
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def begin(self) -> None:
        """Note signals from now on, whoever has set handlers since."""
        self._begun = True
        for number in self._previous:
            signal.signal(number, self._note)

    def came(self) -> bool:
        """Whether a signal was noted."""
        return self.signal is not None

    def _leave(self, number: int, frame: FrameType | None) -> None:
        self._leaving.set()
        before = self._previous.get(number)
        if callable(before):
            before(number, frame)
        else:
            raise SystemExit(128 + number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            self._leave(number, frame)
            return
        self.signal = number
        if self._processes == 1:
            self._say(_NOTICE)

    def _say(self, line: bytes) -> None:
        if not self._quiet:
            os.write(2, line)  # logging is not safe in a handler

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Have a thread receive the numbers of signals: Python writes them to a socket even where no handler runs."""
        theirs, ours = socket.socketpair()
        ours.setblocking(False)
        with theirs, ours:
            before = signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
            thread = threading.Thread(target=self._watch, args=(theirs,), daemon=True, name="signals")
            thread.start()
            try:
                yield
            finally:
                signal.set_wakeup_fd(before)
                ours.shutdown(socket.SHUT_WR)
                thread.join()

    def _watch(self, numbers: socket.socket) -> None:
        noted = False
        while received := numbers.recv(1):
            if received[0] not in _SIGNALS:
                continue
            if self._begun and not noted:
                noted = True
                self._say(_NOTICE)
            elif not self._leaving.wait(_GRACE):
                self.abandon()
                self._say(_WAITED)
                os._exit(128 + received[0])
