"""Outputs appear under their final name complete or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from genoconv import processes
from genoconv.errors import OutputError, UsageError
from genoconv.workfiles import remove_abandoned, retired, temporary_prefix

_NAME_BYTES = 255
_FLUSHED_AT_ONCE = 8


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise :class:`OutputError` where ``path`` exists and may not be replaced, or could not be created.

    A missing folder is fine, as it will be created; a device or a pipe may never be replaced.
    """
    try:
        _refuse_existing(path, force=force)
    except PermissionError as error:
        raise OutputError(f"{path}: cannot write there: {error.strerror}") from error
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path}: not a valid file name: {error.strerror}") from error


def _refuse_existing(path: Path, *, force: bool) -> None:
    parent = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not parent.is_dir():
        raise OutputError(f"{path}: {parent} is not a folder; choose another name")
    if is_device(path):
        raise OutputError(f"{path} is a device or a pipe, which cannot be replaced by a file; - is standard output")
    if path.exists() and not force:
        raise OutputError(f"{path} exists already; choose another name, or pass --force to replace it")
    if not path.name or len(os.fsencode(path.name)) > _NAME_BYTES:
        raise OutputError(f"{path}: not a valid file name")


def refuse_unwritable(path: Path) -> None:
    """Raise :class:`OutputError` where nothing can be written beside ``path``: for what is written after a long run.

    Found out by writing: permissions do not say what a server or a read-only file system refuses.
    """
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OutputError(f"{path}: cannot write in {folder}: {error.strerror}; choose another folder") from None


def is_device(path: Path) -> bool:
    """Whether ``path`` is a device or a pipe; /dev/stdout is one also where it leads to a file."""
    return path.exists() and (not (path.is_file() or path.is_dir()) or path.absolute().parent == Path("/dev"))


def refuse_not_utf8(path: Path, *, by: str) -> None:
    """Refuse a path that is not UTF-8, where it goes to a library that takes no other.

    Args:
        path: to be written.
        by: what needs it to be UTF-8, for the message: ``a bigWig``.

    Raises:
        OutputError: it is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise OutputError(f"{shown}: {by} needs a path that is UTF-8; choose another name or folder") from None


def refuse_inputs(outputs: Iterable[Path | None], *, inputs: Mapping[str, Path | None]) -> None:
    """Refuse to write over what is read, under whatever name, ``--force`` or not.

    Args:
        outputs: files or folders to be written; None and ``-`` are passed over.
        inputs: what each input is called in messages (``--fasta``) -> the file or folder; None is passed over.

    Raises:
        UsageError: an output is an input, by a link too, or is a folder that holds one.
    """
    for output in outputs:
        if output is None or str(output) == "-" or not output.exists():
            continue
        for name, path in inputs.items():
            if path is None or str(path) == "-" or not path.exists():
                continue
            if output.samefile(path):
                raise UsageError(f"{output}: this output is the input {name}; choose another name")
            if output.is_dir() and path.resolve().is_relative_to(output.resolve()):
                raise UsageError(f"{output}: this output folder holds the input {name} {path}; choose another name")


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


def _begin(*finals: Path) -> None:
    for folder in {final.parent for final in finals}:
        folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(*finals)


@contextlib.contextmanager
def atomic_file(final: Path) -> Iterator[Path]:
    """Give a temporary path beside ``final``; on a clean exit it becomes ``final``, on any error it is removed.

    The suffixes of ``final`` are kept, so that writers which choose a format by suffix do the right thing. Missing
    folders are created, and what a killed process left of the same output is removed.

    Raises:
        OutputError: the file system refused (full, read-only).
    """
    with atomic_files([final]) as [temporary]:
        yield temporary


@contextlib.contextmanager
def atomic_files(finals: Sequence[Path]) -> Iterator[list[Path]]:
    """:func:`atomic_file` for several files that belong together: none gets its name before all are on disk.

    They get their names in the opposite order, so that the first appears last.
    """
    temporaries: dict[str, Path] = {}
    try:
        with contextlib.suppress(OSError):  # said of the file that cannot be made
            _begin(*finals)
        for final in finals:
            temporaries[_temporary(final)] = final
        yield [Path(name) for name in temporaries]
        mode = 0o666 & ~processes.umask()
        for name in temporaries:
            Path(name).chmod(mode)
        _flush_all([Path(name) for name in temporaries])
        for name, final in reversed(temporaries.items()):
            os.replace(name, final)
        for folder in {final.parent for final in finals}:
            fsync_dir(folder)
    except OSError as error:
        if isinstance(error, OutputError) or error.filename not in (None, *temporaries):
            raise
        final = temporaries.get(str(error.filename), finals[0])
        raise OutputError(f"{final}: cannot write: {error.strerror or error}") from error
    finally:
        for name in temporaries:
            Path(name).unlink(missing_ok=True)


def _temporary(final: Path) -> str:
    """A new file beside ``final``."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=temporary_prefix(final), suffix="".join(final.suffixes[-2:])[-40:], dir=final.parent
        )
        os.close(handle)
    except OSError as error:
        raise OutputError(f"{final}: cannot write there: {error.strerror}") from error
    return name


def _flush_all(paths: Sequence[Path]) -> None:
    """Put files on disk, several at a time: each would wait for the disk alone."""

    def flush(path: Path) -> None:
        with path.open("rb") as stream:
            os.fsync(stream.fileno())

    if len(paths) == 1:
        flush(paths[0])
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_FLUSHED_AT_ONCE) as pool:
        list(pool.map(flush, paths))


@contextlib.contextmanager
def atomic_dir(final: Path) -> Iterator[Path]:
    """As :func:`atomic_file`, for a whole folder: filled under a temporary name, then renamed.

    An existing ``final`` is replaced: callers decide beforehand with :func:`refuse_existing` whether it may be.
    """
    try:
        _begin(final)
        temporary = Path(tempfile.mkdtemp(prefix=temporary_prefix(final), dir=final.parent))
    except OSError as error:
        raise OutputError(f"{final}: cannot write there: {error.strerror}") from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~processes.umask())
        _flush_all([path for path in temporary.rglob("*") if path.is_file()])
        if final.exists():
            before = retired(final, temporary)
            os.replace(final, before)
            os.replace(temporary, final)
            shutil.rmtree(before)
        else:
            os.replace(temporary, final)
        fsync_dir(final.parent)
    except OutputError as error:
        raise OutputError(str(error).replace(str(temporary), str(final))) from error
    except OSError as error:
        if not _within(error.filename, temporary):
            raise
        raise OutputError(f"{final}: cannot write: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _within(filename: object, folder: Path) -> bool:
    """Whether an error is about a file in ``folder``, or does not say which."""
    return filename is None or str(filename).startswith(str(folder))


def write_text(final: Path, text: str) -> None:
    """Write ``text`` to ``final`` atomically, UTF-8."""
    with atomic_file(final) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_folder(folder: Path, *, first: str) -> int:
    """Delete a folder.

    Args:
        folder: may be in use by nobody else.
        first: the file in it that is deleted first: without it, nothing that a fault leaves is taken for whole.

    Returns:
        Bytes of its files.

    Raises:
        OutputError: something in it cannot be deleted.
    """
    size = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
    try:
        (folder / first).unlink(missing_ok=True)
        shutil.rmtree(folder)
    except OSError as error:
        raise OutputError(f"{error.filename or folder}: cannot be deleted: {error.strerror}") from error
    return size
