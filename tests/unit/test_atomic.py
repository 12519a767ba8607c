"""Outputs are complete or not there; nothing stays behind, and no input is written over."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from genoconv import atomic, processes
from genoconv.errors import OutputError, UsageError

BEGIN = """
import pathlib, signal, sys, os
from genoconv import atomic, processes
name = pathlib.Path(sys.argv[1])
with atomic.atomic_file(name) as a, atomic.atomic_dir(name.with_name("folder")) as b:
    a.write_text("half"), (b / "x").write_text("half")
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    print(flush=True)
    input()
"""


def begin(output: Path, how: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN, output, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not(tmp_path):
    output, other = tmp_path / "out.tsv", tmp_path / "other.tsv"
    for final in (output, other):
        process = begin(final, "killed")
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 3  # the second run has removed the folder that the first one began
    living = begin(output, "living")
    assert living.stdout
    living.stdout.readline()
    theirs = [name for name in names(tmp_path) if f"-{living.pid}-" in name]
    assert len(theirs) == 2
    atomic.write_text(output, "whole")
    with atomic.atomic_dir(tmp_path / "folder") as folder:
        (folder / "x").write_text("whole")
    left = [name for name in names(tmp_path) if ".genoconv-" in name]
    assert set(left) > set(theirs)
    assert [name.startswith(".other.tsv.") for name in left if name not in theirs] == [True]
    living.communicate(b"\n")
    assert living.returncode == 0


def test_a_folder_replaces_a_folder_and_nothing_stays(tmp_path):
    for text in ("old", "new"):
        with atomic.atomic_dir(tmp_path / "model") as folder:
            (folder / "x").write_text(text)
    assert (tmp_path / "model" / "x").read_text() == "new"
    assert names(tmp_path) == ["model"]
    with pytest.raises(OutputError, match="model: cannot write"), atomic.atomic_dir(tmp_path / "model") as folder:
        (folder / "missing" / "x").write_text("broken")
    assert (tmp_path / "model" / "x").read_text() == "new"
    assert names(tmp_path) == ["model"]


def test_missing_folders_are_created_and_the_longest_name_works(tmp_path):
    for name in ("a/b/c.txt", "x" * 251 + ".txt"):
        atomic.refuse_existing(tmp_path / name, force=False)
        atomic.write_text(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"


def test_what_cannot_be_created_is_refused_beforehand(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is not a folder"):
        atomic.refuse_existing(tmp_path / "file" / "b" / "c", force=True)
    with pytest.raises(OutputError, match="exists already"):
        atomic.refuse_existing(tmp_path / "file", force=False)
    with pytest.raises(OutputError, match="not a valid file name"):
        atomic.refuse_existing(tmp_path / ("x" * 256), force=True)


def test_a_path_that_a_library_cannot_take_is_refused(tmp_path):
    atomic.refuse_not_utf8(tmp_path / "é.bw", by="a bigWig")
    for path in (tmp_path / os.fsdecode(b"b\xffd.bw"), tmp_path / os.fsdecode(b"\xff") / "x.bw"):
        with pytest.raises(OutputError, match=r"\\xff.*: a bigWig needs a path that is UTF-8; choose another"):
            atomic.refuse_not_utf8(path, by="a bigWig")


def test_an_output_is_never_an_input(tmp_path):
    fasta, link = tmp_path / "g.fa", tmp_path / "link.fa"
    fasta.touch()
    link.symlink_to(fasta)
    model = tmp_path / "runs" / "model"
    model.mkdir(parents=True)
    inputs = {"--fasta": fasta, "--model": model, "--bed": None, "VCF": Path("-")}
    atomic.refuse_inputs([tmp_path / "new", Path("-"), None, model / "new"], inputs=inputs)
    for output, name in ((fasta, "--fasta"), (link, "--fasta"), (model, "--model"), (tmp_path / "runs", "--model")):
        with pytest.raises(UsageError, match=name):
            atomic.refuse_inputs([output], inputs=inputs)


def test_an_output_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic.write_text(tmp_path / "a.txt", "a")
        with atomic.atomic_dir(tmp_path / "b") as folder:
            (folder / "c").write_text("c")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o750


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_asking_for_the_umask_does_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for a moment: two threads that ask at once could leave none."""
    for mask in (0o027, 0):
        before = os.umask(mask)
        try:
            with monkeypatch.context() as patch:
                patch.setattr(os, "umask", lambda mask: pytest.fail("another thread would see it"))
                assert processes.umask() == mask
        finally:
            os.umask(before)


def test_without_the_file_of_linux_the_umask_is_asked_for_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"Name:\tpython\n")
    before = os.umask(0o027)
    try:
        assert [processes.umask(), processes.umask()] == [0o027, 0o027]
    finally:
        os.umask(before)


def test_a_folder_is_looked_through_once_for_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan writes a file for each of 10,000 contigs."""
    host, pid, start = processes.tag().split("-")
    ended = f"genoconv-tmp-{host}-{pid}-{int(start) - 1}-x.npy"
    left = [tmp_path / f".{name}.npy.{ended}" for name in (3, 9)]
    left += [tmp_path / f".3.npy.genoconv-tmp-{processes.tag()}-x.npy"]
    for path in left:
        path.touch()
    looked: list[Path] = []
    iterdir = Path.iterdir

    def look(folder: Path) -> Iterator[Path]:
        looked.append(folder)
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", look)
    finals = [tmp_path / f"{number}.npy" for number in range(5)]
    with atomic.atomic_files(finals) as temporaries:
        for path in temporaries:
            path.write_text("x")
    assert looked == [tmp_path]
    monkeypatch.undo()
    assert sorted(tmp_path.iterdir()) == sorted([*finals, *left[1:]]), "only those of an ended process, of these files"
