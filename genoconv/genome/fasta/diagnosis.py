"""Why a FASTA cannot be indexed: read line by line, only after an index has failed, to name the line."""

from pathlib import Path
from typing import BinaryIO

from genoconv.errors import DataError
from genoconv.genome.fasta.records import LONGEST_HEADER, HeaderCheck, not_fasta
from genoconv.genome.formats import open_binary

# A line is measured in pieces of this size, so that a chromosome on one line costs no memory.
_PIECE = 1 << 16
_ADVICE = "; wrap all lines alike, e.g. with `seqkit seq -w 60`"


def diagnose(path: Path) -> None:
    """Read a FASTA and raise for the first thing in it that random access cannot live with.

    Returns normally if nothing is found.

    Raises:
        DataError: empty file, not FASTA, nameless or duplicate header, a record without sequence, blanks inside a
            line, a blank line inside a record, lines of unequal length inside a record; with the line's number.
    """
    with open_binary(path) as stream:
        _Reader(str(path)).read(stream)


class _Reader:
    """State of one reading: the current record and the shape that its first line set."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.headers = HeaderCheck(source)
        self.name = ""
        self.line = 0
        self.shape: tuple[int, bytes] | None = None
        # Line of the first one shorter than the rest: only blank lines may follow it.
        self.ended = 0

    def read(self, stream: BinaryIO) -> None:
        while piece := stream.readline(_PIECE):
            self.line += 1
            if piece.startswith(b">"):
                text, length = piece, len(piece)
                while not piece.endswith(b"\n") and (piece := stream.readline(_PIECE)):
                    length += len(piece)
                self._finish()
                if length > LONGEST_HEADER:
                    raise DataError(f"{self.source}: line {self.line}: a header of {length:,} bytes; shorten it")
                self._header(text)
            else:
                self._sequence_line(piece, stream)
        if not self.headers.lines:
            raise DataError(
                f"{self.source}: {'no FASTA record, only blank lines' if self.line else 'the file is empty'}"
            )
        self._finish()

    def _header(self, text: bytes) -> None:
        try:
            self.name = self.headers.name(text.decode(), self.line)
        except UnicodeDecodeError:
            raise DataError(
                f"{self.source}: line {self.line}: the header is not UTF-8; convert it, e.g. with `iconv -f latin1`"
            ) from None
        self.shape, self.ended = None, 0

    def _finish(self) -> None:
        if self.name and not self.shape:
            raise DataError(
                f"{self.source}: line {self.headers.lines[self.name]}: record {self.name!r} has no sequence; remove it"
            )

    def _sequence_line(self, piece: bytes, stream: BinaryIO) -> None:
        length, first = 0, piece
        while True:
            body = piece.rstrip(b"\r\n") if piece.endswith(b"\n") else piece
            ending = piece[len(body) :]
            length += len(body)
            if self.name and body.strip() and len(body.split()) + (body[:1].isspace() or body[-1:].isspace()) > 1:
                raise self._wrong("blanks inside the sequence; remove them")
            if self.name and b"\0" in body:
                raise self._wrong("a NUL byte inside the sequence; the file is damaged, fetch it again")
            if piece.endswith(b"\n") or not (piece := stream.readline(_PIECE)):
                break
        blank = not first.strip()
        if not self.name:
            if not blank:
                raise not_fasta(self.source, self.line, first)
        elif blank:
            self.ended = self.ended or self.line
        elif self.ended:
            raise self._wrong(f"sequence goes on after the shorter line {self.ended}{_ADVICE}")
        elif self.shape is None:
            self.shape = (length, ending)
        elif length > self.shape[0]:
            raise self._wrong(f"{length} bases, where the lines before it have {self.shape[0]}{_ADVICE}")
        elif length < self.shape[0]:
            self.ended = self.line
        elif ending and ending != self.shape[1]:
            raise self._wrong("Windows and Unix line ends are mixed; convert them, e.g. with `dos2unix`")

    def _wrong(self, what: str) -> DataError:
        return DataError(f"{self.source}: line {self.line}, record {self.name!r}: {what}")
