"""``metrics.csv``: what was measured, a row at a time, good to read while the run goes on."""

import csv
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from genoconv import atomic


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Attributes:
        step: optimiser steps done.
        tokens: read for training by all processes, padding not counted.
        split: ``train`` (mean since the last row) or ``valid``.
        loss: nats a base.
        perplexity: exp(loss); 4 is a uniform guess.
        learning_rate: of the last of its steps.
        tokens_per_second: while training, since the last row; empty for ``valid``.
    """

    step: int
    tokens: int
    split: str
    loss: float
    perplexity: float
    learning_rate: float
    tokens_per_second: float | None

    @classmethod
    def of(cls, step: int, tokens: int, split: str, loss: float, rate: float, speed: float | None = None) -> "Row":
        """A row with its perplexity worked out."""
        return cls(step, tokens, split, loss, math.exp(min(loss, 50.0)), rate, speed)

    def curves(self) -> dict[str, float]:
        """Its values by name, for a logger of curves."""
        values = {"loss": self.loss, "perplexity": self.perplexity}
        if self.tokens_per_second is not None:
            values |= {"learning_rate": self.learning_rate, "tokens_per_second": self.tokens_per_second}
        return {f"{self.split}/{name}": value for name, value in values.items()} | {"tokens": self.tokens}


COLUMNS = tuple(field.name for field in fields(Row))


def read_rows(path: Path) -> list[Row]:
    """All complete rows of a ``metrics.csv``; none where there is no file."""
    if not path.exists():
        return []
    rows = []
    with path.open(newline="", encoding="utf-8") as stream:
        for record in csv.DictReader(stream):
            if None in record.values() or None in record:
                break  # cut short by a kill
            speed = record["tokens_per_second"]
            rows.append(
                Row(
                    int(record["step"]),
                    int(record["tokens"]),
                    record["split"],
                    float(record["loss"]),
                    float(record["perplexity"]),
                    float(record["learning_rate"]),
                    float(speed) if speed else None,
                )
            )
    return rows


class MetricsFile:
    """Appends rows to ``metrics.csv``, beginning after the last row at or before ``step``.

    Args:
        path: the file; made anew if missing.
        step: the step that the run goes on from; later rows of an interrupted run are dropped.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        self.rows = [row for row in read_rows(path) if row.step <= step]
        with atomic.atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(map(_record, self.rows))
        self._stream = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._stream, COLUMNS)

    def add(self, row: Row) -> None:
        """Write one row now."""
        self.rows.append(row)
        self._writer.writerow(_record(row))
        self._stream.flush()

    def close(self) -> None:
        """No more rows."""
        self._stream.close()


def _record(row: Row) -> dict[str, object]:
    values = asdict(row)
    for name in ("loss", "perplexity", "learning_rate"):
        values[name] = f"{values[name]:.8g}"
    speed = values["tokens_per_second"]
    values["tokens_per_second"] = "" if speed is None else f"{speed:.1f}"
    return values
