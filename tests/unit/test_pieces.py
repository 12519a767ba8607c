"""Finished pieces on disk: written by a thread, read back while more come, complete or said not to be."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from genoconv.errors import OutputError
from genoconv.pipelines.pieces import Pieces, StoppedError, alongside
from genoconv.tasks.journal import Journal
from support import HANG


def pieces(folder: Path, *, resume: bool = False) -> Pieces:
    return Pieces(folder / "o", kinds=("a", "b"), run={"run": 1}, resume=resume)


def keep(made: Pieces, *parts: bytes) -> None:
    """Raises what the disk says of it: at once, where that is quicker than this thread, or at the end."""
    made.append(*parts)
    made.flush()


def test_what_is_appended_is_there_after_a_resume(tmp_path: Path) -> None:
    made = pieces(tmp_path)
    for number in range(30):  # more than may wait
        made.append(bytes([number]) * number, b"b" * 3, number=number)
    made.close()
    again = pieces(tmp_path, resume=True)
    assert [piece["number"] for piece in again.finished] == list(range(30))
    assert again.read(0, 0, 435) == b"".join(bytes([number]) * number for number in range(30))
    assert again.read(1, 87, 3) == b"bbb"
    again.remove()
    assert not list(tmp_path.iterdir())


def test_a_signal_while_the_files_go_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, unlink, calls = pieces(tmp_path), Path.unlink, []

    def struck(path: Path, missing_ok: bool = False) -> None:
        calls.append(path)
        unlink(path, missing_ok=missing_ok)
        if len(calls) == 2:  # after the journal and a file
            raise KeyboardInterrupt

    keep(made, b"one", b"1")
    monkeypatch.setattr(Path, "unlink", struck)
    with pytest.raises(KeyboardInterrupt):
        made.remove()
    assert not list(tmp_path.iterdir())


def test_a_reader_waits_for_what_comes_and_is_stopped_with_the_run(tmp_path: Path) -> None:
    made = pieces(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        first, never = pool.submit(made.read, 0, 0, 6), pool.submit(made.read, 0, 6, 1)
        made.append(b"abc", b"")
        made.append(b"def", b"")
        assert first.result(HANG) == b"abcdef"
        assert not never.done()
        made.stop()
        with pytest.raises(StoppedError):
            never.result(HANG)
    made.close()


def test_a_full_disk_is_reported_and_leaves_no_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = pieces(tmp_path)
    made.append(b"one", b"1")
    made.flush()
    with monkeypatch.context() as patch:

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match=r"\.o\.genoconv-a: cannot store finished results there: No space left"):
            keep(made, b"two", b"2")
    made.append(b"three", b"3")
    assert made.kept() == 1
    made.close()
    again = pieces(tmp_path, resume=True)
    assert len(again.finished) == 1
    again.append(b"two", b"2")
    again.flush()
    assert again.read(0, 0, 6) == b"onetwo"
    again.close()


def test_a_piece_is_read_back_only_when_the_journal_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = pieces(tmp_path)
    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patch:
        reading = pool.submit(made.read, 0, 0, 3)

        def full(self: Journal, *values: object) -> None:
            assert not wait([reading], 0.1).done
            raise OutputError("full")

        patch.setattr(Journal, "append", full)
        with pytest.raises(OutputError, match="full"):
            keep(made, b"one", b"1")
        with pytest.raises(StoppedError):
            reading.result(HANG)
    made.close()


def test_nothing_is_finished_before_it_is_known_what_run_this_is(tmp_path: Path) -> None:
    asked: list[str] = []
    made = Pieces(tmp_path / "o", kinds=("a", "b"), run=None, resume=False)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(made.read, 0, 0, 3)
        made.append(b"abc", b"1", mark=lambda: asked.append("mark") or "m")
        made.flush()
        assert made.paths[0].read_bytes() == b"abc"
        assert not wait([reading], 0.05).done
        assert (made.kept(), asked) == (0, [])
        made.describe({"run": 1})
        assert reading.result(HANG) == b"abc"
    made.append(b"d", b"2", mark="n")
    made.close()
    assert made.kept() == 2
    again = pieces(tmp_path, resume=True)
    assert [piece["mark"] for piece in again.finished] == ["m", "n"]
    again.close()


def test_work_alongside_is_waited_for_stopped_with_the_block_and_its_errors_are_raised() -> None:
    done: list[str] = []
    with alongside(lambda: done.append("work"), stop=lambda: done.append("stop")):
        pass
    assert done == ["work"]
    with ThreadPoolExecutor(1) as pool:
        gate = pool.submit(lambda: None)

        def stopped() -> None:
            gate.result()
            raise StoppedError

        with pytest.raises(KeyError), alongside(stopped, stop=lambda: done.append("stop")):
            raise KeyError
    assert done == ["work", "stop"]

    def failing() -> None:
        raise OutputError("full")

    with pytest.raises(OutputError, match="full"), alongside(failing, stop=lambda: None):
        pass
