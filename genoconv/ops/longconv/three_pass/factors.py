"""The transforms of long rows that a card serves: their sizes, their factors, and the shared memory that these take."""

from functools import lru_cache

from genoconv.gpu.targets import Card
from genoconv.ops.longconv.one_sm.blocks import FACTORS
from genoconv.ops.longconv.three_pass.tables import SECOND

LONGEST = 1 << 24
COLUMN_WARPS = 8
RESERVED = 1024  # bytes of shared memory that each block costs beside what it asks for
_MOST_RADIX = 64  # of one product: more would be spilled
_GOOD_RADIX = 32  # of the first of two steps, where lines are longer than the shortest
_MANTISSAS = (4, 5, 6, 7)  # sizes are these times powers of two, so at most a quarter is padding
LINE_POINTS = (4096, 8192, 16384)


def line_bytes(points: int, buffers: int) -> int:
    """Shared memory of a block with `buffers` lines: a word for peaks, tables, lines (`csrc/one_sm/shape.cuh`)."""
    radix, split = FACTORS[points]
    lag_twists = 2 * split - 1 if split > 1 else 0
    tables = 2048 * (radix // 16) ** 2 + 2048 * (1 + lag_twists) + 3072 * (split - 1)
    return 512 + tables + 4 * points * buffers


def column_bytes(radix: int, *, span: int, split: bool) -> int:
    """Shared memory of a block of a column pass, ``span`` columns to a warp (`csrc/three_pass/shape.cuh`).

    A word for peaks and the matrix; then the rows between two steps, or each warp's scratch and twiddles. A matrix of
    more than 32 points stays out where there are two steps.
    """
    tiles, rows = -(-radix // 16), 16 * 4 * span
    if split:
        return 128 + (1024 * tiles**2 if tiles <= 2 else 0) + SECOND * rows * tiles
    return 128 + 1024 * tiles**2 + COLUMN_WARPS * rows * (1 + tiles)


def factors_of(size: int, card: Card) -> tuple[int, bool, int] | None:
    """(r1, whether columns have a second step, L) of a transform, or None where nothing fits."""
    fitting = [points for points in LINE_POINTS if line_bytes(points, 2) <= card.smem]
    shortest, longer = fitting[:1], fitting[1:]
    for points in shortest:
        if size % points == 0 and 3 <= size // points <= _MOST_RADIX:
            return size // points, False, points
    for tried, most in ((shortest, _MOST_RADIX), (longer, _GOOD_RADIX), (longer, _MOST_RADIX)):
        for points in tried:
            radix, rest = divmod(size, points * SECOND)
            if not rest and 1 <= radix <= most and column_bytes(radix, span=32, split=True) <= card.smem:
                return radix, True, points
    return None


@lru_cache
def sizes_on(card: Card) -> tuple[int, ...]:
    every = sorted(m << a for m in _MANTISSAS for a in range(10, 23) if m << a <= LONGEST)
    return tuple(size for size in every if size >= 12288 and factors_of(size, card))
