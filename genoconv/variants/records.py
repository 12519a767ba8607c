"""Records of a VCF or BCF, and what every file of them offers, whatever it holds them in."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")


def decode(raw: bytes) -> str:
    """Text of a line without its end; bytes that are not UTF-8 survive the way back."""
    return raw.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The inverse of :func:`decode`, with an LF."""
    return text.encode("utf-8", "surrogateescape") + b"\n"


@dataclass(slots=True)
class Record:
    """One record. ``start`` is 0-based (POS - 1); ``alts`` is empty where ALT is ``.``.

    ``line`` is the record's text without a line end, at least eight columns.
    """

    contig: str
    start: int
    ref: str
    alts: tuple[str, ...]
    line: str

    @property
    def end(self) -> int:
        """First 0-based position after REF."""
        return self.start + len(self.ref)

    @property
    def columns(self) -> list[str]:
        """CHROM .. INFO, and the rest of the line as a ninth item where there is one."""
        return self.line.split("\t", 8)


class VariantFile(ABC):
    """A VCF or BCF that can be read several times.

    Attributes:
        path: the file that is read (a spooled copy where the input was a stream).
        name: what messages call it.
        header: the header's lines, from ``##fileformat`` to ``#CHROM``, without line ends; complete and well
            formed even where the file's own is not.
        notes: what was unusual and has been repaired, one sentence each.
    """

    is_bcf = False

    def __init__(self, path: Path, *, name: str) -> None:
        self.path = path
        self.name = name
        self.notes: list[str] = []
        self.header = self._read_header()

    @abstractmethod
    def _read_header(self) -> list[str]: ...

    @abstractmethod
    def records(self) -> Iterator[Record]:
        """Every record, in the order of the file.

        Raises:
            DataError: a line is not a record, or the compressed stream ends early; the line is named.
        """
