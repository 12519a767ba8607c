"""A record with its labels, and what every source of records offers, whatever the file is."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from genoconv.errors import DataError
from genoconv.genome.fasta.alphabet import SAMPLE, check_dna
from genoconv.lines import shortened
from genoconv.pipelines.records.columns import Chosen
from genoconv.tokens import Tokens, encode

_SEQUENCE = re.compile(r"[A-Za-z.\-*~]+")


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


@dataclass
class UniqueNames:
    """Refuses a name that comes twice."""

    seen: dict[str, str] = field(default_factory=dict)

    def check(self, name: str, where: str) -> None:
        before = self.seen.setdefault(name, where)
        if before != where:
            raise DataError(
                f"{where}: the id {shortened(name)} is also on {before.rpartition(': ')[2]}; ids must differ"
            )


def label_names(columns: Chosen) -> tuple[str, ...]:
    """Names of the label columns; ``label`` for one that only has a number."""
    names = [columns.names[place] for place in columns.labels]
    return tuple("label" if len(names) == 1 and name.isdigit() else name for name in names)


def labelled(cells: Sequence[str], columns: Chosen) -> tuple[tuple[str, ...], str]:
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
        if odd == " ":
            raise DataError(f"{where}: the sequence contains spaces; write it without spaces, not as k-mers")
        raise DataError(f"{where}: the sequence contains {shortened(odd)}, which is not a DNA letter")
    source, _, record = where.rpartition(": ")
    check_dna(text[:SAMPLE].encode(), source=source, record=record)
    return encode(text)
