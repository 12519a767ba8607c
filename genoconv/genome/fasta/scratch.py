"""What is derived from a user's FASTA and cannot lie beside it: indexes of read-only folders, plain copies."""

import hashlib
import shutil
from pathlib import Path

from genoconv import atomic, paths
from genoconv.errors import DataError
from genoconv.formats import compression, most_unpacked, open_binary
from genoconv.genome.cache import locked, made_folder
from genoconv.genome.fasta.scan import Header, scan
from genoconv.workfiles import remove_temporaries


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
    made_folder(folder)
    for stale in folder.parent.iterdir():
        if stale != folder:
            shutil.rmtree(stale, ignore_errors=True)
    return folder


def plain_path(path: Path) -> Path:
    """Where :func:`plain_copy` of a FASTA lies, or would lie."""
    return scratch_folder(path) / f"{path.name.removesuffix('.gz')}.plain.fa"


def plain_copy(path: Path) -> Path:
    """Decompressed copy of a FASTA with one line per record, made once, so that it can be entered in the middle.

    Of two processes that ask at once, one works and the other waits.

    Raises:
        DataError: damaged, not FASTA, or a decompression bomb.
        OutputError: the cache cannot be written, or is full.
    """
    final = plain_path(path)
    if final.exists():
        return final
    folder = make_folder(path)
    with locked(folder, waiting=f"another process is copying {path}; waiting for it"):
        if not final.exists():
            remove_temporaries(final)  # of a process that was killed: we hold the lock
            with atomic.atomic_file(final) as temporary:
                _unwrap(path, temporary)
    return final


def _unwrap(path: Path, target: Path) -> None:
    """Write every record on one line, and refuse to fill the disk with what no genome packs so small."""
    packed = compression(path) != "plain"
    limit = most_unpacked(path.stat().st_size) if packed else None
    with open_binary(path) as stream, target.open("wb") as plain:
        for event in scan(stream, source=str(path)):
            if isinstance(event, Header):
                start = b"\n>" if plain.tell() else b">"
                plain.write(start + f"{event.name} {event.description}".encode("utf-8", "replace").strip() + b"\n")
            else:
                plain.write(event.letters)
            if limit is not None and plain.tell() > limit:
                raise DataError(
                    f"{path}: unpacks to more than {limit:,} bytes, far more than a FASTA of its size should contain"
                )
        plain.write(b"\n")


def _folder_of(path: Path) -> Path:
    return paths.scratch_dir() / "fasta" / _short(str(path.resolve()))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:20]
