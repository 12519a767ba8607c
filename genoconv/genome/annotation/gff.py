"""Rows of GTF and GFF3 files, one at a time: only rows of wanted features are parsed beyond their third column.

Both formats have nine tab-separated columns with 1-based closed coordinates. They differ in the last: GFF3 writes
``key=value;`` with percent-encoding, GTF ``key "value";``.
"""

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from io import BufferedReader
from typing import Literal, NamedTuple
from urllib.parse import unquote

from genoconv.errors import DataError
from genoconv.formats import whole_number
from genoconv.lines import JOINED, is_joined, numbered_lines, shortened, utf8

_GFF3 = re.compile(r"[\s;]*[^\s=\";]+\s*=")
_WORD = re.compile(r'\s*[^\s="]+\s*')
_GTF = re.compile(r'\s*([^\s";]+)\s+(?:"([^"]*)"|([^\s";]+))\s*(?:;|$)')


_TABS = 8
# Rows that describe a whole contig, among others.
_WHOLE = frozenset({"region", "chromosome"})
_PARTS = frozenset({"transcript", "mRNA", "exon", "CDS"})
# mRNA is translated; sgRNA is a guide that was made for an experiment, not a gene.
_NO_RNA_GENES = frozenset({"mRNA", "sgRNA"})

Kind = Literal["gene", "part", "whole", ""]


def kind_of(feature: str) -> Kind:
    """What a feature is to us: a gene, part of one, a whole contig, or nothing."""
    if feature in ("gene", "pseudogene") or feature.endswith("_gene"):
        return "gene"
    if feature in _PARTS or is_rna(feature) or feature.endswith("_primary_transcript"):  # the last is miRBase's
        return "part"
    return "whole" if feature in _WHOLE else ""


def is_rna(feature: str) -> bool:
    """Whether a feature is an RNA that is not translated: ``tRNA``, ``rRNA``, ``tmRNA``, ``ncRNA``, ``SRP_RNA``, ..."""
    return feature.endswith("RNA") and feature not in _NO_RNA_GENES


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

    @property
    def is_bare(self) -> bool:
        """Whether the ninth column is a name alone: so AUGUSTUS and BRAKER write genes and transcripts."""
        return self.feature in ("gene", "transcript") and self.text.strip() != "." and bool(_WORD.fullmatch(self.text))

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
        if self.is_bare:
            return {f"{self.feature}_id": self.text.strip()}
        for match in _GTF.finditer(self.text):
            attributes.setdefault(match[1], match[2] if match[2] is not None else match[3])
        if self.text.strip() not in ("", ".") and "gene_id" not in attributes and self.feature not in _WHOLE:
            raise DataError(
                f"{self.source}: line {self.line}: attributes {shortened(self.text.strip())} are neither GFF3"
                ' (key=value) nor GTF (gene_id "..."); convert GFF2 and others to GFF3 first'
            )
        return attributes


class RowReader:
    """Iterates over the rows of genes, their parts and whole contigs, and notes what directives say.

    Args:
        stream: the file.
        source: what to call it in messages.
        kinds: what a feature is to the caller; rows of kind ``""`` are passed over.

    Attributes:
        lengths: contig -> length, from ``##sequence-region`` directives that start at 1.
        features: how often each feature was seen, read or not, before the first gene.
        skip: parts of genes whose line holds this are passed over; everything is read while it is empty. Most lines
            of an annotation belong to the gene above them, and finding bytes is quicker than parsing.

    Raises:
        DataError: while iterating, for an invalid row; names file and line.
    """

    def __init__(self, stream: BufferedReader, *, source: str, kinds: Callable[[str], Kind] = kind_of) -> None:
        self.source = source
        self.lengths: dict[str, int] = {}
        self.features: Counter[str] = Counter()
        self.skip = b""
        self._stream = stream
        self._kind_of = kinds

    def __iter__(self) -> Iterator[Row]:
        counts: Counter[bytes] = Counter()
        kinds: dict[bytes, Kind] = {}
        skip = b""
        for number, raw in numbered_lines(self._stream, source=self.source, kind="GTF or GFF3", own=b"##gff"):
            columns = raw.split(b"\t", 3)
            if len(columns) < 4 or raw[0] in b"#>":
                if raw.startswith((b"##FASTA", b">")):
                    break
                columns = self._unusual(number, raw)
                if not columns:
                    continue
                raw = b"\t".join(columns)
            elif raw.count(b"\t") > _TABS:
                self._refuse_joined(number, raw)
            kind = kinds.get(columns[2])
            if kind is None:
                kind = kinds[columns[2]] = self._kind_of(columns[2].decode("utf-8", "backslashreplace"))
            if not skip:
                counts[columns[2]] += 1
            elif kind == "part":
                # Mostly it is the first attribute, where looking for it takes a tenth of the time.
                rest = columns[3]
                if rest.startswith(skip, rest.rfind(b"\t") + 1) or skip in rest:
                    continue
            if kind:
                yield self._row(number, raw)
                skip = self.skip
            elif columns[2].isdigit() or not columns[3][:1].isdigit():
                raise self._moved(number, columns)
        self.features = Counter({name.decode("utf-8", "backslashreplace"): n for name, n in counts.items()})

    def _unusual(self, number: int, raw: bytes) -> list[bytes]:
        """Columns of a line that has no tabs or is a comment; [] for other lines."""
        if raw.startswith(b"#"):
            self._directive(raw)
            return []
        if raw.startswith((b"track ", b"browser ")):  # of the UCSC genome browser
            return []
        return self._columns_of_blanks(number, raw)

    def _moved(self, number: int, columns: list[bytes]) -> DataError:
        feature, start = (
            shortened(raw.decode("utf-8", "backslashreplace")) for raw in (columns[2], columns[3].partition(b"\t")[0])
        )
        return DataError(
            f"{self.source}: line {number}: column 3 is {feature} and column 4 is {start}; expected a feature and"
            " its start: a tab is missing, or there is an extra one"
        )

    def _refuse_joined(self, number: int, raw: bytes) -> None:
        """Refuse two rows in one line; further columns of other kinds are nothing to us."""
        columns = raw.decode("utf-8", "backslashreplace").split("\t")
        if is_joined(columns, width=_TABS + 1, least=_TABS, numbers=(3, 4)):
            raise DataError(f"{self.source}: line {number}: {JOINED}")

    def _directive(self, raw: bytes) -> None:
        words = raw.split()
        if words[:1] == [b"##sequence-region"] and len(words) == 4 and words[2] == b"1":
            with contextlib.suppress(ValueError):
                self.lengths[unquote(words[1].decode("utf-8", "backslashreplace"))] = whole_number(words[3].decode())

    def _columns_of_blanks(self, number: int, raw: bytes) -> list[bytes]:
        """Columns of a row whose tabs an editor turned into blanks; [] for a blank line."""
        columns = raw.strip().split(maxsplit=8)
        if columns and (len(columns) < 8 or not (columns[3].isdigit() and columns[4].isdigit())):
            raise DataError(f"{self.source}: line {number}: {len(columns)} columns, but GTF and GFF3 have 9")
        return columns

    def _row(self, number: int, raw: bytes) -> Row:
        columns = utf8(raw, source=self.source, line=number).split("\t", 8)
        if len(columns) < 8:
            raise DataError(f"{self.source}: line {number}: {len(columns)} columns, but GTF and GFF3 have 9")
        contig, _, feature, first, last, _, strand, _, *rest = columns
        try:
            start, end = whole_number(first) - 1, whole_number(last)
        except ValueError:
            raise DataError(
                f"{self.source}: line {number}: start {shortened(first)} and end {shortened(last)} should be whole"
                " numbers"
            ) from None
        if start < 0:
            raise DataError(f"{self.source}: line {number}: start {first} is before 1, the first base in GTF and GFF3")
        if start >= end:
            raise DataError(
                f"{self.source}: line {number}: start {first} lies after end {last}; GTF and GFF3 give the smaller"
                " first and the strand in column 7"
            )
        text = rest[0] if rest else ""
        name = unquote(contig) if "%" in contig and _GFF3.match(text) else contig
        return Row(self.source, number, name, feature, start, end, strand if strand in ("+", "-") else ".", text)
