"""``metrics.csv``: what was measured, one row at a time, readable during the run."""

import contextlib
import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genoconv import atomic
from genoconv.errors import DataError

_BEFORE = ("step", "tokens", "split")
_AFTER = ("learning_rate", "tokens_per_second")


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Attributes:
        step: optimiser steps done.
        tokens: read for training by all processes, padding not counted.
        split: ``train`` (mean since the last row), ``valid`` or ``test``.
        figures: what the objective reports, by name; ``loss`` is one of them.
        learning_rate: of the last of its steps.
        tokens_per_second: while training, since the last row; None for held-out windows.
    """

    step: int
    tokens: int
    split: str
    figures: Mapping[str, float]
    learning_rate: float
    tokens_per_second: float | None = None

    @property
    def loss(self) -> float:
        """Nats per base, or the objective's own unit."""
        return self.figures["loss"]

    @property
    def perplexity(self) -> float:
        """exp(loss); 4 is a uniform guess."""
        return self.figures["perplexity"]

    def curves(self) -> dict[str, float]:
        """Its values by name, for a logger of curves."""
        values = {name: value for name, value in self.figures.items() if not math.isnan(value)}
        if self.tokens_per_second is not None:
            values |= {"learning_rate": self.learning_rate, "tokens_per_second": self.tokens_per_second}
        return {f"{self.split}/{name}": value for name, value in values.items()} | {"tokens": self.tokens}


def read_rows(path: Path) -> list[Row]:
    """All complete rows of a ``metrics.csv``; none where there is no file. A last line cut short by a kill is dropped.

    Raises:
        DataError: something else in the file than a run writes; the line is named.
    """
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _damaged(path, f"byte {error.start} is not UTF-8") from None
    lines = text[: text.rfind("\n") + 1].splitlines()
    try:
        header, *records = csv.reader(lines, strict=True)
    except (ValueError, csv.Error):
        if not lines:
            return []
        raise _damaged(path, "not a table of comma-separated values") from None
    if header[:3] != list(_BEFORE) or header[-2:] != list(_AFTER) or "loss" not in header:
        raise _damaged(path, "line 1: not the header of a training run")
    return [_row(path, number, header, record) for number, record in enumerate(records, 2)]


def has_rows(path: Path) -> bool:
    """Whether a ``metrics.csv`` holds anything below its header."""
    try:
        with path.open("rb") as stream:
            return bool(stream.readline() and stream.readline())
    except OSError:
        return False


def _row(path: Path, number: int, header: list[str], record: list[str]) -> Row:
    try:
        values = dict(zip(header, record, strict=True))
        speed = values["tokens_per_second"]
        row = Row(
            step=int(values["step"]),
            tokens=int(values["tokens"]),
            split=values["split"],
            figures={name: float(values[name] or math.nan) for name in header[3:-2]},
            learning_rate=float(values["learning_rate"]),
            tokens_per_second=float(speed) if speed else None,
        )
    except ValueError:
        raise _damaged(path, f"line {number}: expected {len(header)} values of a measurement") from None
    if row.split not in ("train", "valid", "test") or row.step < 0 or math.isnan(row.loss):
        raise _damaged(path, f"line {number}: not a measurement")
    return row


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}; restore the file, or move it away to resume without its rows")


class MetricsFile:
    """Appends rows to ``metrics.csv``, beginning after the last row at or before ``step``.

    Args:
        path: the file; made anew if missing.
        names: of the objective's figures, in the order of their columns.
        step: the step that the run is resumed at; later rows of an interrupted run are dropped.
    """

    def __init__(self, path: Path, *, names: Sequence[str], step: int) -> None:
        self.rows = [row for row in read_rows(path) if row.step <= step and row.split != "test"]
        self._columns = (*_BEFORE, *names, *_AFTER)
        with atomic.atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = self._writer(stream)
            writer.writeheader()
            writer.writerows(map(_record, self.rows))
        self._path = path
        self._stream = path.open("a", newline="", encoding="utf-8")
        self._appending = self._writer(self._stream)

    def _writer(self, stream: Any) -> "csv.DictWriter[str]":
        return csv.DictWriter(stream, self._columns, lineterminator="\n")

    def add(self, row: Row) -> None:
        """Write one row now."""
        self.rows.append(row)
        try:
            self._appending.writerow(_record(row))
            self._stream.flush()
        except OSError as error:
            error.filename = error.filename or str(self._path)  # on a full disk nothing else says which file
            raise

    def close(self) -> None:
        """No more rows."""
        with contextlib.suppress(OSError):  # what could not be written has been said by :meth:`add`
            self._stream.close()


def _record(row: Row) -> dict[str, object]:
    speed = row.tokens_per_second
    numbers = {name: "" if math.isnan(value) else f"{value:.8g}" for name, value in row.figures.items()}
    return {
        **{"step": row.step, "tokens": row.tokens, "split": row.split, **numbers},
        "learning_rate": f"{row.learning_rate:.8g}",
        "tokens_per_second": "" if speed is None else f"{speed:.1f}",
    }
