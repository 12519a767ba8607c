"""Rows of GTF and GFF3 files, one at a time: only rows of wanted features are parsed beyond their third column.

Both formats have nine tab-separated columns with 1-based closed coordinates. They differ in the last: GFF3 writes
``key=value;`` with percent-encoding, GTF ``key "value";``.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple
from urllib.parse import unquote

from genoconv.errors import DataError
from genoconv.formats import foreign_format, whole_number

_GFF3 = re.compile(r"[\s;]*[^\s=\";]+\s*=")
# AUGUSTUS and BRAKER name a gene by a bare word.
_WORD = re.compile(r'\s*([^\s;="]+)\s*')
_GTF = re.compile(r'\s*([^\s";]+)\s+(?:"([^"]*)"|([^\s";]+))\s*(?:;|$)')


class Row(NamedTuple):
    """One feature; ``start`` and ``end`` 0-based half-open, ``strand`` one of ``+``, ``-``, ``.``.

    ``text`` is the ninth column as written: most rows are never asked for more than one of its keys.
    """

    source: str
    line: int
    contig: str
    feature: str
    start: int
    end: int
    strand: str
    text: str

    @property
    def gtf(self) -> bool:
        """Whether the row is GTF and not GFF3."""
        return not _GFF3.match(self.text)

    def attributes(self) -> dict[str, str]:
        """The ninth column as a dict, decoded, without quotes; the first of repeated keys wins.

        Raises:
            DataError: it is neither GFF3 nor GTF.
        """
        attributes: dict[str, str] = {}
        if not self.gtf:
            for part in self.text.split(";"):
                key, equals, value = part.partition("=")
                if equals:
                    attributes.setdefault(unquote(key.strip()), unquote(value.strip().strip('"')))
            return attributes
        if self.feature == "gene" and self.text.strip() != "." and (word := _WORD.fullmatch(self.text)):
            return {"gene_id": word[1]}
        for match in _GTF.finditer(self.text):
            attributes.setdefault(match[1], match[2] if match[2] is not None else match[3])
        if self.text.strip() not in ("", ".") and "gene_id" not in attributes:
            raise DataError(
                f"{self.source}: line {self.line}: attributes {self.text.strip()[:60]!r} are neither GFF3 (key=value)"
                ' nor GTF (gene_id "..."); convert GFF2 and others to GFF3 first'
            )
        return attributes


class RowReader:
    """Iterates over the wanted rows of an annotation and notes what its directives say.

    Attributes:
        lengths: contig -> length, from ``##sequence-region`` directives that start at 1.
        features: how often each feature was seen, wanted or not.

    Raises:
        DataError: while iterating, for a row that cannot be; file and line are named.
    """

    def __init__(self, stream: Iterable[bytes], *, source: str, wanted: Callable[[str], bool]) -> None:
        self.source = source
        self.lengths: dict[str, int] = {}
        self.features: Counter[str] = Counter()
        self._stream = stream
        self.want(wanted)

    def want(self, wanted: Callable[[str], bool]) -> None:
        """Change, also in the middle of the file, which features the rows to come are parsed for."""
        self._wanted = wanted
        self._decided: dict[bytes, bool] = {}

    def __iter__(self) -> Iterator[Row]:
        counts: Counter[bytes] = Counter()
        for number, raw in enumerate(self._stream, 1):
            if number == 1:
                self._check_first(raw)
            if raw[0] in b"#>":
                if raw.startswith((b"##FASTA", b">")):
                    break
                self._directive(raw)
                continue
            columns = raw.split(b"\t", 3)
            if len(columns) < 4 and raw.startswith((b"track", b"browser")):  # of the UCSC genome browser
                continue
            if len(columns) < 4:
                columns = self._columns_of_blanks(number, raw)
                if not columns:
                    continue
                raw = b"\t".join(columns)
            feature = columns[2]
            counts[feature] += 1
            if feature not in self._decided:
                self._decided[feature] = self._wanted(feature.decode("utf-8", "backslashreplace"))
            if self._decided[feature]:
                yield self._row(number, raw)
        self.features = Counter({name.decode("utf-8", "backslashreplace"): n for name, n in counts.items()})

    def _check_first(self, raw: bytes) -> None:
        known = "FASTA" if raw.startswith(b">") else foreign_format(raw)
        if known and not raw.startswith(b"##gff"):
            raise DataError(f"{self.source}: not GTF or GFF3 but {known}")

    def _directive(self, raw: bytes) -> None:
        words = raw.split()
        if words[:1] == [b"##sequence-region"] and len(words) == 4 and words[2] == b"1" and words[3].isdigit():
            self.lengths[unquote(words[1].decode("utf-8", "backslashreplace"))] = int(words[3])

    def _columns_of_blanks(self, number: int, raw: bytes) -> list[bytes]:
        """Columns of a row whose tabs an editor turned into blanks; [] for a blank line."""
        columns = raw.strip().split(maxsplit=8)
        if columns and (len(columns) < 8 or not (columns[3].isdigit() and columns[4].isdigit())):
            raise DataError(f"{self.source}: line {number}: {len(columns)} columns, where GTF and GFF3 have 9")
        return columns

    def _row(self, number: int, raw: bytes) -> Row:
        columns = raw.decode("utf-8", "backslashreplace").rstrip("\r\n").split("\t", 8)
        if len(columns) < 8:
            raise DataError(f"{self.source}: line {number}: {len(columns)} columns, where GTF and GFF3 have 9")
        if "\r" in columns[-1]:
            raise DataError(
                f"{self.source}: line {number}: old Macintosh line ends; convert them, e.g. with `mac2unix`"
            )
        contig, _, feature, first, last, _, strand, _, *rest = columns
        try:
            start, end = whole_number(first) - 1, whole_number(last)
        except ValueError:
            raise DataError(
                f"{self.source}: line {number}: start {first!r} and end {last!r} should be whole numbers"
            ) from None
        if start < 0:
            raise DataError(f"{self.source}: line {number}: start {first} is before 1, the first base in GTF and GFF3")
        if start >= end:
            raise DataError(
                f"{self.source}: line {number}: start {first} lies after end {last}; GTF and GFF3 give the smaller"
                " first and tell the direction in column 7"
            )
        text = rest[0] if rest else ""
        name = unquote(contig) if "%" in contig and _GFF3.match(text) else contig
        return Row(self.source, number, name, feature, start, end, strand if strand in ("+", "-") else ".", text)
