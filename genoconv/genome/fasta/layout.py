"""Which index a FASTA has, found in the one pass that also checks its every byte."""

from collections.abc import Iterable

import numpy as np

from genoconv.genome.fasta.agreement import Entry
from genoconv.genome.fasta.scan import WHITE, Header, Piece

_CR = 13
_LF = 10


def find_entries(events: Iterable[Header | Piece]) -> dict[str, Entry] | None:
    """Entry of every record; None where the lines of one are not all alike, so that no index can describe it.

    ``events``, from :func:`.scan.scan`, are always read to the end, so that every fault of the file is found.
    """
    records: dict[str, _Lines] = {}
    lines, even = _Lines(0), True
    for event in events:
        if isinstance(event, Header):
            lines = records[event.name] = _Lines(event.end)
        else:
            even = even and lines.add(event)
    entries = {name: entry for name, lines in records.items() if (entry := lines.entry())}
    return entries if even and len(entries) == len(records) else None


class _Lines:
    """The lines of one record: all but the last must be as wide as the first, and the last no wider."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.width = 0
        self.ending = 0
        self.full = 0
        self.length = 0
        self.closed = False

    def add(self, piece: Piece) -> bool:
        """Take in the next bytes; False where an index cannot describe them."""
        raw = piece.raw
        if self.closed or not self.length:
            blank = not raw.strip()
            self.closed = self.closed or blank
            if self.closed:
                return blank
        ends = np.flatnonzero(np.frombuffer(raw, np.uint8) == _LF)
        crs = raw.count(b"\r") if piece.blanks else 0
        if piece.blanks and crs != len(raw) - len(raw.translate(None, WHITE)) - len(ends):
            return False  # blanks
        self.length += len(raw) - len(ends) - crs
        reached = ends + (piece.end - len(raw) + 1 - self.offset)
        if not self.width:
            if not len(ends):
                return True
            self.width, self.ending = int(reached[0]), 1 + (raw[int(ends[0]) - 1 : int(ends[0])] == b"\r")
            if self.width == self.ending:
                return False
        expected = self.width * np.arange(self.full + 1, self.full + 1 + len(ends))
        wrong = np.flatnonzero(reached != expected)
        full = int(wrong[0]) if len(wrong) else len(ends)
        self.full += full
        if self.ending == 2:
            alike = bool(np.all(np.frombuffer(raw, np.uint8)[ends[:full] - 1] == _CR))
        else:
            alike = not crs or b"\r" not in raw[: int(ends[full - 1])] if full else True
        if full < len(ends):
            self.closed = True
            return alike and reached[full] < expected[full] and not raw[int(ends[full]) :].strip()
        return alike

    def entry(self) -> Entry | None:
        """The columns of the index, once all lines are in; None where the last line is wider than the others."""
        if not self.width:  # one line, which the end of the file ends
            return Entry(self.length, self.offset, self.length, self.length)
        bases = self.width - self.ending
        if not self.closed and self.length - self.full * bases > bases:
            return None
        return Entry(self.length, self.offset, bases, self.width)
