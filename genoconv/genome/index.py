"""Indexes of FASTA files: built once, checked against the file every time, kept beside it or in the scratch cache.

samtools (inside pysam) builds, because it streams: its memory does not grow with a line. It trusts what it reads,
though: mixed line ends, blanks inside lines and repeated names give it a wrong index without a word. So every index
is checked against the file before it is believed (:func:`misfit`), and a file that fails is read line by line for an
error that names the line.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from genoconv import atomic, paths
from genoconv.errors import DataError, OutputError
from genoconv.genome.diagnosis import diagnose
from genoconv.genome.formats import Compression, compression, open_binary

log = logging.getLogger(__name__)

_SAMPLED = 64
_LONGEST_HEADER = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a contig lies in the (decompressed) file: the columns of a ``.fai``.

    Attributes:
        length: bases.
        offset: byte of the first base.
        line_bases: bases a line.
        line_width: bytes a line, line end included.
    """

    length: int
    offset: int
    line_bases: int
    line_width: int

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Bytes from the first to after the last base of ``[start, end)``, 0-based, which must not be empty."""
        bases, extra, last = self.line_bases, self.line_width - self.line_bases, end - 1
        return self.offset + start + start // bases * extra, self.offset + end + last // bases * extra

    @property
    def end(self) -> int:
        """Byte after the last base."""
        return self.span(0, self.length)[1] if self.length else self.offset


@dataclass(frozen=True, slots=True)
class Index:
    """An index that agrees with its file.

    Attributes:
        data: the file to read: the user's own, or its decompressed copy where that is plain gzip.
        bgzip: whether ``data`` is BGZF.
        fai, gzi: the index files (``gzi`` for BGZF alone).
        entries: contigs in file order.
    """

    data: Path
    bgzip: bool
    fai: Path
    gzi: Path | None
    entries: dict[str, Entry]


def load_index(path: Path) -> Index:
    """Find, check or build the index of a FASTA; decompress it into the scratch cache first if it is plain gzip.

    Call it in the main process: it may write files.

    Raises:
        DataError: not a FASTA that can be indexed; the message names the line.
        OutputError: neither the file's folder nor the cache can be written.
        OSError: the file cannot be read.
    """
    if not (stat.S_ISREG(path.stat().st_mode) or path.is_dir()):
        raise DataError(f"{path}: not a regular file, so no random access; write it to disk first")
    kind = compression(path)
    data = _decompressed(path) if kind == "gzip" else path
    for folder in (data.parent, scratch_folder(data)):
        index = _existing(data, folder, kind)
        if index:
            return index
    return _build(data, kind)


def scratch_folder(path: Path) -> Path:
    """Folder in the cache for what is derived from ``path`` as it is now: keyed by its path, size and time."""
    status = path.stat()
    key = f"{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    return paths.scratch_dir() / "fasta" / hashlib.sha256(key.encode()).hexdigest()[:20]


def _index_paths(data: Path, folder: Path, kind: Compression) -> tuple[Path, Path | None]:
    return folder / f"{data.name}.fai", folder / f"{data.name}.gzi" if kind == "bgzip" else None


def _existing(data: Path, folder: Path, kind: Compression) -> Index | None:
    """The index in ``folder`` if it is complete, no older than the data, and agrees with it."""
    fai, gzi = _index_paths(data, folder, kind)
    written = data.stat().st_mtime_ns
    if not all(p.is_file() and p.stat().st_mtime_ns >= written for p in (fai, gzi) if p):
        return None
    entries = _read(fai)
    if not entries:
        return None
    # All of a plain file can be sampled; of BGZF only the start, because reading on means inflating everything.
    numbers = range(min(len(entries), 2)) if gzi else _spread(len(entries))
    with open_binary(data) as stream:
        if misfit(stream, entries, numbers=numbers, whole=gzi is None):
            log.info("%s does not fit %s: building it again", fai, data.name)
            return None
    return Index(data, gzi is not None, fai, gzi, entries)


def _spread(count: int) -> list[int]:
    step = max(1, count // _SAMPLED)
    return sorted({*range(0, count, step), count - 1})


def _read(fai: Path) -> dict[str, Entry] | None:
    """Entries of a ``.fai``, in file order; None where it is damaged or holds a name twice."""
    entries: dict[str, Entry] = {}
    try:
        for line in fai.read_text(encoding="utf-8").splitlines():
            name, *numbers = line.split("\t")
            length, offset, line_bases, line_width = map(int, numbers)
            if not name or name in entries:
                return None
            entries[name] = Entry(length, offset, line_bases, line_width)
    except ValueError:
        return None
    return entries


def misfit(stream: BinaryIO, entries: dict[str, Entry], *, numbers: Iterable[int], whole: bool) -> bool:
    """Whether an index contradicts its file.

    Between the last base of a record and the first of the next, as the index tells them, there must be the line end,
    perhaps blank lines, and the next one's header; anything else means wrong line widths or a record left out.

    Args:
        stream: decompressed FASTA, read forwards.
        entries: the index.
        numbers: ascending numbers of the records whose header is looked at.
        whole: also hold that nothing but blanks follows the last record.
    """
    names = list(entries)
    for number in numbers:
        before = entries[names[number - 1]].end if number else 0
        gap = entries[names[number]].offset - before
        if not 0 < gap <= _LONGEST_HEADER:
            return True
        stream.seek(before)
        lines = stream.read(gap).split(b"\n")
        blank = all(not line.strip() for line in lines[:-2])
        header = lines[-2].split(maxsplit=1)[:1] if len(lines) > 1 else []
        if not blank or lines[-1] or header != [b">" + names[number].encode()]:
            return True
    stream.seek(entries[names[-1]].end)
    return whole and bool(stream.read(_LONGEST_HEADER).strip())


def _build(data: Path, kind: Compression) -> Index:
    """Index ``data`` beside it, or in the scratch cache where its folder is read-only."""
    folder = data.parent
    if not os.access(folder, os.W_OK):
        folder = scratch_folder(data)
        _make(folder)
    fai, gzi = _index_paths(data, folder, kind)
    with contextlib.ExitStack() as stack:
        new_fai = stack.enter_context(atomic.atomic_file(fai))
        new_gzi = stack.enter_context(atomic.atomic_file(gzi)) if gzi else None
        if not _samtools_faidx(data, new_fai, new_gzi):
            diagnose(data)
            raise DataError(f"{data}: samtools cannot index it; rewrite it, e.g. with `seqkit seq`")
        entries = _read(new_fai)
        with open_binary(data) as stream:
            if not entries or misfit(stream, entries, numbers=range(len(entries)), whole=True):
                diagnose(data)
                raise DataError(f"{data}: its lines do not fit an index; rewrite it, e.g. with `seqkit seq`")
    return Index(data, gzi is not None, fai, gzi, entries)


def _samtools_faidx(data: Path, fai: Path, gzi: Path | None) -> bool:
    """Write the index files; False if samtools refuses. Its own messages are silenced: ours name line and way out."""
    import pysam

    verbosity = pysam.set_verbosity(0)
    try:
        pysam.samtools.faidx(str(data), "--fai-idx", str(fai), *(["--gzi-idx", str(gzi)] if gzi else []))
    except pysam.SamtoolsError:
        return False
    finally:
        pysam.set_verbosity(verbosity)
    return True


def _decompressed(path: Path) -> Path:
    """Plain copy of a gzip FASTA in the scratch cache, made once: gzip cannot be entered in the middle."""
    folder = scratch_folder(path)
    final = folder / f"{path.name.removesuffix('.gz')}.plain.fa"
    if final.exists():
        return final
    _make(folder)
    with FileLock(folder / "lock"):
        if not final.exists():
            log.info("%s is plain gzip: decompressing it once into %s (bgzip would be read as it is)", path, final)
            with atomic.atomic_file(final) as temporary, open_binary(path) as packed, temporary.open("wb") as plain:
                shutil.copyfileobj(packed, plain, 1 << 20)
    return final


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot write the cache there ({error.strerror}); set GENOCONV_HOME to a writable folder"
        ) from error
