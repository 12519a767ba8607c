"""Records of a FASTA, labelled by a table beside it."""

from collections.abc import Iterator
from pathlib import Path

from genoconv.errors import DataError, UsageError
from genoconv.genome.fasta.records import read_records
from genoconv.lines import shortened
from genoconv.pipelines.records.columns import choose_columns
from genoconv.pipelines.records.record import Record, UniqueNames, Wanted, label_names, labelled
from genoconv.pipelines.records.tables import open_table
from genoconv.tokens import encode
from genoconv.wording import count, listed


class FastaRecords:
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
        table, names = open_table(path), UniqueNames()
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
            self._labels[cells[columns.name]] = where, labelled(cells, columns)
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
