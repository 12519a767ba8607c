"""How many bases of windows are unknown: other than A, C, G and T."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genoconv.genome.fasta.access import Fasta
from genoconv.tokens import A, T

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 1 << 20
Positions = npt.NDArray[np.int64]


def unknown_bases(
    fasta: Fasta, windows: "pd.DataFrame", *, advance: Callable[[float], None] | None = None
) -> Positions:
    """How many bases of each window are not A, C, G or T, shape (windows,).

    Every base is read once, however many windows share it, at most a megabase at a time: a genome has millions of
    short windows.

    Args:
        fasta: the genome.
        windows: columns contig, start, end (0-based half-open), in any order.
        advance: called with the number of bases just looked at.

    Raises:
        DataError: a window outside the genome, or a file that is not as its index has it.
    """
    counts = np.zeros(len(windows), np.int64)
    starts, ends = (windows[name].to_numpy(np.int64) for name in ("start", "end"))
    for contig, rows in windows.groupby("contig", sort=False).indices.items():
        counts[rows] = _of_contig(fasta, str(contig), starts[rows], ends[rows], advance=advance)
    return counts


def _of_contig(
    fasta: Fasta, contig: str, starts: Positions, ends: Positions, *, advance: Callable[[float], None] | None
) -> Positions:
    """The same for windows of one contig."""
    edges = np.unique(np.concatenate([starts, ends]))
    before = np.zeros(len(edges), np.int64)  # unknown bases to the left of each edge, among those that are read
    total = 0
    for first, last in _stretches(starts, ends):
        tokens = fasta.tokens(contig, first, last)
        unknown = (tokens < A) | (tokens > T)
        here = slice(*np.searchsorted(edges, [first, last + 1]))  # edges from first to last, both included
        before[here] = total
        if found := int(np.count_nonzero(unknown)):
            before[here] += np.concatenate([[0], np.cumsum(unknown)])[edges[here] - first]
            total += found
        if advance:
            advance(last - first)
    left, right = (before[np.searchsorted(edges, positions)] for positions in (starts, ends))
    return right - left


def _stretches(starts: Positions, ends: Positions) -> Iterator[tuple[int, int]]:
    """What windows cover, without overlaps, in order and in pieces of at most a megabase."""
    order = np.argsort(starts, kind="stable")
    starts, reached = starts[order], np.maximum.accumulate(ends[order])
    new = np.flatnonzero(starts[1:] > reached[:-1]) + 1
    firsts, lasts = starts[np.concatenate([[0], new])], reached[np.concatenate([new - 1, [-1]])]
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        for piece in range(first, last, _CHUNK):
            yield piece, min(piece + _CHUNK, last)
