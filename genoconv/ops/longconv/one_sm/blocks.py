"""How the kernels' blocks hold rows: chosen from the transform's size, the rows' type and the shared memory of a GPU.

Tiles of 4,096 points lie in shared memory. Rows shorter than 4,096 are packed 16 / R to a tile; longer rows take
R S / 16 tiles. A tile has 16 slots, one for each outer index of each packed row. Two blocks of 8 warps share an SM
where that is faster and its shared memory has room for both; else one block of 16 warps has it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

_TILE_POINTS = 4096
SPECTRUM_TILE = 4 * _TILE_POINTS  # complex fp16
_SAMPLE_TILE = 2 * _TILE_POINTS  # real fp16
FACTORS = {  # N: (R, S)
    256: (1, 1),
    512: (2, 1),
    1024: (4, 1),
    2048: (8, 1),
    4096: (16, 1),
    8192: (32, 1),
    16384: (32, 2),
    32768: (32, 4),
}
SIZES = tuple(FACTORS)
CHUNK_LEAST = 4096
"""Points of the least chunks of long rows."""
ROUNDS_MOST = 8192
"""Points of the transform with the largest errors: 9.0e-4 in float16, where its neighbours have 7.5e-4."""
DTYPES = ("bfloat16", "float16")


@dataclass(frozen=True)
class Block:
    """How the blocks of a kernel hold rows.

    Attributes:
        warps: 8, two blocks to an SM, or 16.
        groups: row groups in flight, ``OneSmPlan.span`` tiles each.
        rows: rows of one channel in flight (channels, where a kernel transforms filters).
        staged: how many tensors beside u are prefetched through shared memory (forward: none or both gates; backward:
            dy, later u).
        spectrum_in_smem: the forward kernel keeps its channel's filter in shared memory, the backward kernel T(v)
            between its two halves.
        sums_in_smem: the backward kernel keeps the imaginary parts of its sums over the batch in shared memory.
        lag_half_shift: a warp has one matrix of stage c for both of its outer indices, and lag twists that make up for
            the difference.
        smem_bytes: all shared memory.
    """

    warps: int
    groups: int
    rows: int
    staged: int
    spectrum_in_smem: bool
    sums_in_smem: bool
    lag_half_shift: bool
    smem_bytes: int

    @property
    def per_sm(self) -> int:
        """Blocks that share an SM."""
        return 16 // self.warps


def rows_to_a_tile(size: int) -> int:
    """Rows of `size` points that share one tile."""
    return max(1, _TILE_POINTS // size)


def tiles_to_a_row(size: int) -> int:
    """Tiles of a row of `size` points, or of the rows that share one."""
    return max(1, size // _TILE_POINTS)


def fit_blocks(size: int, dtype: str, smem: int) -> tuple[Block, Block, Block] | None:
    """Blocks of the forward, backward and filter kernels, or None where one does not fit.

    size: points of the transform, one of SIZES. dtype: of the rows. smem: bytes of shared memory a block may use.
    Which kernels gain from two small blocks on an SM was measured on an H200 and an H100 (`benchmarks/NOTES.md`).
    """
    radix, split = FACTORS[size]
    span = tiles_to_a_row(size)
    large = ((16, max(4, span)), (16, 2))
    halves = dtype == "bfloat16"  # products are summed in fp16, which leaves registers for a second set of matrices
    small = ((8, 2), *large)
    few = ((16, 2), *large) if radix == 1 else large  # fp32 sums: 16 warps spill less than 8
    # A warp with one outer index keeps its part of the filter in registers.
    in_registers = radix < 16 or (radix == 16 and not halves)
    forward = _first_fit(
        "forward",
        size,
        smem,
        small if radix <= 16 and halves else few,
        [(staged, kept, False) for staged in (2, 0) for kept in (not in_registers, False)],
        lag_half_shift=split
        == 4,  # fewer registers for more twiddles: faster where matrices were spilled, here and below
    )
    # Rows that are not staged come from the L2 cache. What shared memory does not take is the L1 cache's, which has
    # matrices and whatever is spilled: the backward kernel is faster with one tensor staged than with two.
    sums = radix < 16
    backward = _first_fit(
        "backward",
        size,
        smem,
        small if radix < 16 and halves else large,
        ((1, True, sums), (1, False, sums), (0, False, False)),
        lag_half_shift=split > 1 and not halves,
    )
    whole = ((8, span), (16, span)) if radix <= 16 else ((16, span),)
    filters = _first_fit("filters", size, smem, whole, ((0, False, False),), lag_half_shift=split == 4)
    return (forward, backward, filters) if forward and backward and filters else None


def chunk_warps(size: int) -> int:
    """Warps of the block that convolves chunks of ``size`` points; each has two slots or more."""
    return 8 if size == CHUNK_LEAST else 16


def chunk_bytes(size: int) -> int:
    """Shared memory of that block: one chunk and the one before it."""
    return _bytes(size, warps=chunk_warps(size), tiles=tiles_to_a_row(size), staged=-1, kept=0, sums=0)


def row_chunk_bytes(size: int) -> int:
    """Shared memory of the block that convolves rows in chunks of ``size`` points: one chunk, and scales of a row's."""
    return _bytes(size, warps=chunk_warps(size), tiles=tiles_to_a_row(size), staged=0, kept=0, sums=0) + 128


def half_bytes(size: int) -> int:
    """Shared memory of the block that convolves rows of twice ``size`` points, one half after the other."""
    return _bytes(size, warps=16, tiles=tiles_to_a_row(size), staged=0, kept=0, sums=0)


def _first_fit(
    kernel: Literal["forward", "backward", "filters"],
    size: int,
    smem: int,
    shapes: Iterable[tuple[int, int]],
    kinds: Sequence[tuple[int, bool, bool]],
    *,
    lag_half_shift: bool = False,
) -> Block | None:
    """The first block that fits: of `shapes` (warps, tiles) and `kinds` (staged, spectrum_in_smem, sums_in_smem)."""
    span = tiles_to_a_row(size)
    for warps, tiles in shapes:
        # An SM has what one block may use and a kilobyte; each block costs a kilobyte of its own.
        limit = smem if warps == 16 else (smem + 1024) // 2 - 1024
        for staged, in_smem, sums_in_smem in kinds if tiles % span == 0 else ():
            # The forward kernel's spectrum is a filter's, one for all row groups.
            kept = (span if kernel == "forward" else tiles) if in_smem else 0
            sums = warps if sums_in_smem else 0
            needed = _bytes(size, warps=warps, tiles=tiles, staged=staged, kept=kept, sums=sums)
            if needed <= limit:
                groups = tiles // span
                return Block(
                    warps=warps,
                    groups=groups,
                    rows=groups * rows_to_a_tile(size),
                    staged=staged,
                    spectrum_in_smem=in_smem,
                    sums_in_smem=sums_in_smem,
                    lag_half_shift=lag_half_shift,
                    smem_bytes=needed,
                )
    return None


def _bytes(size: int, *, warps: int, tiles: int, staged: int, kept: int, sums: int) -> int:
    """Shared memory of a block: peaks, tables, tiles, sums (`csrc/shape.cuh`)."""
    radix, split = FACTORS[size]
    half_shift = radix > 16 or (radix == 16 and warps == 8)
    lag_twists = 2 * split - 1 if split > 1 else 0
    tables = 2048 * max(1, radix // 16) ** 2 + 2048 * (half_shift + lag_twists) + 3072 * (split - 1)
    return 512 + tables + SPECTRUM_TILE * (tiles + kept) + _SAMPLE_TILE * tiles * (1 + staged) + 1024 * sums
