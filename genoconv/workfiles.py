"""The hidden files of a run beside its output: named after it, held by one process, never reached through a link.

All of them are called ``.NAME.genoconv-WHAT``, so that what an output owns can be found by its name alone. A folder may
be shared, and names that can be predicted can be planted: such a file is opened only if it is a plain file of this
user with no other name.
"""

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from genoconv.errors import OutputError

log = logging.getLogger(__name__)

_TEMPORARY, _RETIRED, _LOCK = "tmp-", "retired-", "lock"


def work_path(output: Path, what: str) -> Path:
    """The hidden file ``what`` of ``output``, in the same folder."""
    return output.with_name(f".{output.name}.genoconv-{what}")


def temporary_prefix(output: Path) -> str:
    """How names of temporary files of ``output`` begin; :func:`claimed` removes those of dead processes."""
    return work_path(output, _TEMPORARY).name


def retired(output: Path, temporary: Path) -> Path:
    """Where ``output`` goes while ``temporary`` takes its place."""
    return work_path(output, _RETIRED + temporary.name.removeprefix(temporary_prefix(output)))


def remove_temporaries(output: Path) -> None:
    """Delete the temporary files of ``output``; only for a process that knows that no other is writing it.

    An output that was being replaced when the process was killed gets its name back.
    """
    with contextlib.suppress(OSError):
        for path in sorted(output.parent.iterdir()):
            old = path.name.startswith(work_path(output, _RETIRED).name)
            if old and not output.exists():
                os.replace(path, output)
            elif old or path.name.startswith(temporary_prefix(output)):
                log.debug("%s: removed, a killed process left it", path)
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


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
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags | (os.O_EXCL if fresh else 0), 0o666)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        _check_private(path, os.fstat(handle))
    except OutputError:
        os.close(handle)
        raise
    return os.fdopen(handle, "r+b")


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
    elif status.st_uid != os.geteuid():
        why = f"owned by another user (uid {status.st_uid})"
    else:
        return
    raise OutputError(f"{path}: has the name of a work file but is {why}; remove it if nobody needs it")


@contextlib.contextmanager
def claimed(*outputs: Path) -> Iterator[None]:
    """Hold ``outputs`` for this process while the block runs, and remove what killed processes left for them.

    Where the file system has no locks, nothing is held and nothing removed.

    Raises:
        OutputError: another process is writing one of them; it is named.
    """
    with contextlib.ExitStack() as stack:
        for output in outputs:
            if stack.enter_context(_locked(output)):
                remove_temporaries(output)
        yield


@contextlib.contextmanager
def _locked(output: Path) -> Iterator[bool]:
    path = work_path(output, _LOCK)
    while True:
        stream = open_private(path)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = stream.read(200).decode(errors="replace").strip() or "another process"
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
            stream.truncate(0)
            stream.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            stream.flush()
        yield held
    finally:
        path.unlink(missing_ok=True)
        stream.close()
