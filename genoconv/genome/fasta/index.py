"""Indexes of FASTA files: built once, checked against the file every time, kept beside it or in the scratch cache.

Building one reads the whole file and finds whatever is wrong in it, with its line. An index that is there already may
have been made by another tool, of another file, or by hand: it is believed only as far as it agrees with the file.
"""

import logging
import os
import stat
import weakref
from dataclasses import dataclass
from pathlib import Path

from genoconv import atomic
from genoconv.errors import DataError
from genoconv.formats import compression, lacks_bgzf_end, open_binary
from genoconv.genome.fasta.agreement import Agreement, Entry, ReadBytes
from genoconv.genome.fasta.bgzf import BgzfFile, Blocks, find_blocks, gzi_of, read_gzi
from genoconv.genome.fasta.layout import find_entries
from genoconv.genome.fasta.scan import scan
from genoconv.genome.fasta.scratch import make_folder, plain_copy, plain_path, scratch_folder

log = logging.getLogger(__name__)

SAMPLED = 64
"""Records of an existing index that are compared with the file at once; the others when they are first read."""


@dataclass(frozen=True, slots=True)
class Index:
    """An index that agrees with its file.

    Attributes:
        data: the file to read: the user's own, or its copy in the cache where that cannot be entered in the middle.
        blocks: of a BGZF file; None for a plain one.
        fai: the index file.
        entries: contigs in file order.
        checked: whether every entry is known to agree with the file, and not only a sample.
    """

    data: Path
    blocks: Blocks | None
    fai: Path
    entries: dict[str, Entry]
    checked: bool


class PlainFile:
    """A file read with ``pread``, for any number of threads and forked workers; as :class:`.bgzf.BgzfFile`."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        self.size = os.fstat(self._descriptor).st_size

    def read(self, first: int, last: int) -> bytes:
        """Bytes ``[first, last)``, or as many as there are before the end."""
        data = os.pread(self._descriptor, last - first, first)
        # Linux stops at 2 GB; the file may also have been cut.
        while len(data) < last - first:
            more = os.pread(self._descriptor, last - first - len(data), first + len(data))
            if not more:
                break
            data += more
        return data


def open_data(data: Path, blocks: Blocks | None) -> PlainFile | BgzfFile:
    """Random access to the decompressed bytes of a plain or BGZF file."""
    return PlainFile(data) if blocks is None else BgzfFile(data, blocks)


def load_index(path: Path) -> Index:
    """Find, check or build the index of a FASTA.

    What cannot be entered in the middle (plain gzip; records whose lines are not all of one width) is copied into the
    scratch cache first. Call it in the main process: it may write files.

    Raises:
        DataError: not a DNA FASTA; the message names the line.
        OutputError: neither the file's folder nor the cache can be written.
        OSError: the file cannot be read.
    """
    if not (stat.S_ISREG(path.stat().st_mode) or path.is_dir()):
        raise DataError(f"{path}: not a regular file, so no random access; write it to disk first")
    copy = plain_path(path)
    if copy.exists():
        return _existing(copy, copy.parent, None) or _built(copy, None) or _unreadable(copy)
    kind = compression(path)
    blocks = find_blocks(path) if kind == "bgzip" else None
    if kind == "plain" or blocks:
        for folder in (path.parent, scratch_folder(path)):
            index = _existing(path, folder, blocks)
            if index:
                return index
        index = _built(path, blocks)
        if index:
            return index
        reason = "its lines differ in length"
    else:
        reason = "plain gzip can only be read from its beginning (bgzip can be read anywhere)"
    log.info("%s: %s, so it is copied once to %s", path, reason, copy)
    copy = plain_copy(path)
    return _existing(copy, copy.parent, None) or _built(copy, None) or _unreadable(copy)


def _unreadable(copy: Path) -> Index:
    raise DataError(f"{copy}: damaged; delete it and open the FASTA again")


def _index_paths(data: Path, folder: Path) -> tuple[Path, Path]:
    return folder / f"{data.name}.fai", folder / f"{data.name}.gzi"


def _existing(data: Path, folder: Path, blocks: Blocks | None) -> Index | None:
    """The index in ``folder`` if it is complete, no older than the data, and agrees with it."""
    fai, gzi = _index_paths(data, folder)
    written = data.stat().st_mtime_ns
    if not all(p.is_file() and p.stat().st_mtime_ns >= written for p in ((fai, gzi) if blocks else (fai,))):
        return None
    entries = _read(fai)
    found = read_gzi(gzi, size=data.stat().st_size) if blocks else None
    if not entries or (blocks and found is None):
        return None
    file = open_data(data, found)
    try:
        agreement = Agreement(entries, read=file.read, size=file.size)
        fits = agreement.arithmetic() and all(map(agreement.record, _spread(len(entries))))
    except ValueError:
        fits = False
    if not fits:
        log.info("%s does not fit %s: building it again", fai, data.name)
        return None
    return Index(data, found, fai, entries, checked=len(entries) <= SAMPLED)


def _spread(count: int) -> list[int]:
    step = max(1, count // SAMPLED)
    return sorted({*range(0, count, step), count - 1})


def _read(fai: Path) -> dict[str, Entry] | None:
    """Entries of a ``.fai``, in file order; None where it is damaged or holds a name twice."""
    entries: dict[str, Entry] = {}
    try:
        for line in fai.read_text(encoding="utf-8").removesuffix("\n").split("\n"):
            name, *numbers = line.split("\t")
            if not name or name in entries:
                return None
            length, offset, line_bases, line_width = map(int, numbers)
            entries[name] = Entry(length, offset, line_bases, line_width)
    except (OSError, ValueError):
        return None
    return entries


def _built(data: Path, blocks: Blocks | None) -> Index | None:
    """Index ``data`` beside it, or in the scratch cache where its folder is read-only; None where none can be."""
    if blocks and lacks_bgzf_end(data):
        log.warning("%s: no BGZF end-of-file marker: the file may be truncated", data)
    with open_binary(data) as stream:
        entries = find_entries(scan(stream, source=str(data)))
    if entries is None:
        return None
    folder = data.parent if _may_write(data.parent) else make_folder(data)
    fai, gzi = _index_paths(data, folder)
    if blocks:
        with atomic.atomic_file(gzi) as temporary:
            temporary.write_bytes(gzi_of(blocks))
    rows = (f"{name}\t{e.length}\t{e.offset}\t{e.line_bases}\t{e.line_width}\n" for name, e in entries.items())
    atomic.write_text(fai, "".join(rows))
    return Index(data, blocks, fai, entries, checked=True)


def _may_write(folder: Path) -> bool:
    """Whether a folder is meant to be written: root may write everywhere, also where every write bit is off."""
    return os.access(folder, os.W_OK) and bool(folder.stat().st_mode & 0o222)


def reader_of(index: Index) -> tuple[ReadBytes, Agreement]:
    """Access to an index's file, and what compares its entries with it."""
    file = open_data(index.data, index.blocks)
    return file.read, Agreement(index.entries, read=file.read, size=file.size)
