"""FASTA records one after another, from a file or a pipe: nothing but the current record is held."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from genoconv.formats import STDIN, open_binary
from genoconv.genome.fasta.scan import Header, Letters, scan


@dataclass(frozen=True, slots=True)
class FastaRecord:
    """One record.

    Attributes:
        name: the header up to the first blank.
        description: the rest of the header.
        sequence: letters as stored, soft mask included, line ends and blanks removed.
        line: 1-based line of the header.
    """

    name: str
    description: str
    sequence: bytes
    line: int


def read_records(path: str | Path) -> Iterator[FastaRecord]:
    """Stream the records of a FASTA: plain, gzip or bgzip (by content), CRLF or LF, lines of any length.

    Args:
        path: a file, or ``-`` for standard input.

    Yields:
        Records in file order; a record may be empty.

    Raises:
        DataError: not FASTA, no record at all, a nameless or duplicate header, bytes that are not sequence, protein or
            RNA, damaged compression.
        OSError: the file cannot be opened.
    """
    source = STDIN if str(path) == "-" else str(path)
    with open_binary("-" if str(path) == "-" else Path(path)) as stream:
        header: Header | None = None
        pieces: list[Letters] = []
        for event in scan(stream, source=source):
            if isinstance(event, Header):
                if header:
                    yield _record(header, pieces)
                header, pieces = event, []
            else:
                pieces.append(event.letters)
        if header:
            yield _record(header, pieces)


def read_streams(path: str | Path) -> Iterator[tuple[str, Iterator[Letters]]]:
    """:func:`read_records` for records that need not be held: the name of each, and its sequence in parts.

    The parts of a record are to be taken before the next record.
    """

    def events() -> Iterator[tuple[Header, Letters]]:
        with open_binary("-" if str(path) == "-" else Path(path)) as stream:
            for event in scan(stream, source=STDIN if str(path) == "-" else str(path)):
                if isinstance(event, Header):
                    header = event
                    yield header, b""
                else:
                    yield header, event.letters

    for header, parts in groupby(events(), key=itemgetter(0)):
        yield header.name, (letters for _, letters in parts if letters)


def _record(header: Header, pieces: list[Letters]) -> FastaRecord:
    return FastaRecord(header.name, header.description, b"".join(pieces), header.line)
