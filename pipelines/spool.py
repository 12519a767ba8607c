"""Finished rows on their way to the output: on disk beside it, in pieces that survive a kill.

Three of :class:`.Pieces`' files: the vectors, one after another in the type that is asked for; the table, a record of
fixed size per row; and the texts that the table points into. When all is done, the output is made of them, a block at a
time, and they go.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from genoconv.errors import OutputError
from genoconv.pipelines.pieces import Data, Pieces, bytes_of
from genoconv.pipelines.resuming import resumable
from genoconv.tasks.spans import Places

_BLOCK_BYTES = 1 << 23
_BLOCK_ROWS = 1 << 14
_VECTORS, _TABLE, _TEXTS = 0, 1, 2
# A line of the table; where the bytes of a text begin among the texts, and how many they are.
_TEXT = np.dtype([("first", "<i8"), ("bytes", "<i4")])
_LINE = np.dtype([("name", _TEXT), ("contig", _TEXT), ("start", "<i8"), ("end", "<i8"), ("strand", "S1")])

Array = npt.NDArray[Any]


class Row(NamedTuple):
    """What belongs to a vector: a line of the table; 0-based half-open."""

    name: str
    contig: str
    start: int
    end: int
    strand: str


class Spool:
    """Rows of one run, appended piece by piece and read back in blocks.

    Args:
        output: the file that they are for.
        width: length of a vector.
        dtype: of the vectors.
        run: as for :class:`.Pieces`.
        resume: continue from what an interrupted run left.
        per_base: whether a line of the table stands for as many vectors as its interval has bases, in their order.
        expected: how many vectors there will be, where that is known: they can be read back while more come.

    Attributes:
        finished: what :meth:`append` was given as ``mark`` for each piece of the interrupted run.
        rows: how many vectors there are by now.
    """

    def __init__(
        self,
        output: Path,
        *,
        width: int,
        dtype: str,
        run: Mapping[str, Any] | None,
        resume: bool,
        per_base: bool = False,
        expected: int | None = None,
    ) -> None:
        self.width = width
        self.expected = expected
        self.per_base = per_base
        self._output = output
        self.dtype = np.dtype(dtype)
        self._pieces = Pieces(output, kinds=("rows", "table", "texts"), run=run, resume=resume)
        self.flush, self.stop, self.describe = self._pieces.flush, self._pieces.stop, self._pieces.describe
        self.finished: list[str] = [piece["mark"] for piece in self._pieces.finished]
        self.rows: int = sum(piece["rows"] for piece in self._pieces.finished)
        self._lines: int = sum(piece["lines"] for piece in self._pieces.finished)
        self._texts: int = sum(piece["texts"] for piece in self._pieces.finished)

    @property
    def _row_bytes(self) -> int:
        return self.width * self.dtype.itemsize

    def append(self, vectors: Sequence[Array], rows: Sequence[Row] | Places, *, mark: str | Callable[[], str]) -> None:
        """Add a finished piece; on disk soon.

        Args:
            vectors: arrays (n, width), together as many rows as ``rows``, or as they have bases.
            rows: their places.
            mark: comes back as part of :attr:`finished` in a run that resumes here; a function, where the journal's
                first line comes later, is called then.

        Raises:
            OutputError: the disk is full, or a value is beyond the range of the type.
        """
        places = rows if isinstance(rows, Places) else Places.of(rows)
        data = self._packed(vectors)
        added = int((places.end - places.start).sum()) if self.per_base else len(places)
        assert len(data) == added * self._row_bytes
        table, texts = self._table(places)
        facts = {"rows": added, "lines": len(places), "texts": len(texts), "mark": mark}
        self._pieces.append(data, table, texts, **facts)
        self.rows += added
        self._lines += len(places)
        self._texts += len(texts)

    def _table(self, places: Places) -> tuple[bytes, bytes]:
        """The lines of some places, and the texts that they point to."""
        texts = [text.encode() for text in places.texts]
        ends = np.cumsum([0, *map(len, texts)]) + self._texts
        where = np.empty(len(texts), _TEXT)
        where["first"], where["bytes"] = ends[:-1], np.diff(ends)
        lines = np.empty(len(places), _LINE)
        lines["name"], lines["contig"] = where[places.name], where[places.contig]
        lines["start"], lines["end"], lines["strand"] = places.start, places.end, places.strand
        return lines.tobytes(), b"".join(texts)

    def _packed(self, vectors: Sequence[Array]) -> Data:
        if not vectors:
            return b""
        whole = np.concatenate(vectors) if len(vectors) > 1 else vectors[0]
        if whole.dtype == self.dtype:
            return bytes_of(whole)
        with np.errstate(over="ignore"):
            packed = whole.astype(self.dtype)
        if not np.isfinite(packed[np.isfinite(whole)]).all():
            raise OutputError(
                f"a value of {np.nanmax(np.abs(whole)):.3g} is out of range for {self.dtype}; use --dtype float32"
            )
        return bytes_of(packed)

    @property
    def total(self) -> int:
        """How many vectors there will be, or are by now."""
        return self.rows if self.expected is None else self.expected

    @property
    def block(self) -> int:
        """Rows that are read back at once."""
        return max(1, min(_BLOCK_ROWS, _BLOCK_BYTES // self._row_bytes))

    def vectors(self) -> Iterator[Array]:
        """All vectors, in arrays (n, width) of ``block`` rows; the last may be shorter.

        Those that are not there yet are waited for, in any thread but the one that appends.
        """
        for first in range(0, self.total, self.block):
            yield self.read(first, min(self.block, self.total - first))

    def intervals(self) -> Iterator[tuple[Row, int]]:
        """Lines of the table, each with the number of its first vector, where they stand for the bases of intervals."""
        first = 0
        for columns in self.columns(*Row._fields):
            for row in zip(*(column.tolist() for column in columns), strict=True):
                place = Row(*row)
                yield place, first
                first += place.end - place.start

    def read(self, first: int, count: int) -> Array:
        """Vectors ``first`` to ``first + count``, (count, width)."""
        if self.expected is None:
            self.flush()
        data = self._pieces.read(_VECTORS, first * self._row_bytes, count * self._row_bytes)
        return np.frombuffer(data, self.dtype).reshape(-1, self.width)

    def columns(self, *names: str) -> Iterator[tuple[Array, ...]]:
        """Columns of the table, as many rows at a time as :meth:`vectors` gives.

        Arrays of int64, or of strings of the width that they need.
        """
        if self.expected is None:
            self.flush()
        for first in range(0, self._lines, self.block):
            count = min(self.block, self._lines - first)
            lines = np.frombuffer(self._pieces.read(_TABLE, first * _LINE.itemsize, count * _LINE.itemsize), _LINE)
            yield tuple(self._column(lines, name) for name in names)

    def _column(self, lines: Array, name: str) -> Array:
        column = lines[name]
        if name == "strand":  # an ASCII character; astype(np.str_) takes twenty times as long
            return np.ascontiguousarray(column).view(np.uint8).astype(np.uint32).view("=U1")
        if name not in ("name", "contig"):
            return column.astype(np.int64)
        # Windows of one record point to one text, which is decoded once.
        changed = np.flatnonzero(np.concatenate([[True], column[1:] != column[:-1]]))
        first, size = column["first"][changed], column["bytes"][changed]
        begin = int(first.min())
        data = self._pieces.read(_TEXTS, begin, int((first + size).max()) - begin)
        pairs = zip((first - begin).tolist(), size.tolist(), strict=True)
        texts = np.array([data[first : first + size].decode() for first, size in pairs], np.str_)
        return np.repeat(texts, np.diff(changed, append=len(column)))

    def column(self, name: str) -> Iterator[Array]:
        """One of :meth:`columns`."""
        return (column for (column,) in self.columns(name))

    def lines(self) -> Iterator[list[str]]:
        """The table as text, tabs between the columns of :class:`Row`, as many rows at a time as the columns."""
        for columns in self.columns(*Row._fields):
            yield [
                f"{name}\t{contig}\t{start}\t{end}\t{strand}\n"
                for name, contig, start, end, strand in zip(*(column.tolist() for column in columns), strict=True)
            ]

    @contextlib.contextmanager
    def resumable(self) -> Iterator[None]:
        """Remove the files after the block; where it ends early, keep finished rows and say how to resume."""
        with resumable(self._output, kept="rows", finished=self._pieces.kept):
            try:
                yield
            except BaseException:
                if not self._pieces.kept():
                    self.remove()
                raise
        self.remove()

    def remove(self) -> None:
        """Delete the files: the output is complete, or there is nothing to resume."""
        self._pieces.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pieces.close()
