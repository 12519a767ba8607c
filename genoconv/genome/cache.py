"""Folders of the cache: made when they are needed, held by one process at a time, never reached through a link."""

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from genoconv import processes
from genoconv.errors import OutputError

log = logging.getLogger(__name__)


def made_folder(path: Path) -> Path:
    """``path``, made if it is missing.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot create this folder: {error.strerror}; set GENOCONV_HOME to another folder"
        ) from error
    return path


def work_folder(path: Path) -> Path:
    """:func:`made_folder` for files whose names can be predicted: it must be a folder of this user, and no link.

    Raises:
        OutputError: it is not, or cannot be made.
    """
    status = os.lstat(made_folder(path))
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        what = "a symbolic link" if stat.S_ISLNK(status.st_mode) else f"owned by another user (uid {status.st_uid})"
        raise OutputError(f"{path}: has the name of a work folder but is {what}; remove it if nobody needs it")
    return path


@contextmanager
def locked(folder: Path, *, waiting: str) -> Iterator[None]:
    """Keep other processes out; the lock goes with the process, however it ends.

    Args:
        folder: that they share.
        waiting: what to log if another one holds it.

    Raises:
        OutputError: nothing can be written there, or the name of the lock is a link.
    """
    lock = FileLock(made_folder(folder) / ".lock", mode=0o666 & ~processes.umask())
    try:
        try:
            lock.acquire(timeout=0.2)
        except Timeout:
            log.info("%s", waiting)
            lock.acquire()
    except OSError as error:
        raise OutputError(
            f"{lock.lock_file}: cannot lock: {error.strerror}; set GENOCONV_HOME to another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()
