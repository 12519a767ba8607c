"""Work files beside an output: one process holds them, links are never followed, dead processes leave nothing."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from genoconv import processes, workfiles
from genoconv.atomic import atomic_dir, atomic_file
from genoconv.errors import OutputError, UsageError
from genoconv.tasks.journal import Journal, journal_path, refuse_finished_pieces
from genoconv.workfiles import claimed, open_private, work_path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.vcf"


def hold(out: Path) -> subprocess.Popen[bytes]:
    """A process that writes ``out`` and stays in the middle of it."""
    code = (
        "import sys; from pathlib import Path; from genoconv.atomic import *; from genoconv.workfiles import *\n"
        "out = Path(sys.argv[1])\n"
        "with claimed(out), atomic_file(out) as t:\n"
        "    t.write_text('half'); print('ready', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_a_second_process_is_refused_and_the_first_is_named(out: Path) -> None:
    process = hold(out)
    try:
        with (
            pytest.raises(
                OutputError, match=rf"out.vcf: process {process.pid} on \S+ \(since [-\d]+ [^)]+\) is writing it"
            ),
            claimed(out),
        ):
            pass
        # Another output of the same folder is free.
        with claimed(out.with_name("out.vcf.gz")):
            pass
    finally:
        process.kill()
        process.communicate()


def test_the_next_run_removes_what_a_killed_one_left(out: Path) -> None:
    process = hold(out)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    neighbours = [out.with_name(name) for name in (".out.vcf.gz.genoconv-tmp-x.vcf.gz", ".out.vcf.genoconv-journal")]
    for path in neighbours:
        path.write_text("not yours")
    assert len(list(out.parent.iterdir())) == 4
    with claimed(out):
        assert sorted(out.parent.iterdir()) == sorted([*neighbours, work_path(out, "lock")])
    assert sorted(out.parent.iterdir()) == sorted(neighbours)


def test_a_folder_that_was_being_replaced_gets_its_name_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_text("old")
    real = os.replace
    calls = []

    def struck(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt  # as a kill: the old folder is retired, the new one has no name yet
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", struck)
        with pytest.raises(KeyboardInterrupt), atomic_dir(model) as temporary:
            (temporary / "weights").write_text("new")
    assert not model.exists()
    with claimed(model):
        assert (model / "weights").read_text() == "old"


@pytest.mark.parametrize("plant", ["link", "dangling", "hard link", "fifo", "folder"])
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.timeout(60)  # nobody will write to the fifo
def test_what_somebody_planted_is_never_opened(out: Path, plant: str, fresh: bool) -> None:
    victim = out.with_name("victim")
    path = work_path(out, "journal")
    if plant != "dangling":
        victim.write_text("precious")
    if plant in ("link", "dangling"):
        path.symlink_to(victim)
    elif plant == "hard link":
        path.hardlink_to(victim)
    elif plant == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(OutputError, match=r"\.out\.vcf\.genoconv-journal"):
        open_private(path, fresh=fresh)
    assert not victim.exists() if plant == "dangling" else victim.read_text() == "precious"


def test_a_file_of_another_user_is_refused(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = work_path(out, "journal")
    path.write_text("theirs")
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    monkeypatch.setattr(workfiles, "_owner_of_new_files", lambda folder: path.stat().st_uid + 1)
    for fresh in (True, False):
        with pytest.raises(OutputError, match="owned by another user"):
            open_private(path, fresh=fresh)
    assert path.read_text() == "theirs"


def test_a_file_system_that_names_another_owner_is_no_obstacle(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: out.parent.stat().st_uid + 1)
    for _ in range(2):  # created, and opened again
        with claimed(out), open_private(work_path(out, "journal")) as stream:
            stream.write(b"ours")


def test_a_folder_has_one_lock_under_all_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    monkeypatch.chdir(tmp_path / "run")
    names = [tmp_path / "run", tmp_path / "link", Path()]
    assert {work_path(name, "lock") for name in names} == {tmp_path / ".run.genoconv-lock"}
    with claimed(tmp_path / ("x" * 255)):  # the longest name there can be
        pass


def test_temporary_files_keep_the_suffixes(out: Path) -> None:
    with atomic_file(out.with_name("a.b.vcf.gz")) as temporary:
        assert temporary.name.startswith(workfiles.temporary_prefix(out.with_name("a.b.vcf.gz")))
        assert temporary.name.endswith(".vcf.gz")


def test_finished_pieces_are_not_thrown_away_unasked(out: Path) -> None:
    refuse_finished_pieces(out, resume=False, force=False)
    with Journal(journal_path(out), run={"a": 1}, resume=False) as journal:
        refuse_finished_pieces(out, resume=False, force=False)  # nothing is finished yet
        journal.append([1])
        journal.append([2])
    with pytest.raises(OutputError, match=r"left 2 finished pieces; pass --resume .* --force to start again"):
        refuse_finished_pieces(out, resume=False, force=False)
    refuse_finished_pieces(out, resume=True, force=False)
    refuse_finished_pieces(out, resume=False, force=True)
    with Journal(journal_path(out), run={"a": 1}, resume=True) as journal:
        assert journal.finished == [[1], [2]]
    with pytest.raises(UsageError, match="had a 1, this one has 2"):
        Journal(journal_path(out), run={"a": 2}, resume=True)
    with Journal(journal_path(out), run={"a": 2}, resume=False) as journal:
        assert journal.finished == []


def test_a_full_disk_names_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write fails, and so would the end of the stream, which still holds what was not written."""

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = work_path(tmp_path / "o.vcf", "journal")
    with Journal(path, run={"a": 1}, resume=False) as journal:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="journal: cannot write the journal of this run: No space left"):
            journal.append([1])
    monkeypatch.undo()
    stream = open_private(tmp_path / "small", fresh=True)
    stream.write(b"x" * 100)
    os.close(stream.fileno())  # nothing can be written any more
    stream.close()
    assert stream.closed


FORKED = """
import os, signal, sys
from pathlib import Path
from genoconv.workfiles import claimed
with claimed(Path(sys.argv[1])):
    heard, said = os.pipe()
    if not os.fork():
        os.write(said, b".")
        sys.stdin.read()  # lives on, until the test lets it end
        os._exit(0)
    os.read(heard, 1)  # the child runs
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_child_of_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    output = tmp_path / "out.vcf"
    killed = subprocess.Popen([sys.executable, "-c", FORKED, str(output)], stdin=subprocess.PIPE)
    assert killed.wait() == -signal.SIGKILL
    try:
        with claimed(output):
            pass
    finally:
        assert killed.stdin is not None
        killed.stdin.close()


def test_a_lock_that_its_last_holder_removes_meanwhile_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = work_path(tmp_path / "out.vcf", "lock")
    flock, calls = fcntl.flock, []

    def late(stream: Any, how: int) -> None:
        calls.append(how)
        if len(calls) == 1:
            lock.unlink()
        flock(stream, how)

    monkeypatch.setattr("genoconv.workfiles.fcntl.flock", late)
    with claimed(tmp_path / "out.vcf"):
        assert len(calls) == 2
        assert lock.exists()


def test_a_process_has_ended_whose_id_another_has_now() -> None:
    host, pid, start = processes.tag().split("-")
    assert not processes.ended(f"{host}-{pid}-{start}")
    assert processes.ended(f"{host}-{pid}-{int(start) - 1}")
