"""Whether an index and its FASTA belong together: asked of every index before a base is read through it."""

import bisect
import gzip
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from genoconv.genome.fasta.records import LONGEST_HEADER


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


class Seekable(Protocol):
    """What :func:`misfit` reads: a file, or a BGZF file with its ``.gzi``."""

    def seek(self, offset: int, /) -> object:
        """Go to a byte of the decompressed content."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes from there."""


class Blocks:
    """Decompressed content of a BGZF file from any byte on, without what lies before it.

    A ``.gzi`` is a count and pairs of 64-bit integers, little-endian: where a block starts in the file, and in the
    decompressed content; the first block is left out (bgzip(1)). What does not fit is read as nothing.
    """

    def __init__(self, data: Path, gzi: Path) -> None:
        table = np.fromfile(gzi, "<u8").tolist()
        whole = bool(table) and len(table) == 1 + 2 * table[0]
        self._packed, self._plain = ([0, *table[1::2]], [0, *table[2::2]]) if whole else ([0], [0])
        self._file = data.open("rb")
        self._offset = 0

    def __enter__(self) -> "Blocks":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def seek(self, offset: int, /) -> None:
        self._offset = offset

    def read(self, size: int, /) -> bytes:
        block = bisect.bisect_right(self._plain, self._offset) - 1
        within = self._offset - self._plain[block]
        if within >= 1 << 16:  # larger than any block: past the end, or a table cut short
            return b""
        self._file.seek(self._packed[block])
        try:
            with gzip.GzipFile(fileobj=self._file) as stream:
                stream.seek(within)
                content = stream.read(size)
        except (OSError, EOFError, zlib.error):
            return b""
        self._offset += len(content)
        return content


def misfit(stream: Seekable, entries: dict[str, Entry], *, numbers: Iterable[int]) -> bool:
    """Whether an index contradicts its file.

    Between the last base of a record and the first of the next, as the index tells them, there must be the line end,
    perhaps blank lines, and the next one's header; anything else means wrong line widths or a record left out. After
    the last record nothing but blanks may follow.

    Args:
        stream: decompressed FASTA.
        entries: the index.
        numbers: ascending numbers of the records whose header is looked at.
    """
    names = list(entries)
    for number in numbers:
        before = entries[names[number - 1]].end if number else 0
        gap = entries[names[number]].offset - before
        if not 0 < gap <= LONGEST_HEADER:
            return True
        stream.seek(before)
        lines = stream.read(gap).split(b"\n")
        blank = all(not line.strip() for line in lines[:-2])
        header = lines[-2].split(maxsplit=1)[:1] if len(lines) > 1 else []
        if not blank or lines[-1] or header != [b">" + names[number].encode()]:
            return True
    stream.seek(entries[names[-1]].end)
    return bool(stream.read(LONGEST_HEADER).strip())
