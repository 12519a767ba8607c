"""What is derived from a user's FASTA and cannot lie beside it: indexes of read-only folders, plain copies of gzip."""

import hashlib
import logging
import shutil
from pathlib import Path

from filelock import FileLock

from genoconv import atomic, paths
from genoconv.errors import OutputError
from genoconv.genome.formats import open_binary
from genoconv.workfiles import remove_temporaries

log = logging.getLogger(__name__)


def scratch_folder(path: Path) -> Path:
    """Folder in the cache for what is derived from ``path`` as it is now: by its path, then its size and time."""
    status = path.stat()
    return _folder_of(path) / _short(f"{status.st_size} {status.st_mtime_ns}")


def make_folder(path: Path) -> Path:
    """:func:`scratch_folder`, made if missing; what was derived from earlier states of the file is removed then.

    Raises:
        OutputError: the cache cannot be written.
    """
    folder = scratch_folder(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot write the cache there ({error.strerror}); set GENOCONV_HOME to a writable folder"
        ) from error
    for stale in folder.parent.iterdir():
        if stale != folder:
            shutil.rmtree(stale, ignore_errors=True)
    return folder


def plain_copy(path: Path) -> Path:
    """Decompressed copy of a gzip FASTA, made once: gzip cannot be entered in the middle.

    Of two processes that ask at once, one works and the other waits.

    Raises:
        DataError: the compressed data is damaged.
        OutputError: the cache cannot be written, or is full.
    """
    final = scratch_folder(path) / f"{path.name.removesuffix('.gz')}.plain.fa"
    if final.exists():
        return final
    folder = make_folder(path)
    with FileLock(folder / "lock"):
        if not final.exists():
            remove_temporaries(final)  # of a process that was killed: we hold the lock
            log.info("%s is plain gzip: decompressing it once into %s (bgzip would be read as it is)", path, final)
            with atomic.atomic_file(final) as temporary, open_binary(path) as packed, temporary.open("wb") as plain:
                shutil.copyfileobj(packed, plain, 1 << 20)
    return final


def _folder_of(path: Path) -> Path:
    return paths.scratch_dir() / "fasta" / _short(str(path.resolve()))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]
