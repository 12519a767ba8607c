"""Whether an index and its FASTA belong together: asked of every index before a base is read through it."""

from collections.abc import Callable
from dataclasses import dataclass

from genoconv.formats import BOM
from genoconv.genome.fasta.scan import LONGEST_HEADER

_LOOKED_AT = 1 << 12

ReadBytes = Callable[[int, int], bytes]
"""``read(first, last)``: those bytes of the decompressed file, or as many as there are before its end."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a contig lies in the (decompressed) file: the columns of a ``.fai``.

    Attributes:
        length: bases.
        offset: byte of the first base.
        line_bases: bases per line.
        line_width: bytes per line, line end included.
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

    @property
    def possible(self) -> bool:
        """Whether any file could have such an entry."""
        extra = self.line_width - self.line_bases
        return (
            0 <= self.length < 1 << 62
            and 0 < self.offset < 1 << 62
            and (self.line_bases > 0 or not self.length)
            and 0 <= extra <= 2
            and (extra > 0 or self.length <= self.line_bases)
        )


class Agreement:
    """Compares the entries of an index with the file, record by record.

    Args:
        entries: name -> entry, in the order of the index.
        read: the file.
        size: its bytes, decompressed.
    """

    def __init__(self, entries: dict[str, Entry], *, read: ReadBytes, size: int) -> None:
        self._names = list(entries)
        self._entries = list(entries.values())
        self._read = read
        self._size = size

    def arithmetic(self) -> bool:
        """Whether the entries are possible and follow each other inside the file; reads nothing."""
        before = 0
        for entry in self._entries:
            if not (entry.possible and before < entry.offset and entry.end <= self._size):
                return False
            before = entry.end
        return bool(self._entries)

    def record(self, number: int) -> bool:
        """Whether one record is as the index has it.

        Before its first base there must be its header, after the line end of the record before and perhaps blank
        lines; its first line must end where the index says, and after its last base must come a line end.
        """
        entry = self._entries[number]
        before = self._entries[number - 1].end if number else 0
        return self._header_fits(number, before, entry.offset) and self._lines_fit(entry) and self._end_fits(number)

    def _header_fits(self, number: int, before: int, offset: int) -> bool:
        if not before < offset <= before + LONGEST_HEADER:
            return False
        gap = self._read(before, offset)
        lines = (gap if number else gap.removeprefix(BOM)).split(b"\n")
        blank = all(not line.strip() for line in lines[:-2])
        # A file may end with a header without its line end.
        title = lines[-2] if len(lines) > 1 and not lines[-1] else lines[-1] if offset == self._size else b""
        return blank and title.split(None, 1)[:1] == [b">" + self._names[number].encode()]

    def _lines_fit(self, entry: Entry) -> bool:
        if not entry.length:
            return True
        looked_at = min(entry.length, entry.line_bases, _LOOKED_AT)
        first = self._read(entry.offset, entry.offset + looked_at)
        if len(first) != looked_at or b"\n" in first or b">" in first:
            return False
        if entry.length <= entry.line_bases:
            return True
        line_end = self._read(entry.offset + entry.line_bases, entry.offset + entry.line_width)
        return line_end in (b"\n", b"\r\n")

    def _end_fits(self, number: int) -> bool:
        """What lies between the last base and the next header, or the end of the file, is blank."""
        end = self._entries[number].end
        last = number + 1 == len(self._entries)
        behind = self._read(end, min(self._size, end + _LOOKED_AT))
        if last:
            return not behind.strip()
        return behind[:1] in (b"\n", b"\r") or end == self._entries[number].offset
