"""Records of a BED file: intervals of a FASTA, labelled by further columns."""

from collections.abc import Iterator
from typing import NamedTuple

from genoconv.contigs import match_contigs
from genoconv.errors import DataError, UsageError
from genoconv.formats import open_binary
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.intervals import parse_interval
from genoconv.lines import check_rows, numbered_lines, shortened, utf8
from genoconv.pipelines.records.columns import Chosen, choose_columns
from genoconv.pipelines.records.record import Record, Wanted, label_names, labelled
from genoconv.wording import listed

_NAMES = ("chrom", "chr", "contig", "chromosome", "seqid")


class Interval(NamedTuple):
    """A row of a BED file: what a :class:`.Record` has but its sequence, and the name of its contig in the FASTA."""

    where: str
    name: str
    contig: str
    start: int
    end: int
    strand: str
    labels: tuple[str, ...]
    split: str
    target: str


class BedRecords:
    """Intervals of a BED file; a :class:`.Source`.

    Attributes:
        fasta: their sequence.
        width: number of columns.
        has_header: whether they have names.
        has_strand: whether one of them holds the strand.
    """

    placed = True

    def __init__(self, wanted: Wanted) -> None:
        assert wanted.fasta is not None
        self._path = wanted.path
        self.fasta = Fasta(wanted.fasta)
        self.name = str(wanted.path)
        header = self._header()
        self._columns = self._choose(header, wanted)
        self.labels = label_names(self._columns)
        self.has_split = self._columns.split is not None
        self.notes = list(self._columns.found)
        self.width, self.has_header = len(header), header[0] != "1"
        self.has_strand = self._place("strand", 5) is not None
        self._contigs = self._match()

    def _lines(self) -> Iterator[tuple[int, str]]:
        with open_binary(self._path, table=True) as stream:
            for number, raw in numbered_lines(stream, source=self.name, kind="BED"):
                if raw.strip() and not raw.startswith((b"track ", b"browser ")):
                    check_rows(number, source=self.name)
                    yield number, utf8(raw, source=self.name, line=number)

    def _header(self) -> tuple[str, ...]:
        """Names of the columns: those of a header, or their numbers from 1."""
        width = 0
        for _, text in self._lines():
            cells = _split(text.lstrip("#"))
            if cells and cells[0].lower() in _NAMES:
                return tuple(cells)
            if not text.startswith("#"):
                width = len(cells)
                break
        if not width:
            raise DataError(f"{self.name}: no intervals in this BED file")
        if width < 3:
            raise DataError(f"{self.name}: {width} columns, but BED has at least 3")
        return tuple(str(number) for number in range(1, width + 1))

    def _choose(self, header: tuple[str, ...], wanted: Wanted) -> Chosen:
        labels, split = wanted.labels, wanted.split
        numbered = header[0] == "1"
        if numbered and wanted.need_label and not labels:
            if len(header) not in (4, 7):
                raise UsageError(
                    f"{self.name}: {len(header)} columns without a header; name the label column with --label N"
                )
            labels = (header[-1],)
        chosen = choose_columns(
            header, source=self.name, labels=labels, split=split, need_sequence=False, need_label=wanted.need_label
        )
        notes = [f"label in column {header[place]}" for place in chosen.labels] if numbered else list(chosen.found)
        return Chosen(header, None, chosen.labels, chosen.split, chosen.name, tuple(notes))

    def _rows(self) -> Iterator[tuple[str, list[str], int, int]]:
        for number, text in self._lines():
            cells = _split(text)
            if text.startswith("#") or (cells and cells[0].lower() in _NAMES):
                continue
            where = f"{self.name}: line {number}"
            if len(cells) != len(self._columns.names):
                raise DataError(
                    f"{where}: {len(cells)} columns, but the first row or header has {len(self._columns.names)}"
                )
            yield where, cells, *parse_interval(cells[1], cells[2], where=where)

    def _match(self) -> dict[str, str]:
        """Contig of the BED file -> of the FASTA, after a look at every row."""
        contigs = self.fasta.contigs
        rows = [(where, cells[0], end) for where, cells, _, end in self._rows()]
        if not rows:
            raise DataError(f"{self.name}: no intervals in this BED file")
        names = match_contigs(dict.fromkeys(contig for _, contig, _ in rows), contigs, each=True)
        for where, contig, end in rows:
            if contig not in names:
                raise DataError(
                    f"{where}: no contig {shortened(contig)} in {self.fasta.path}; it has {listed(contigs)}"
                )
            if end > contigs[names[contig]]:
                length = contigs[names[contig]]
                raise DataError(
                    f"{where}: the interval ends at {end:,}, but {shortened(contig)} has only {length:,} bases"
                )
        return names

    def records(self) -> Iterator[Record]:
        for row in self.intervals():
            where, name, contig, start, end, strand, labels, split, target = row
            tokens = self.fasta.tokens(target, start, end)
            yield Record(where, name, contig, start, end, strand, tokens, labels, split)

    def intervals(self) -> Iterator[Interval]:
        """Rows, without their sequence."""
        strand_at, name_at = self._place("strand", 5), self._place("name", 3)
        for where, cells, start, end in self._rows():
            strand = cells[strand_at] if strand_at is not None else "."
            if strand not in ("+", "-", "."):
                raise DataError(f"{where}: strand {shortened(strand)}; expected +, - or .")
            name = cells[name_at] if name_at is not None else ""
            name = name if name not in ("", ".") else f"{cells[0]}:{start + 1}-{end}"
            found = labelled(cells, self._columns)
            yield Interval(where, name, cells[0], start, end, strand, *found, self._contigs[cells[0]])

    def lengths(self) -> dict[str, int]:
        """Bases of each contig that the file names."""
        return {name: self.fasta.contigs[target] for name, target in self._contigs.items()}

    def _place(self, name: str, usual: int) -> int | None:
        """Column of the strand or the name: that of the header, or its place in BED unless it holds a label."""
        names = [column.lower() for column in self._columns.names]
        if name in names:
            return names.index(name)
        used = {*self._columns.labels, self._columns.split}
        return usual if names[0] == "1" and usual < len(names) and usual not in used else None


def _split(text: str) -> list[str]:
    return [cell.strip() for cell in text.split("\t")] if "\t" in text else text.split()
