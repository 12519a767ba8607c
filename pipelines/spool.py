"""Finished rows on their way to the output: on disk beside it, in pieces that survive a kill.

Two of :class:`.Pieces`' files: the vectors, one after another in the type that is asked for, and the table, one line
per row. When all is done, the output is made of them in one more pass, a block at a time, and they go.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from genoconv.errors import OutputError
from genoconv.pipelines.pieces import Pieces
from genoconv.pipelines.resuming import resumable

_BLOCK_BYTES = 1 << 23
_BLOCK_ROWS = 1 << 14
_VECTORS, _TABLE = 0, 1

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
        run: as for :class:`Journal`.
        resume: continue from what an interrupted run left.
        per_base: whether a line of the table stands for as many vectors as its interval has bases, in their order.

    Attributes:
        finished: what :meth:`append` was given as ``mark`` for each piece of the interrupted run.
        rows: how many vectors there are by now.
    """

    def __init__(
        self, output: Path, *, width: int, dtype: str, run: Mapping[str, Any], resume: bool, per_base: bool = False
    ) -> None:
        self.width = width
        self.per_base = per_base
        self._output = output
        self.dtype = np.dtype(dtype)
        self._pieces = Pieces(output, kinds=("rows", "table"), run=run, resume=resume)
        self.finished: list[str] = [piece["mark"] for piece in self._pieces.finished]
        self.rows: int = sum(piece["rows"] for piece in self._pieces.finished)

    @property
    def _row_bytes(self) -> int:
        return self.width * self.dtype.itemsize

    def append(self, vectors: Sequence[Array], rows: Sequence[Row], *, mark: str) -> None:
        """Add a finished piece; on disk soon.

        Args:
            vectors: arrays (n, width), together as many rows as ``rows``, or as they have bases.
            rows: their places.
            mark: comes back as part of :attr:`finished` in a run that resumes here.

        Raises:
            OutputError: the disk is full, or a value is beyond the range of the type.
        """
        data = self._packed(vectors)
        added = sum(row.end - row.start for row in rows) if self.per_base else len(rows)
        assert len(data) == added * self._row_bytes
        text = "".join([f"{name}\t{contig}\t{start}\t{end}\t{strand}\n" for name, contig, start, end, strand in rows])
        self._pieces.append(data, text.encode(), rows=added, mark=mark)
        self.rows += added

    def _packed(self, vectors: Sequence[Array]) -> bytes:
        if not vectors:
            return b""
        whole = np.concatenate(vectors)
        with np.errstate(over="ignore"):
            packed = whole.astype(self.dtype, copy=False)
        if not np.isfinite(packed[np.isfinite(whole)]).all():
            raise OutputError(f"a value of {np.nanmax(np.abs(whole)):.3g} is beyond {self.dtype}; use --dtype float32")
        return packed.tobytes()

    @property
    def block(self) -> int:
        """Rows that are read back at once."""
        return max(1, min(_BLOCK_ROWS, _BLOCK_BYTES // self._row_bytes))

    def vectors(self) -> Iterator[Array]:
        """All vectors, in arrays (n, width) of ``block`` rows; the last may be shorter."""
        for first in range(0, self.rows, self.block):
            yield self.read(first, min(self.block, self.rows - first))

    def intervals(self) -> Iterator[tuple[Row, int]]:
        """Lines of the table, each with the number of its first vector, where they stand for the bases of intervals."""
        first = 0
        for block in self.lines():
            for line in block:
                name, contig, start, end, strand = line.rstrip("\n").split("\t")
                yield Row(name, contig, int(start), int(end), strand), first
                first += int(end) - int(start)

    def read(self, first: int, count: int) -> Array:
        """Vectors ``first`` to ``first + count``, (count, width)."""
        self._pieces.flush()
        data = self._pieces.read(_VECTORS, first * self._row_bytes, count * self._row_bytes)
        return np.frombuffer(data, self.dtype).reshape(-1, self.width)

    def lines(self) -> Iterator[list[str]]:
        """The table, tabs between the columns of :class:`Row`, as many rows at a time as :meth:`vectors` gives."""
        self._pieces.flush()
        with self._pieces.paths[_TABLE].open(encoding="utf-8", newline="\n") as lines:
            while block := list(itertools.islice(lines, self.block)):
                yield block

    def column(self, name: str) -> Iterator[Array]:
        """One column of the table, in arrays of ``block`` rows: int64, or strings of the width that they need."""
        number = Row._fields.index(name)
        for block in self.lines():
            cells = "".join(block).replace("\n", "\t").split("\t")
            values = cells[number : len(Row._fields) * len(block) : len(Row._fields)]
            yield np.array(values, np.int64 if name in ("start", "end") else np.str_)

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
