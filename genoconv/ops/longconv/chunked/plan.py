"""How rows of different lengths are shared out among sizes of chunks: a pure function of lengths, printable.

A row of c chunks of P points takes c transforms each way and c (c + 1) / 2 products of spectra: chunk i of a result is
the sum over d of G_d X_(i - d) (`csrc/chunked/chunk_rows.cu`). All rows of one size share the spectra G_d of the filter
and a launch. Longer chunks have fewer products, shorter ones less padding; another size costs spectra and launches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from genoconv.ops.longconv.one_sm.plan import OneSmPlan
from genoconv.ops.longconv.overlap_save.plan import FILTER_COST, kernel_cost

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_CHUNKS = 16
"""Of a row: what the kernels keep the scales of."""

# Time of a position, in multiples of what moving its inputs and output takes, from the kernels of whole rows. On an
# H200 genes took a third longer than they predict, whatever the sizes of chunks: the choice holds (NOTES.md).
_TRANSFORM_COSTS = {4096: 2.0, 8192: 2.2, 16384: 2.4, 32768: 2.6}
_PRODUCT_COST = 0.85
"""Of a product of spectra beyond the first of a chunk: two more reads from the L2 cache."""
_SPECTRUM_COST = 2.6
_LAUNCHES_COST = 32e6
"""Positions x channels in whose time the launches of one more size are queued."""
_GATHER_COST = 160e6
"""The same of moving short rows together into batches and convolving those."""
SHORT = 2048
"""Rows of up to this many positions may be moved together instead: in chunks they are mostly padding."""


@dataclass(frozen=True)
class Group:
    """Rows that share a size of chunks.

    Attributes:
        points: P.
        rows: their numbers, longest first.
        chunks: of the longest.
        all_chunks: of all rows.
        filter_chunks: how many spectra G_d they need.
    """

    points: int
    rows: tuple[int, ...]
    chunks: int
    all_chunks: int
    filter_chunks: int


@dataclass(frozen=True)
class Shares:
    """What becomes of rows.

    Attributes:
        groups: those in chunks, by size.
        others: numbers of the rows that are better off outside of chunks.
    """

    groups: tuple[Group, ...]
    others: tuple[int, ...]


def slices(plan: OneSmPlan, rows: int, channels: int, filter_chunks: int) -> int:
    """Into how many shares with sums of their own the backward kernel cuts the rows of a channel.

    Enough for every block to have work, few enough that sums take no more than 1 GB.
    """
    room = max(1, (1 << 30) // (channels * filter_chunks * plan.partial_bytes))
    at_once = plan.chunk_blocks
    return min(range(1, min(rows, room, 16) + 1), key=lambda n: (-(-channels * n // at_once) / n + 0.02 * n, n))


@lru_cache(maxsize=64)
def share_out(
    lengths: tuple[int, ...], *, taps: int, channels: int, sizes: tuple[int, ...], whole: tuple[int, ...]
) -> Shares:
    """Sizes of chunks for rows of these lengths.

    Args:
        lengths: positions of each row.
        taps: K of the filter.
        channels: H.
        sizes: chunks that the kernels offer, ascending.
        whole: transform sizes of whole rows, ascending.
    """
    if not sizes:
        return Shares((), tuple(range(len(lengths))))
    n, points = np.array(lengths)[:, None], np.array(sizes)
    costs = _row_costs(n, points, taps=taps)
    alone = np.array([_whole_cost(length, whole) for length in lengths]) + _GATHER_COST / channels
    suits = costs.min(1) <= alone
    short = suits & (n[:, 0] <= SHORT)
    if costs[short].min(1).sum() > 2 * _GATHER_COST / channels:
        suits &= ~short
    rows = np.flatnonzero(suits)
    if not len(rows):
        return Shares((), tuple(range(len(lengths))))
    best = min(
        (chosen for count in range(1, len(sizes) + 1) for chosen in combinations(range(len(sizes)), count)),
        key=lambda chosen: _total(costs[rows][:, chosen], n[rows], points[list(chosen)], taps=taps, channels=channels),
    )
    choice = np.array(best)[costs[rows][:, best].argmin(1)]
    groups = []
    for which in best:
        own = rows[choice == which].tolist()
        if own:
            groups.append(_group(sizes[which], own, lengths, taps=taps))
    return Shares(tuple(groups), tuple(np.flatnonzero(~suits).tolist()))


def _group(points: int, rows: list[int], lengths: Sequence[int], *, taps: int) -> Group:
    ordered = sorted(rows, key=lambda row: (-lengths[row], row))
    counts = [-(-lengths[row] // points) for row in ordered]
    chunks = counts[0]
    return Group(points, tuple(ordered), chunks, sum(counts), min(chunks, -(-taps // points) + 1))


def _row_costs(n: Numbers, points: Numbers, *, taps: int) -> Floats:
    """(rows, sizes): time of each row in chunks of each size; infinite where it has too many."""
    chunks = -(-n // points)
    reach = np.minimum(chunks, -(-taps // points) + 1)
    products = reach * (reach + 1) / 2 + (chunks - reach) * reach - chunks  # beyond each chunk's own
    transforms = np.array([_TRANSFORM_COSTS[size] for size in points.tolist()])
    cost = points * (chunks * transforms + products * _PRODUCT_COST)
    return np.where(chunks <= MOST_CHUNKS, cost, np.inf)


def _whole_cost(length: int, whole: Sequence[int]) -> float:
    """Time of a row that is transformed whole, its filter as well."""
    size = next((size for size in whole if size >= length), None)
    return float("inf") if size is None else size * (kernel_cost(size) + FILTER_COST)


def _total(costs: Floats, n: Numbers, points: Numbers, *, taps: int, channels: int) -> float:
    """Time of all rows, each in the best of the sizes, with spectra and launches."""
    if not np.isfinite(costs.min(1)).all():
        return float("inf")
    choice = costs.argmin(1)
    spectra = 0.0
    for number, size in enumerate(points.tolist()):
        own = n[choice == number]
        if len(own):
            chunks = min(-(-int(own.max()) // size), -(-taps // size) + 1)
            spectra += chunks * size * _SPECTRUM_COST + _LAUNCHES_COST / channels
    return float(costs.min(1).sum()) + spectra
