"""Indexes of FASTA files: built once, checked against the file every time, kept beside it or in the scratch cache.

samtools (inside pysam) builds, because it streams: its memory does not grow with a line. It trusts what it reads,
though: mixed line ends, blanks inside lines and repeated names give it a wrong index without a word. So every index
is checked against the file before it is believed (:func:`misfit`), and a file that fails is read line by line for an
error that names the line.
"""

import contextlib
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from genoconv import atomic
from genoconv.errors import DataError
from genoconv.genome.fasta.agreement import Blocks, Entry, misfit
from genoconv.genome.fasta.diagnosis import diagnose
from genoconv.genome.fasta.scratch import make_folder, plain_copy, scratch_folder
from genoconv.genome.formats import Compression, compression, open_binary

log = logging.getLogger(__name__)

_SAMPLED = 64


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
    data = plain_copy(path) if kind == "gzip" else path
    for folder in (data.parent, scratch_folder(data)):
        index = _existing(data, folder, kind)
        if index:
            return index
    return _build(data, kind)


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
    with data.open("rb") if gzi is None else Blocks(data, gzi) as stream:
        fits = not misfit(stream, entries, numbers=_spread(len(entries)))
    if not fits:
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


def _build(data: Path, kind: Compression) -> Index:
    """Index ``data`` beside it, or in the scratch cache where its folder is read-only."""
    folder = data.parent
    if not _may_write(folder):
        folder = make_folder(data)
    fai, gzi = _index_paths(data, folder, kind)
    with contextlib.ExitStack() as stack:
        new_fai = stack.enter_context(atomic.atomic_file(fai))
        new_gzi = stack.enter_context(atomic.atomic_file(gzi)) if gzi else None
        if not _samtools_faidx(data, new_fai, new_gzi):
            diagnose(data)
            raise DataError(f"{data}: samtools cannot index it; rewrite it, e.g. with `seqkit seq`")
        entries = _read(new_fai)
        with open_binary(data) as stream:
            if not entries or misfit(stream, entries, numbers=range(len(entries))):
                diagnose(data)
                raise DataError(f"{data}: its lines do not fit an index; rewrite it, e.g. with `seqkit seq`")
    return Index(data, gzi is not None, fai, gzi, entries)


def _may_write(folder: Path) -> bool:
    """Whether a folder is meant to be written: root may write everywhere, also where every write bit is off."""
    return os.access(folder, os.W_OK) and bool(folder.stat().st_mode & 0o222)


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
