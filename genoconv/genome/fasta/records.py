"""FASTA records one after another, from a file or a pipe: nothing but the current record is held."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from genoconv.errors import DataError
from genoconv.genome.fasta.alphabet import check_dna
from genoconv.genome.formats import foreign_format, open_binary

_SAMPLE = 1 << 14
# Bytes; so that what looks for the header after a record never reads a chromosome into memory.
LONGEST_HEADER = 1 << 20


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


class HeaderCheck:
    """Looks at the headers of a FASTA in order: every record needs a name, and one that no other has."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: dict[str, int] = {}

    def name(self, header: str, line: int) -> str:
        """Name of a header (with or without its ``>``) on ``line``, 1-based.

        Raises:
            DataError: no name, or a name seen before; both lines are named.
        """
        title = header.removeprefix(">").rstrip("\r\n")
        if "\r" in title:
            raise DataError(f"{self.source}: line {line}: old Macintosh line ends; convert them, e.g. with `mac2unix`")
        if not title[:1].strip():
            raise DataError(f"{self.source}: line {line}: a header without a name; write one right after '>'")
        name = title.split(maxsplit=1)[0]
        if name in self.lines:
            raise DataError(
                f"{self.source}: two records are named {name!r}, on lines {self.lines[name]} and {line}; rename one"
            )
        self.lines[name] = line
        return name


def not_fasta(source: str, line: int, text: bytes) -> DataError:
    """The error for content before the first header."""
    known = foreign_format(text)
    if known:
        return DataError(f"{source}: not FASTA but {known}")
    shown = text[:40].decode("utf-8", "backslashreplace").strip()
    return DataError(f"{source}: not FASTA: line {line} is {shown!r}, where a header starting with '>' should be")


def read_records(path: str | Path) -> Iterator[FastaRecord]:
    """Stream the records of a FASTA: plain, gzip or bgzip (by content), CRLF or LF, lines of any length.

    Args:
        path: a file, or ``-`` for standard input.

    Yields:
        Records in file order; a record may be empty.

    Raises:
        DataError: not FASTA, no record at all, a nameless or duplicate header, protein or RNA, damaged compression.
        OSError: the file cannot be opened.
    """
    from Bio.SeqIO.FastaIO import SimpleFastaParser

    source = "standard input" if str(path) == "-" else str(path)
    headers: deque[tuple[int, str]] = deque()
    with open_binary("-" if str(path) == "-" else Path(path)) as stream:
        for title, letters in SimpleFastaParser(_checked_lines(stream, source, headers)):
            line, name = headers.popleft()
            sequence = letters.encode("ascii", "replace")
            check_dna(sequence[:_SAMPLE], source=source, record=name)
            yield FastaRecord(name, title[len(name) :].strip(), sequence, line)


def _checked_lines(stream: Iterable[bytes], source: str, headers: deque[tuple[int, str]]) -> Iterator[str]:
    """Lines as text from the first header on; every header passed is appended to ``headers`` as (line, name)."""
    check = HeaderCheck(source)
    number = 0
    for number, raw in enumerate(stream, 1):
        line = raw.decode("utf-8", "backslashreplace")
        if line.startswith(">"):
            headers.append((number, check.name(line, number)))
        elif not check.lines:
            if line.strip():
                raise not_fasta(source, number, raw)
            continue
        yield line
    if not check.lines:
        raise DataError(f"{source}: {'no FASTA record, only blank lines' if number else 'the file is empty'}")
