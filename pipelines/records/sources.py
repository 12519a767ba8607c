"""Records of a table, a FASTA or a BED file, one after another, with what each is labelled as."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from genoconv.contigs import match_contigs
from genoconv.errors import DataError, UsageError
from genoconv.formats import open_binary
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.fasta.alphabet import SAMPLE, check_dna
from genoconv.genome.fasta.records import read_records
from genoconv.genome.windows.intervals import parse_interval
from genoconv.lines import check_rows, numbered_lines, shortened, utf8
from genoconv.pipelines.records.columns import Chosen, choose_columns
from genoconv.pipelines.records.tables import open_table
from genoconv.tokens import Tokens, encode
from genoconv.wording import count, listed

_SEQUENCE = re.compile(r"[A-Za-z.\-*~]+")
_BED_NAMES = ("chrom", "chr", "contig", "chromosome", "seqid")


class Record(NamedTuple):
    """A sequence and its place.

    Attributes:
        where: file and line, to begin a message.
        name: the record's own, or its place.
        contig, start, end, strand: of BED; of others the record itself, from 0, on ``+``. 0-based half-open.
        tokens: (end - start,) of the forward strand.
        labels: text of the label columns.
        split: text of the split column, or "".
    """

    where: str
    name: str
    contig: str
    start: int
    end: int
    strand: str
    tokens: Tokens
    labels: tuple[str, ...]
    split: str


class Source(Protocol):
    """Records in the order of a file.

    Attributes:
        name: the file, for messages.
        labels: names of the label columns.
        has_split: whether there is a split column.
        placed: whether records have places on contigs.
        notes: what was understood that a person may want to check.
    """

    name: str
    labels: tuple[str, ...]
    has_split: bool
    placed: bool
    notes: list[str]

    def records(self) -> Iterator[Record]:
        """Read the file from its start."""
        ...


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of a source.

    Attributes:
        path: table, FASTA (or ``-``), or BED.
        fasta: sequence of a BED file.
        label_file: labels of the records of a FASTA.
        labels, split: names of columns; empty and None look for the usual ones.
        need_label: whether records must have labels.
    """

    path: Path
    fasta: Path | None = None
    label_file: Path | None = None
    labels: tuple[str, ...] = ()
    split: str | None = None
    need_label: bool = True


def open_source(wanted: Wanted) -> Source:
    """Find out what a file is, by its content and, for BED, by its name or ``fasta``.

    Raises:
        UsageError: options that do not go together.
        DataError: the file cannot be used.
    """
    path = wanted.path
    is_fasta = str(path) == "-" or _first_byte(path) == b">"
    if wanted.fasta is not None and is_fasta:
        raise UsageError(f"--fasta goes with a BED file; {path} has its sequence itself")
    if wanted.label_file is not None and not is_fasta:
        raise UsageError(f"--labels goes with a FASTA; {path} is not one")
    if is_fasta:
        return _FastaRecords(wanted)
    name = path.name.lower().removesuffix(".gz").removesuffix(".bgz")
    if wanted.fasta is not None or name.endswith((".bed", ".narrowpeak", ".broadpeak")):
        if wanted.fasta is None:
            raise UsageError(f"{path}: a BED file needs its sequence: add --fasta FILE")
        return _BedRecords(wanted)
    return _TableRecords(wanted)


def _first_byte(path: Path) -> bytes:
    with open_binary(path) as stream:
        return stream.peek(1)[:1]


@dataclass
class _Names:
    """Refuses a name that comes twice."""

    seen: dict[str, str] = field(default_factory=dict)

    def check(self, name: str, where: str) -> None:
        before = self.seen.setdefault(name, where)
        if before != where:
            raise DataError(
                f"{where}: the id {shortened(name)} is also on {before.rpartition(': ')[2]}; ids must differ"
            )


class _TableRecords:
    placed = False

    def __init__(self, wanted: Wanted) -> None:
        self._table = open_table(wanted.path)
        self._columns = choose_columns(
            self._table.header,
            source=str(wanted.path),
            labels=wanted.labels,
            split=wanted.split,
            need_label=wanted.need_label,
        )
        self.name = str(wanted.path)
        self.labels = label_names(self._columns)
        self.has_split = self._columns.split is not None
        self.notes = list(self._columns.found)

    def records(self) -> Iterator[Record]:
        columns, names, number = self._columns, _Names(), 0
        assert columns.sequence is not None
        for line, cells in self._table.rows():
            number += 1
            where = f"{self.name}: {self._table.unit} {line}"
            tokens = checked_sequence(cells[columns.sequence], where=where)
            name = cells[columns.name] if columns.name is not None else str(number)
            if columns.name is not None:
                names.check(name, where)
            yield Record(where, name, name, 0, len(tokens), "+", tokens, *_labelled(cells, columns))
        if not number:
            raise DataError(f"{self.name}: no record below the header")


class _FastaRecords:
    placed = False

    def __init__(self, wanted: Wanted) -> None:
        self._path, self._file = wanted.path, wanted.label_file
        self.name = "standard input" if str(wanted.path) == "-" else str(wanted.path)
        self.labels: tuple[str, ...] = ()
        self.has_split = False
        self.notes: list[str] = []
        self._labels: dict[str, tuple[str, tuple[tuple[str, ...], str]]] = {}
        if wanted.label_file is not None:
            self._read_labels(wanted, wanted.label_file)
        elif wanted.need_label:
            raise UsageError(f"{wanted.path}: a FASTA has no labels: add --labels FILE with the columns id and label")

    def _read_labels(self, wanted: Wanted, path: Path) -> None:
        table, names = open_table(path), _Names()
        columns = choose_columns(
            table.header, source=str(path), labels=wanted.labels, split=wanted.split, need_sequence=False
        )
        if columns.name is None:
            raise DataError(
                f"{path}: line 1: no column id, which names the records of {self.name}; it has "
                f"{listed(table.header, limit=8)}"
            )
        for line, cells in table.rows():
            where = f"{path}: {table.unit} {line}"
            names.check(cells[columns.name], where)
            self._labels[cells[columns.name]] = where, _labelled(cells, columns)
        self.labels, self.has_split = label_names(columns), columns.split is not None
        self.notes = list(columns.found)

    def records(self) -> Iterator[Record]:
        used = 0
        for record in read_records(self._path):
            where = f"{self.name}: line {record.line}"
            if not record.sequence:
                raise DataError(f"{where}: record {shortened(record.name)} is empty; remove it")
            labelled: tuple[tuple[str, ...], str] = ((), "")
            if self._file is not None:
                if record.name not in self._labels:
                    raise DataError(f"{where}: record {shortened(record.name)} has no label in {self._file}")
                where, labelled = self._labels[record.name]
                used += 1
            tokens = encode(record.sequence)
            yield Record(where, record.name, record.name, 0, len(tokens), "+", tokens, *labelled)
        if used < len(self._labels):
            self.notes.append(f"{count(len(self._labels) - used, 'label')} of {self._file} without a record")


class _BedRecords:
    placed = True

    def __init__(self, wanted: Wanted) -> None:
        assert wanted.fasta is not None
        self._path = wanted.path
        self._fasta = Fasta(wanted.fasta)
        self.name = str(wanted.path)
        header = self._header()
        self._columns = self._choose(header, wanted)
        self.labels = label_names(self._columns)
        self.has_split = self._columns.split is not None
        self.notes = list(self._columns.found)
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
            if cells[0].lower() in _BED_NAMES:
                return tuple(cells)
            if not text.startswith("#"):
                width = len(cells)
                break
        if width < 3:
            raise DataError(f"{self.name}: {width} columns, where BED has at least 3")
        return tuple(str(number) for number in range(1, width + 1))

    def _choose(self, header: tuple[str, ...], wanted: Wanted) -> Chosen:
        labels, split = wanted.labels, wanted.split
        numbered = header[0] == "1"
        if numbered and wanted.need_label and not labels:
            if len(header) not in (4, 7):
                raise UsageError(
                    f"{self.name}: {len(header)} columns without a header; say which holds the label: --label N"
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
            if text.startswith("#") or cells[0].lower() in _BED_NAMES:
                continue
            where = f"{self.name}: line {number}"
            if len(cells) != len(self._columns.names):
                raise DataError(
                    f"{where}: {len(cells)} columns, the first row or header has {len(self._columns.names)}"
                )
            yield where, cells, *parse_interval(cells[1], cells[2], where=where)

    def _match(self) -> dict[str, str]:
        """Contig of the BED file -> of the FASTA, after a look at every row."""
        contigs = self._fasta.contigs
        rows = [(where, cells[0], end) for where, cells, _, end in self._rows()]
        if not rows:
            raise DataError(f"{self.name}: no intervals in this BED file")
        names = match_contigs(dict.fromkeys(contig for _, contig, _ in rows), contigs, each=True)
        for where, contig, end in rows:
            if contig not in names:
                raise DataError(
                    f"{where}: no contig {shortened(contig)} in {self._fasta.path}; it has {listed(contigs)}"
                )
            if end > contigs[names[contig]]:
                length = contigs[names[contig]]
                raise DataError(f"{where}: the interval ends at {end:,}, and {shortened(contig)} has {length:,} bases")
        return names

    def records(self) -> Iterator[Record]:
        strand_at, name_at = self._place("strand", 5), self._place("name", 3)
        for where, cells, start, end in self._rows():
            tokens = self._fasta.tokens(self._contigs[cells[0]], start, end)
            strand = cells[strand_at] if strand_at is not None else "."
            if strand not in ("+", "-", "."):
                raise DataError(f"{where}: strand {shortened(strand)}; expected +, - or .")
            name = cells[name_at] if name_at is not None else ""
            name = name if name not in ("", ".") else f"{cells[0]}:{start + 1}-{end}"
            yield Record(where, name, cells[0], start, end, strand, tokens, *_labelled(cells, self._columns))

    def _place(self, name: str, usual: int) -> int | None:
        """Column of the strand or the name: that of the header, or its place in BED unless it holds a label."""
        names = [column.lower() for column in self._columns.names]
        if name in names:
            return names.index(name)
        used = {*self._columns.labels, self._columns.split}
        return usual if names[0] == "1" and usual < len(names) and usual not in used else None


def _split(text: str) -> list[str]:
    return [cell.strip() for cell in text.split("\t")] if "\t" in text else text.split()


def label_names(columns: Chosen) -> tuple[str, ...]:
    """Names of the label columns; ``label`` for one that only has a number."""
    names = [columns.names[place] for place in columns.labels]
    return tuple("label" if len(names) == 1 and name.isdigit() else name for name in names)


def _labelled(cells: Sequence[str], columns: Chosen) -> tuple[tuple[str, ...], str]:
    split = "" if columns.split is None else cells[columns.split]
    return tuple(cells[place] for place in columns.labels), split


def checked_sequence(text: str, *, where: str) -> Tokens:
    """Tokens of a cell that should hold DNA.

    Raises:
        DataError: empty, not letters, protein or RNA.
    """
    if not text:
        raise DataError(f"{where}: no sequence; fill it in, or remove the record")
    if not _SEQUENCE.fullmatch(text):
        odd = next(letter for letter in text if not _SEQUENCE.fullmatch(letter))
        raise DataError(f"{where}: the sequence holds {shortened(odd)}, which is not a letter of DNA")
    source, _, record = where.rpartition(": ")
    check_dna(text[:SAMPLE].encode(), source=source, record=record)
    return encode(text)
