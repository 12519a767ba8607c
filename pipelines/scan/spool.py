"""Values of finished positions, on disk beside the output until it is made of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from genoconv.pipelines.pieces import Pieces, bytes_of
from genoconv.pipelines.scan.spans import Span
from genoconv.tracks.blocks import Block
from genoconv.variants.reference import Reference

_BLOCK = 1 << 16
_NO_BASES = np.empty(0, np.uint8)

Array = npt.NDArray[np.floating]
Place = tuple[Span, int]
"""A span of the run, and how many positions the run has before it."""


def placed(spans: Iterable[Span]) -> dict[str, list[Place]]:
    """The places of a run's spans, in order, by contig."""
    found: dict[str, list[Place]] = {}
    first = 0
    for span in spans:
        found.setdefault(span.contig, []).append((span, first))
        first += span.end - span.start
    return found


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
        self._pieces = Pieces(output, kinds=("rows",), run=run, resume=resume)
        self.finished = len(self._pieces.finished)
        self.flush, self.kept, self.stop = self._pieces.flush, self._pieces.kept, self._pieces.stop

    def append(self, rows: Sequence[Array]) -> None:
        """Add a finished piece, arrays (n, k); on disk soon, and certainly after ``flush()``.

        Raises:
            OutputError: the disk is full.
        """
        whole = rows[0] if len(rows) == 1 else np.concatenate(rows)
        self._pieces.append(bytes_of(whole.astype(self.dtype, copy=False)))
        self.finished += 1

    def blocks(self, places: Sequence[Place], reference: Reference | None) -> Iterator[Block]:
        """What was appended for some spans; waits for it in any thread but the one that appends.

        Args:
            places: of the spans, from :func:`placed`.
            reference: where the blocks get their bases; they have none without.

        Raises:
            StoppedError: the run ends early.
        """
        width = self.columns * self.dtype.itemsize
        for span, first in places:
            for start in range(span.start, span.end, _BLOCK):
                end = min(start + _BLOCK, span.end)
                data = self._pieces.read(0, (first + start - span.start) * width, (end - start) * width)
                values = np.frombuffer(data, self.dtype).reshape(-1, self.columns)
                bases = _NO_BASES if reference is None else reference.tokens(span.contig, start, end)
                yield Block(span.contig, start, bases, values)

    def remove(self) -> None:
        """Delete the files: the output is complete."""
        self._pieces.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pieces.close()
