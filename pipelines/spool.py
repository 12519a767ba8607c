"""Finished rows on their way to the output: on disk beside it, in pieces that survive a kill.

Three hidden files: the vectors, one after another in the type that is asked for; the table, one line per row; and the
journal, which says after every piece how much of the other two is sound. :func:`genoconv.workfiles.claimed` keeps a
second run away from them. When all is done, the output is made of them
in one more pass, a block at a time, and they go.
"""

import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from genoconv.errors import DataError, OutputError
from genoconv.pipelines.resuming import resumable
from genoconv.tasks.journal import Journal, journal_path
from genoconv.workfiles import open_private, work_path

_BLOCK_BYTES = 1 << 23
_BLOCK_ROWS = 1 << 14

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
        self._vectors, self._table = (work_path(output, what) for what in ("rows", "table"))
        self._open = contextlib.ExitStack()
        with contextlib.ExitStack() as failing:
            failing.push(self._open)
            self._files = [self._open.enter_context(open_private(path)) for path in (self._vectors, self._table)]
            self._journal = self._open.enter_context(Journal(journal_path(output), run=run, resume=resume))
            self._resume()
            failing.pop_all()

    def _resume(self) -> None:
        """Cut the files where the journal says that they are sound, and see whether they are."""
        pieces = self._journal.finished
        self.finished: list[str] = [piece["mark"] for piece in pieces]
        self.rows = sum(piece["rows"] for piece in pieces)
        sizes = (self.rows * self._row_bytes, sum(piece["table"] for piece in pieces))
        for path, stream, size in zip((self._vectors, self._table), self._files, sizes, strict=True):
            if stream.seek(0, os.SEEK_END) < size:
                raise DataError(f"{path}: cut short since the interrupted run; leave --resume out to start again")
            stream.truncate(size)
            stream.seek(0)
        vectors, table = self._files
        for piece in pieces:
            if _digest(vectors.read(piece["rows"] * self._row_bytes), table.read(piece["table"])) != piece["sha256"]:
                raise DataError(
                    f"{self._vectors}: altered since the interrupted run; leave --resume out to start again"
                )

    @property
    def _row_bytes(self) -> int:
        return self.width * self.dtype.itemsize

    def append(self, vectors: Sequence[Array], rows: Sequence[Row], *, mark: str) -> None:
        """Add a finished piece; on disk when this returns.

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
        text = "".join(f"{row.name}\t{row.contig}\t{row.start}\t{row.end}\t{row.strand}\n" for row in rows).encode()
        for path, stream, part in zip((self._vectors, self._table), self._files, (data, text), strict=True):
            try:
                stream.write(part)
                stream.flush()
                os.fsync(stream.fileno())
            except OSError as error:
                raise OutputError(f"{path}: cannot keep finished rows there: {error.strerror}") from error
        # Counted first: an interruption in between must not take these rows for none.
        self.rows += added
        self._journal.append({"rows": added, "table": len(text), "sha256": _digest(data, text), "mark": mark})

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
        stream = self._files[0]
        stream.seek(0)
        while data := stream.read(self.block * self._row_bytes):
            yield np.frombuffer(data, self.dtype).reshape(-1, self.width)

    def intervals(self) -> Iterator[tuple[Row, int]]:
        """Lines of the table, each with the number of its first vector, where they stand for the bases of intervals."""
        first = 0
        with self._table.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                name, contig, start, end, strand = line.rstrip("\n").split("\t")
                yield Row(name, contig, int(start), int(end), strand), first
                first += int(end) - int(start)

    def read(self, first: int, count: int) -> Array:
        """Vectors ``first`` to ``first + count``, (count, width)."""
        stream = self._files[0]
        stream.seek(first * self._row_bytes)
        return np.frombuffer(stream.read(count * self._row_bytes), self.dtype).reshape(-1, self.width)

    def lines(self) -> Iterator[list[str]]:
        """The table, tabs between the columns of :class:`Row`, as many rows at a time as :meth:`vectors` gives."""
        with self._table.open(encoding="utf-8", newline="\n") as lines:
            while block := list(itertools.islice(lines, self.block)):
                yield block

    def column(self, name: str) -> Iterator[Array]:
        """One column of the table, in arrays of ``block`` rows: int64, or strings of the width that they need."""
        number = Row._fields.index(name)
        for block in self.lines():
            values = [line.rstrip("\n").split("\t")[number] for line in block]
            yield np.array(values, np.int64 if name in ("start", "end") else np.str_)

    @contextlib.contextmanager
    def resumable(self) -> Iterator[None]:
        """Remove the files after the block; where it ends early, keep finished rows and say how to resume."""
        with resumable(self._output, kept="rows", finished=lambda: self.rows):
            try:
                yield
            except BaseException:
                if not self.rows:
                    self.remove()
                raise
        self.remove()

    def remove(self) -> None:
        """Delete the files: the output is complete, or there is nothing to resume."""
        self._open.close()
        self._journal.remove()
        self._vectors.unlink(missing_ok=True)
        self._table.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
