"""Many sequences of different lengths in one array: rows that are taken and filled a batch at a time.

Letters: R rows, T elements of all of them.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from genoconv.tokens import PAD

Number = TypeVar("Number", bound=np.generic)
Indices = npt.NDArray[np.int64]


class Rows(Generic[Number]):
    """Rows behind one another.

    Args:
        values: (T,).
        lengths: (R,) of each row.
    """

    def __init__(self, values: npt.NDArray[Number], lengths: Indices) -> None:
        self.values = values
        self.lengths = lengths
        self.offsets = np.cumsum(lengths) - lengths

    @classmethod
    def of(cls, blocks: Sequence[npt.NDArray[Number]], *, dtype: type[Number]) -> "Rows[Number]":
        """The rows of blocks, each one row (L,) or several (n, L)."""
        lengths = [np.full(1 if block.ndim == 1 else len(block), block.shape[-1], np.int64) for block in blocks]
        values = [np.empty(0, dtype), *(block.reshape(-1) for block in blocks)]
        return cls(np.concatenate(values), np.concatenate([np.empty(0, np.int64), *lengths]))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> npt.NDArray[Number]:
        """A view of one row, (L,)."""
        first = self.offsets[row]
        return self.values[first : first + self.lengths[row]]

    def __iter__(self) -> Iterator[npt.NDArray[Number]]:
        return (self[row] for row in range(len(self)))

    def zeros(self, dtype: Any) -> "Rows[Any]":
        """Rows of the same lengths."""
        return Rows(np.zeros(len(self.values), dtype), self.lengths)

    def taken(self, rows: Indices, length: int, *, first: int = 0) -> npt.NDArray[Number]:
        """(n, length - first) copies of rows from ``first`` on, filled with PAD up to ``length``."""
        lengths = self.lengths[rows]
        if len(rows) and int(lengths.min()) >= length:
            found: npt.NDArray[Number] = self._spans(length - first)[self.offsets[rows] + first]
            return found
        padded = np.full((len(rows), length - first), PAD, self.values.dtype)
        for place, row in zip(padded, rows.tolist(), strict=True):
            values = self[row][first:length]
            place[: len(values)] = values
        return padded

    def put(self, rows: Indices, values: npt.NDArray[Number], *, first: int = 0) -> None:
        """Fill rows from ``first`` on with (n, width) values; what lies behind the end of a row is dropped."""
        width = values.shape[1]
        if len(rows) and int(self.lengths[rows].min()) >= first + width:
            self._spans(width)[self.offsets[rows] + first] = values
            return
        for row, some in zip(rows.tolist(), values, strict=True):
            place = self[row][first : first + width]
            place[:] = some[: len(place)]

    def _spans(self, width: int) -> npt.NDArray[Number]:
        """(T - width + 1, width): view of all spans of this width; different rows do not overlap."""
        return np.lib.stride_tricks.sliding_window_view(self.values, width, writeable=True)


def spread(starts: Indices, ends: Indices) -> Indices:
    """All numbers of half-open ranges, one range after another."""
    sizes = ends - starts
    found: Indices = np.arange(int(sizes.sum())) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
    return found
