"""Signals to a process of several, which may be waiting for another where no handler of Python's runs."""

import ctypes
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from genoconv.train import interrupts
from genoconv.train.interrupts import Interrupts
from support import HANG

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[int], Callable[[int], None]]]:
    """The exit codes with which the process would have ended, and a wait in C code, which a signal ends only so."""
    codes: list[int] = []
    ours, theirs = os.pipe()
    libc = ctypes.CDLL(None)
    libc.fdopen.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(libc.fdopen(theirs, b"w"))
    much = 1 << 20  # more than a pipe holds: who writes it waits in C for a reader, and is known to wait

    def leave(code: int) -> None:
        codes.append(code)
        left = much
        while left:
            left -= len(os.read(ours, left))

    def wait(number: int) -> None:
        def send() -> None:
            select.select([ours], [], [])  # the call has begun
            signal.pthread_kill(threading.get_ident(), number)  # to this thread, so that it does not interrupt the call

        thread = threading.Thread(target=send)
        # What earlier tests left behind must not end the call: reading processes that exit, for whose signal torch has
        # a handler, and the store of a group of processes: after its end one write is cut short. fwrite resumes.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        thread.start()
        try:
            libc.fwrite(bytes(much), ctypes.c_size_t(1), ctypes.c_size_t(much), stream)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            thread.join()

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(interrupts, "_GRACE", 0.02)
    yield codes, wait
    os.close(ours)
    libc.fclose(stream)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_process_that_waits_for_another_is_ended(
    ended: tuple[list[int], Callable[[int], None]], capfd: pytest.CaptureFixture[str], number: int, begun: bool
) -> None:
    codes, wait = ended
    abandoned: list[bool] = []
    before = [signal.getsignal(one) for one in NUMBERS]
    with Interrupts(processes=2) as watched:
        watched.abandon = lambda: abandoned.append(True)
        if begun:
            watched.begin()
            signal.raise_signal(number)
            assert watched.came()
        with pytest.raises((SystemExit, KeyboardInterrupt)):
            wait(number)
    assert (codes, abandoned) == ([128 + number], [True])
    said = capfd.readouterr().err
    assert said.endswith("genoconv: error: interrupted while waiting for another process of the run\n")
    assert said.count("stopping after this step") == begun
    assert [signal.getsignal(one) for one in NUMBERS] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_process_that_leaves_by_itself_is_not_ended(
    ended: tuple[list[int], Callable[[int], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, _ = ended
    monkeypatch.setattr(interrupts, "_GRACE", HANG)
    with Interrupts(processes=2, quiet=True) as watched:
        watched.abandon = lambda: codes.append(0)
        with pytest.raises(SystemExit) as stop:
            signal.raise_signal(signal.SIGTERM)
    assert (stop.value.code, codes) == (143, [])


def test_a_worker_ignores_ctrl_c_until_it_has_begun() -> None:
    with Interrupts(processes=2, worker=True, quiet=True) as watched:
        signal.raise_signal(signal.SIGINT)
        watched.begin()
        assert not watched.came()
        signal.raise_signal(signal.SIGINT)
        assert watched.came()


def test_ctrl_c_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts(processes=1, quiet=True) as watched:
            watched.begin()
            signal.raise_signal(signal.SIGINT)
            assert not watched.came()
    finally:
        signal.signal(signal.SIGINT, before)
