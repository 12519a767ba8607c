"""The other processes of a run, as the first one watches them; real ones: test_train_command.py."""

import os
import socket
import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from genoconv.train import workers
from support import HANG


def team() -> list[workers._Worker]:
    """A process that has failed."""
    process = SimpleNamespace(poll=lambda: 1, kill=lambda: None)
    return [cast(workers._Worker, SimpleNamespace(process=process, ending=lambda: "process 2 of 2 failed: gone"))]


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes with which the process would have ended."""
    found: list[int] = []
    monkeypatch.setattr(os, "_exit", found.append)
    return found


def test_a_process_that_is_stuck_is_ended_with_the_message_of_the_one_that_failed(
    codes: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "_STUCK", 0)
    workers._Watch(team()).join(HANG)
    assert (codes, caplog.messages) == ([1], ["process 2 of 2 failed: gone"])


def test_a_process_that_reports_the_failure_itself_is_left_alone(
    codes: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "_STUCK", HANG)
    watch = workers._Watch(team())
    watch.end()
    watch.join(HANG)
    assert (codes, caplog.messages) == ([], [])


def test_a_process_that_is_late_does_not_report_the_failure_again(
    codes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reporting, late = threading.Event(), threading.Event()

    def error(*_: Any) -> None:
        reporting.set()
        assert late.wait(HANG)
        time.sleep(0.05)  # time for the other thread to continue, if nothing held it back

    monkeypatch.setattr(workers, "_STUCK", 0)
    monkeypatch.setattr(workers.log, "error", error)
    watch = workers._Watch(team())
    assert reporting.wait(HANG)
    late.set()
    watch.end()
    found = codes[:]
    watch.join(HANG)
    assert found == [1]


def test_the_port_of_a_run_is_given_to_nobody_else() -> None:
    holder, port = workers._reserved_port()
    with holder, socket.socket() as other:
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        store = torch.distributed.TCPStore("127.0.0.1", port, 1, True)
        store.set("first", "here")
        assert store.get("first") == b"here"
