"""The hidden files of a run beside its output: named after it, held by one process, never reached through a link.

All of them are called ``.NAME.genoconv-WHAT``, so that what an output owns can be found by its name alone. A folder may
be shared, and names that can be predicted can be planted: such a file is opened only if it is a plain file of this
user with no other name.
"""

import contextlib
import datetime
import errno
import fcntl
import functools
import hashlib
import io
import logging
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from genoconv import processes
from genoconv.errors import OutputError
from genoconv.wording import printable

log = logging.getLogger(__name__)

_TEMPORARY, _RETIRED, _LOCK = "tmp-", "retired-", "lock"
_MARK = f".genoconv-{_TEMPORARY}"
# Of the 255 bytes of a name; leaves room for what is put around it.
_LONGEST_NAME = 160


def work_path(output: Path, what: str) -> Path:
    """The hidden file ``what`` of ``output``, a file or folder; in the same folder."""
    if output.is_dir():
        output = output.resolve()  # so that a link to it, and ., have the same
    name = output.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return output.with_name(f".{name}.genoconv-{what}")


def temporary_prefix(output: Path) -> str:
    """How names of this process's temporary files of ``output`` begin; at least one character has to follow.

    The name says which process made it: :func:`remove_abandoned` removes those of processes that have ended.
    """
    return work_path(output, f"{_TEMPORARY}{processes.tag()}-").name


def retired(output: Path, temporary: Path) -> Path:
    """Where ``output`` goes while ``temporary`` takes its place."""
    return work_path(output, _RETIRED + temporary.name.removeprefix(temporary_prefix(output)))


def remove_abandoned(*outputs: Path) -> None:
    """Delete the temporary files of ``outputs`` whose process has ended; those of other hosts are left alone.

    Every folder is read once, however many outputs it gets.
    """
    starts: dict[Path, set[str]] = {}
    for output in outputs:
        start = work_path(output, _TEMPORARY)
        starts.setdefault(start.parent, set()).add(start.name)
    for folder, some in starts.items():
        with contextlib.suppress(OSError):
            for path in folder.iterdir():
                stem, mark, tag = path.name.rpartition(_MARK)
                if stem + mark in some and processes.ended("-".join(tag.split("-")[:3])):
                    _remove(path)


def remove_temporaries(output: Path) -> None:
    """Delete the temporary files of ``output``; only for a process that knows that no other is writing it.

    An output that was being replaced when the process was killed gets its name back.
    """
    for path in _named(output, _RETIRED):
        if output.exists():
            _remove(path)
        else:
            with contextlib.suppress(OSError):
                os.replace(path, output)
    for path in _named(output, _TEMPORARY):
        _remove(path)


def _named(output: Path, what: str) -> list[Path]:
    """Work files of ``output`` whose names begin so."""
    start = work_path(output, what)
    try:
        return sorted(path for path in start.parent.iterdir() if path.name.startswith(start.name))
    except OSError:
        return []


def _remove(path: Path) -> None:
    log.debug("%s: removed, a killed process left it", path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


class _WorkFile(io.BufferedRandom):
    """A stream whose end is silent: on a full disk the write has failed before, and its error names the file."""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


def open_private(path: Path, *, fresh: bool = False) -> BinaryIO:
    """Open a work file for reading and writing; it is created if missing.

    Args:
        path: from :func:`work_path`.
        fresh: start with an empty new file in place of one that is there.

    Raises:
        OutputError: the folder cannot be written, or what has this name is a link, not a plain file, or of another
            user.
    """
    try:
        if fresh:
            _check_private(path, os.lstat(path))
            path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _cannot_write(path, error) from error
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        try:
            return _WorkFile(io.FileIO(os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666), "r+b"))
        except FileExistsError as error:
            if fresh:
                raise _cannot_write(path, error) from error
        except OSError as error:
            raise _cannot_write(path, error) from error
        try:
            handle = os.open(path, flags)
            break
        except FileNotFoundError:  # removed since
            continue
        except OSError as error:
            raise _cannot_write(path, error) from error
    try:
        _check_private(path, os.fstat(handle))
    except OutputError:
        os.close(handle)
        raise
    return _WorkFile(io.FileIO(handle, "r+b"))


def check_private(path: Path) -> None:
    """Raise :class:`OutputError` where ``path`` is there and is a link, not a plain file, or of another user."""
    with contextlib.suppress(FileNotFoundError):
        _check_private(path, os.lstat(path))


def _cannot_write(path: Path, error: OSError) -> OutputError:
    if isinstance(error, OutputError):
        return error
    if error.errno == errno.ELOOP:
        return OutputError(f"{path}: a symbolic link has the name of a work file; remove it if nobody needs it")
    return OutputError(f"{path}: cannot keep work files there: {error.strerror}")


def _check_private(path: Path, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise _cannot_write(path, OSError(errno.ELOOP, ""))
    if not stat.S_ISREG(status.st_mode):
        why = "not a plain file"
    elif status.st_nlink > 1:
        why = "a hard link to another file"
    elif status.st_uid != os.geteuid() and status.st_uid != _owner_of_new_files(path.parent):
        why = f"owned by another user (uid {status.st_uid})"
    else:
        return
    raise OutputError(f"{path}: has the name of a work file but is {why}; remove it if nobody needs it")


def _owner_of_new_files(folder: Path) -> int | None:
    """Whom the file system names as the owner of what this process creates: a network's can name somebody else."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            return os.fstat(probe.fileno()).st_uid
    except OSError:
        return None


@contextlib.contextmanager
def claimed(*outputs: Path) -> Iterator[None]:
    """Hold ``outputs`` (files or folders) for this process while the block runs; their folders are created.

    What killed processes left for them is removed. Where the file system has no locks, nothing is held or removed.

    Raises:
        OutputError: another process is writing one of them; it is named. Or the folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        for output in outputs:
            try:
                output.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"{output}: cannot create the folder {output.parent}: {error.strerror}") from error
            if stack.enter_context(_locked(output)):
                remove_temporaries(output)
        yield


@functools.cache
def _keep_locks_from_children() -> set[BinaryIO]:
    """Open lock files of this process; a forked child closes them, or it would hold the lock when this one is dead."""
    held: set[BinaryIO] = set()

    def close_all() -> None:
        for stream in held:
            stream.close()
        held.clear()

    os.register_at_fork(after_in_child=close_all)
    return held


@contextlib.contextmanager
def _locked(output: Path) -> Iterator[bool]:
    path = work_path(output, _LOCK)
    streams = _keep_locks_from_children()
    while True:
        stream = open_private(path)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = printable(stream.read(200).decode(errors="replace").strip()) or "another process"
            stream.close()
            raise OutputError(f"{output}: {holder} is writing it; wait for it to end, or choose another name") from None
        except OSError as error:
            log.debug("%s: no lock: %s", path, error)
            held = False
        else:
            held = True
        # Its last holder removes the file: then the lock is on one that nobody else will find.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(stream.fileno()), os.lstat(path)):
                break
        stream.close()
    try:
        if held:
            since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
            with contextlib.suppress(OSError):  # on a full disk the message to others says less
                stream.truncate(0)
                stream.write(f"process {os.getpid()} on {socket.gethostname()} (since {since})".encode())
                stream.flush()
        streams.add(stream)
        yield held
    finally:
        path.unlink(missing_ok=True)
        streams.discard(stream)
        stream.close()
