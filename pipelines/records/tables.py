"""Rows of CSV, TSV and Parquet files as text, each with its number, checked alike."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genoconv.errors import DataError, UsageError
from genoconv.formats import most_in_table, open_binary
from genoconv.lines import check_rows, numbered_lines, shortened, utf8
from genoconv.wording import printable

_PARQUET = b"PAR1"
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
_DNA = re.compile(r"[ACGTNacgtn]{8,}")
# Rows of Parquet held at once; few, as one short dictionary can make every cell of them long.
_BATCH = 256


@dataclass(frozen=True)
class Table:
    """A table that is read row by row.

    Attributes:
        source: file, for messages.
        unit: what a number counts: ``line`` of a text, ``row`` of Parquet.
        header: names of the columns.
    """

    source: str
    unit: str
    header: tuple[str, ...]
    path: Path
    delimiter: str

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Number and cells of each row, as many as the header has.

        Raises:
            DataError: a row with more or fewer cells, or a damaged file; the line is named.
        """
        return _parquet_rows(self) if self.unit == "row" else _text_rows(self)


def open_table(path: Path) -> Table:
    """Look at the header of a table; CSV, TSV or Parquet by content.

    Raises:
        DataError: empty, without a header, or something else.
        UsageError: Parquet, and pyarrow is not installed.
    """
    source = str(path)
    _refuse_foreign(path)
    with path.open("rb") as stream:
        if stream.read(4) == _PARQUET:
            return Table(source, "row", _parquet_header(path), path, "")
    line, text = next(_lines(path), (0, ""))
    if not line:
        raise DataError(f"{path}: empty; expected a table with the header sequence,label")
    if text.startswith(("{", "[")):
        raise DataError(f"{path}: JSON; convert it to CSV, TSV or Parquet, e.g. with pandas.read_json and to_csv")
    delimiter = "\t" if "\t" in text else "," if "," in text else ";" if ";" in text else ","
    header = tuple(_cells(text, delimiter, where=f"{path}: line {line}"))
    if any(_DNA.fullmatch(cell.strip()) for cell in header):
        raise DataError(f"{path}: line {line}: a record instead of a header; add the header sequence,label")
    return Table(source, "line", header, path, delimiter)


def _refuse_foreign(path: Path) -> None:
    if path.suffix.lower() in _SPREADSHEETS:
        raise DataError(f"{path}: a spreadsheet; save it as CSV")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a table that are not blank, from its header on: comments before it are left out."""
    source, began = str(path), False
    with open_binary(path, table=True) as stream:
        for number, raw in numbered_lines(stream, source=source, kind="a table"):
            if raw.strip() and (began or not raw.startswith((b"##", b"# "))):
                began = True
                check_rows(number, source=source)
                yield number, utf8(raw, source=source, line=number)


def _text_rows(table: Table) -> Iterator[tuple[int, list[str]]]:
    lines = _lines(table.path)
    next(lines, None)
    width, first = len(table.header), True
    for number, text in lines:
        cells = _cells(text, table.delimiter, where=f"{table.source}: line {number}")
        if len(cells) != width:
            more = "; are the first cells row names from R? Name their column" if len(cells) == width + first else ""
            raise DataError(
                f"{table.source}: line {number}: {len(cells)} cells, but the header has {width} columns{more}"
            )
        first = False
        yield number, [cell.strip() for cell in cells]


def _cells(text: str, delimiter: str, *, where: str) -> list[str]:
    """Cells of a line; only quotes need the csv module, which takes no cell of more than 131,072 characters."""
    if '"' not in text:
        return text.split(delimiter)
    try:
        [cells] = csv.reader([text], delimiter=delimiter, strict=True)
    except (csv.Error, ValueError) as error:
        if text.count('"') % 2:
            raise DataError(
                f"{where}: a quote that is not closed on its line; cells must not contain line breaks"
            ) from None
        raise DataError(f"{where}: malformed quotes ({error}): {shortened(text)}") from None
    return cells


def _parquet_header(path: Path) -> tuple[str, ...]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise UsageError(f"{path}: Parquet needs the extra: pip install 'genoconv[parquet]'") from None
    try:
        with path.open("rb") as stream:
            return tuple(parquet.ParquetFile(stream).schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged, or not Parquet: {_said(error)}") from None


def _parquet_rows(table: Table) -> Iterator[tuple[int, list[str]]]:
    import pyarrow as pa
    from pyarrow import parquet

    number = unpacked = 0
    most = most_in_table(table.path.stat().st_size)
    with table.path.open("rb") as stream:
        try:
            file = parquet.ParquetFile(stream)
            groups = range(file.metadata.num_row_groups)
            if sum(file.metadata.row_group(group).total_byte_size for group in groups) > most:
                raise _too_dense(table)
            for batch in file.iter_batches(_BATCH):
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    cells = [_cell(value) for value in row]
                    unpacked += sum(map(len, cells))
                    if unpacked > most:
                        raise _too_dense(table)
                    yield number, cells
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(f"{table.source}: damaged: {_said(error)}") from None


def _said(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:200]


def _too_dense(table: Table) -> DataError:
    return DataError(
        f"{table.source}: unpacks to more than 100 times its size, which is implausible for a table; convert it to TSV"
        " if you trust it"
    )


def _cell(value: object) -> str:
    """A value of Parquet as it would stand in a CSV file."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ";".join(value)
    return str(value).strip()
