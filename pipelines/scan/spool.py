"""Values of finished positions, on disk beside the output until all are there and the output is made of them."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from genoconv.errors import DataError, OutputError
from genoconv.pipelines.scan.spans import Span
from genoconv.tasks.journal import Journal, journal_path
from genoconv.tracks.blocks import Block
from genoconv.variants.reference import Reference
from genoconv.workfiles import open_private, work_path

_BLOCK = 1 << 16

Array = npt.NDArray[np.floating]


class Spool:
    """Rows of k values, one per position of the run's spans in order, appended piece by piece.

    Args:
        output: the file that they are for.
        columns, dtype: of a row.
        run: as for :class:`.Journal`.
        resume: continue from what an interrupted run left.

    Attributes:
        finished: number of pieces that are there.
    """

    def __init__(self, output: Path, *, columns: int, dtype: str, run: Mapping[str, Any], resume: bool) -> None:
        self.columns = columns
        self.dtype = np.dtype(dtype)
        self.path = work_path(output, "rows")
        with ExitStack() as failing:
            self._file = failing.enter_context(open_private(self.path, fresh=not resume))
            self._journal = failing.enter_context(Journal(journal_path(output), run=run, resume=resume))
            self._check()
            failing.pop_all()

    def _check(self) -> None:
        """Cut the file where the journal says that it is sound, and see whether it is."""
        pieces = self._journal.finished
        self.finished = len(pieces)
        self._file.seek(0)
        for piece in pieces:
            data = self._file.read(piece["bytes"])
            if hashlib.sha256(data).hexdigest() != piece["sha256"]:
                raise DataError(f"{self.path}: altered since the interrupted run; pass --force to start again")
        self._file.truncate()

    def append(self, rows: Sequence[Array]) -> None:
        """Add a finished piece, arrays (n, k); on disk when this returns.

        Raises:
            OutputError: the disk is full.
        """
        data = b"".join(part.astype(self.dtype, copy=False).tobytes() for part in rows)
        try:
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"{self.path}: cannot keep finished positions there: {error.strerror}") from error
        self._journal.append({"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
        self.finished += 1

    def blocks(self, spans: Sequence[Span], reference: Reference, contig: str | None = None) -> Iterator[Block]:
        """What was appended, with its places; ``spans`` are those of the run, in order."""
        width = self.columns * self.dtype.itemsize
        offset = 0
        for span in spans:
            if contig is None or span.contig == contig:
                for start in range(span.start, span.end, _BLOCK):
                    end = min(start + _BLOCK, span.end)
                    self._file.seek((offset + start - span.start) * width)
                    data = self._file.read((end - start) * width)
                    values = np.frombuffer(data, self.dtype).reshape(-1, self.columns)
                    yield Block(span.contig, start, reference.tokens(span.contig, start, end), values)
            offset += span.end - span.start

    def remove(self) -> None:
        """Delete the files: the output is complete."""
        self._file.close()
        self._journal.remove()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._journal.__exit__(*exception)
