"""Outputs appear under their final name complete or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from genoconv.errors import OutputError
from genoconv.workfiles import retired, temporary_prefix


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise :class:`OutputError` where ``path`` exists and may not be replaced; also where its folder is missing.

    A device or a pipe may never be replaced.
    """
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OutputError(f"{path} is a device or a pipe, which cannot be replaced by a file; - is standard output")
    if path.exists() and not force:
        raise OutputError(f"{path} exists already; choose another name or pass --force to replace it")


def fsync_dir(folder: Path) -> None:
    """Make a rename inside ``folder`` survive a power cut, where the file system lets us ask for it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def commit(temporary: Path, final: Path) -> None:
    """Flush ``temporary`` to disk and rename it to ``final`` (same file system)."""
    handle = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(temporary, final)
    fsync_dir(final.parent)


@contextlib.contextmanager
def atomic_file(final: Path) -> Iterator[Path]:
    """Give a temporary path beside ``final``; on a clean exit it becomes ``final``, on any error it is removed.

    The suffixes of ``final`` are kept, so that writers which choose a format by suffix do the right thing.

    Raises:
        OutputError: the file system refused (full, read-only, missing folder).
    """
    try:
        handle, name = tempfile.mkstemp(
            prefix=temporary_prefix(final), suffix="".join(final.suffixes), dir=final.parent
        )
        os.close(handle)
    except OSError as error:
        raise OutputError(f"{final}: cannot write there: {error.strerror}") from error
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        commit(temporary, final)
    except OSError as error:
        if isinstance(error, OutputError) or error.filename not in (None, name):
            raise
        raise OutputError(f"{final}: cannot write: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_dir(final: Path) -> Iterator[Path]:
    """As :func:`atomic_file`, for a whole folder: filled under a temporary name, then renamed.

    An existing ``final`` is replaced: callers decide beforehand with :func:`refuse_existing` whether it may be.
    """
    try:
        temporary = Path(tempfile.mkdtemp(prefix=temporary_prefix(final), dir=final.parent))
    except OSError as error:
        raise OutputError(f"{final}: cannot write there: {error.strerror}") from error
    try:
        yield temporary
        temporary.chmod(0o755)
        for path in temporary.rglob("*"):
            if path.is_file():
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())
        if final.exists():
            before = retired(final, temporary)
            os.replace(final, before)
            os.replace(temporary, final)
            shutil.rmtree(before)
        else:
            os.replace(temporary, final)
        fsync_dir(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(final: Path, text: str) -> None:
    """Write ``text`` to ``final`` atomically, UTF-8."""
    with atomic_file(final) as temporary:
        temporary.write_text(text, encoding="utf-8")
