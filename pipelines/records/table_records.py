"""Records of a table: TSV, CSV or Parquet, one per row."""

from collections.abc import Iterator

from genoconv.errors import DataError
from genoconv.pipelines.records.columns import choose_columns
from genoconv.pipelines.records.record import Record, UniqueNames, Wanted, checked_sequence, label_names, labelled
from genoconv.pipelines.records.tables import open_table


class TableRecords:
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
        columns, names, number = self._columns, UniqueNames(), 0
        assert columns.sequence is not None
        unique = columns.name is not None and columns.names[columns.name].lower() != "name"  # many rows may name a gene
        for line, cells in self._table.rows():
            number += 1
            where = f"{self.name}: {self._table.unit} {line}"
            tokens = checked_sequence(cells[columns.sequence], where=where)
            name = cells[columns.name] if columns.name is not None else str(number)
            if unique:
                names.check(name, where)
            yield Record(where, name, name, 0, len(tokens), "+", tokens, *labelled(cells, columns))
        if not number:
            raise DataError(f"{self.name}: no record below the header")
