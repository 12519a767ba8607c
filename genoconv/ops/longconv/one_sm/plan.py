"""Plans: how one causal convolution is carried out, decided from numbers alone (no torch, no GPU).

A row of N samples is transformed with T(x)_f = sum_j x_j exp(-i pi j (4f+1) / 2N), the N-point complex DFT of the row
twisted by a quarter bin, which turns causal convolution into a product. With j = 256 S a + 256 b + 16 c + d and
f = a' + R b' + R S c' + 16 R S d' (a < R, b < S, c < 16, d < 16; N = 256 R S) the phase splits into four small matrix
products and element-wise twiddles: `tables.py` beside this file writes them down, `csrc/README.md` derives them.

What lies where while that happens: `genoconv.ops.longconv.one_sm.blocks`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from genoconv.errors import UsageError
from genoconv.ops.longconv.one_sm.blocks import (
    DTYPES,
    FACTORS,
    SIZES,
    SPECTRUM_TILE,
    Block,
    fit_blocks,
    rows_to_a_tile,
    tiles_to_a_row,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KERNELS = ("spectrum", "forward", "backward", "filter_grad")
Fit = Literal["ragged", "aligned", "whole"]
FITS: tuple[Fit, ...] = ("ragged", "aligned", "whole")


@dataclass(frozen=True)
class Kernel:
    """One kernel to compile and launch: `csrc/<name>.cu` with `defines`, entry point `name`.

    defines: sorted (macro, value) pairs. smem_bytes: dynamic shared memory of a launch with `threads` threads.
    """

    name: str
    defines: tuple[tuple[str, int], ...]
    smem_bytes: int
    threads: int


class Shares(NamedTuple):
    """Work of the backward kernel's blocks. grid: blocks. slices: of a channel's batch, each with sums of its own.

    team: blocks that take the steps of a slice in turns and add to the same sums, each after the one before it; where
    there are several, all blocks must be on the GPU at a time.
    """

    grid: int
    slices: int
    team: int


@dataclass(frozen=True)
class Plan:
    """One row length's way through the kernels of one GPU. Make it with `choose_plan`.

    length, filter_length: samples of a row and lags of its filter. size: points of the transform, length <= size.
    radix, split: R and S above. smem: shared memory a block may use, bytes. forward, backward, filters: the blocks of
    those kernels; `filters` are `spectrum` and `filter_grad`.
    """

    length: int
    filter_length: int
    dtype: str
    arch: str
    size: int
    radix: int
    split: int
    smem: int
    sm_count: int
    forward: Block
    backward: Block
    filters: Block

    regime = "one-sm"

    def __hash__(self) -> int:
        return hash((self.length, self.dtype, self.smem))  # of all fields it would cost a launch's time

    @property
    def packed(self) -> int:
        """Rows that share one tile."""
        return rows_to_a_tile(self.size)

    @property
    def span(self) -> int:
        """Tiles of a row, or of the rows that share one."""
        return tiles_to_a_row(self.size)

    @property
    def radices(self) -> tuple[int, ...]:
        """Radices of the Cooley-Tukey stages, first contracted first; their product is `size`."""
        return (*(r for r in (self.radix, self.split) if r > 1), 16, 16)

    @property
    def spectrum_bytes(self) -> int:
        """Device bytes of one channel's stored spectrum T(k)."""
        return 4 * self.size

    @property
    def begins_early(self) -> bool:
        """Whether a kernel's blocks may begin before the kernel that they depend on has ended."""
        return int(self.arch.removeprefix("sm_").rstrip("a")) >= 90

    @property
    def workspace_bytes(self) -> int:
        """Device bytes that each block of the backward kernel needs for T(v)."""
        return 0 if self.backward.spectrum_in_smem else SPECTRUM_TILE * self.backward.groups * self.span

    @property
    def partial_bytes(self) -> int:
        """Device bytes of one channel's fp32 partial of T(dk)."""
        return 8 * self.size

    def kernel(
        self,
        name: str,
        *,
        fit: Fit = "whole",
        gate_in: bool = True,
        gate_out: bool = True,
    ) -> Kernel:
        """One of this plan's KERNELS. fit: of the rows, see :meth:`fit`. gate_*: there is one.

        `spectrum` and `filter_grad` touch no rows, so they are the same whatever the rows' type, gates and fit.
        """
        rows = name in ("forward", "backward")
        block = self.forward if name == "forward" else self.backward if name == "backward" else self.filters
        defines = {
            "PLAN_RADIX": self.radix,
            "PLAN_SPLIT": self.split,
            "PLAN_GROUPS": block.groups,
            "PLAN_WARPS": block.warps,
            "PLAN_STAGED": block.staged,
            "PLAN_SPECTRUM_IN_SMEM": int(block.spectrum_in_smem),
            "PLAN_SUMS_ASIDE": int(block.sums_aside),
            "PLAN_LAGS_TURN": int(block.lags_turn),
            "IO_BF16": int(rows and self.dtype == "bfloat16"),
            "HALF_SUMS": int(rows and self.dtype == "bfloat16"),
            "ALIGNED": int(rows and fit != "ragged"),
            "WHOLE": int(rows and fit == "whole"),
            "GATE_IN": int(rows and gate_in),
            "GATE_OUT": int(rows and gate_out),
        }
        return Kernel(name, tuple(sorted(defines.items())), block.smem_bytes, 32 * block.warps)

    def fit(self, block: Block, batches: int, *, aligned: bool) -> Fit:
        """How well a batch of rows suits the kernel of `block` (`forward` or `backward`).

        whole: it fills every step of it, so nothing needs a mask. aligned: rows start on 16 bytes and N is a multiple
        of 8. ragged: neither.
        """
        if not aligned:
            return "ragged"
        return "whole" if self.length == self.size and batches % block.rows == 0 else "aligned"

    def share_out(self, batches: int, channels: int) -> Shares:
        """How the backward kernel's blocks share out B `batches` of H `channels`."""
        steps, blocks = -(-batches // self.backward.rows), self.sm_count * self.backward.per_sm
        if self.span == 1:
            # The fewest slices (each costs a partial sum) among those that finish first, a job's own cost counted as
            # half a step.
            slices = min(
                range(1, min(steps, 64) + 1),
                key=lambda n: (-(-channels * n // blocks) * (-(-steps // n) + 0.5), n),
            )
            return Shares(min(blocks, channels * slices), slices, 1)

        # In steps, fitted to what one H100 took. alone: how much longer a step takes where every block has a channel of
        # its own, and all those filters and sums do not fit the L2 cache. lag: of a block behind the one before it, for
        # sums are passed on once in this part of a step; in large teams the first waits for the last when its turn
        # comes again.
        alone, lag = {1: (0.05, 0.22), 2: (0.3, 0.2), 4: (0.55, 0.12)}[self.split]

        def time(slices: int, team: int) -> float:
            depth = steps // slices
            rounds = -(-channels * slices // (blocks // team)) * -(-depth // team)
            queue = max(1.0, lag * team) if team < depth else 1.0
            return rounds * queue * (1 + alone / team) + 0.6 * team + 0.3 * slices

        slices, team = min(
            (
                (slices, team)
                for slices in range(1, min(max(1, blocks // channels), steps, 64) + 1)
                for team in range(1, min(steps // slices, blocks) + 1)
            ),
            key=lambda way: time(*way),
        )
        return Shares(team * min(blocks // team, channels * slices), slices, team)

    @cached_property
    def permutation(self) -> "NDArray[np.int64]":
        """Frequency f held at each place (b', a', c', d') of a stored spectrum: shape (split, radix, 16, 16)."""
        import numpy as np

        b, a, c, d = np.ogrid[: self.split, : self.radix, :16, :16]
        return np.asarray(a + self.radix * (b + self.split * (c + 16 * d)), np.int64)

    def tables(self) -> "NDArray[np.uint32]":
        """Every matrix and twiddle, packed in the order the kernels load them (`one_sm.tables`)."""
        from genoconv.ops.longconv.one_sm.tables import build

        return build(self.radix, self.split)

    def explain(self) -> str:
        """The plan in plain words, one fact a line."""
        rows = f"{self.packed} rows to a tile" if self.packed > 1 else f"tiles to a row: {self.span}"
        lines = [
            f"length {self.length:,}, filter {self.filter_length:,}, {self.dtype}, {self.arch}, {self.sm_count} SMs",
            f"regime {self.regime}: transform of {self.size:,} points as {'*'.join(map(str, self.radices))}",
            f"tiles of 4,096 points, {rows}, {self.smem / 1024:.0f} KB of shared memory a block at most",
        ]
        for name, block in (
            ("forward", self.forward),
            ("backward", self.backward),
            ("filters", self.filters),
        ):
            kept = {"forward": "the filter", "backward": "T(v)"}
            lines.append(
                f"{name}: {_count(block.per_sm, 'block')} of {32 * block.warps} threads an SM,"
                f" {_count(block.rows, 'row')} in flight in each, {block.smem_bytes / 1024:.1f} KB"
                + (f", {_count(block.staged, 'tensor')} staged" if block.staged else "")
                + (f", {kept[name]} kept" if block.spectrum_in_smem else "")
                + (", sums aside" if block.sums_aside else "")
            )
        return "\n".join((*lines, f"spectrum of a filter: {self.spectrum_bytes:,} bytes a channel"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def longest(smem_per_block: int) -> int:
    """Longest row, in samples, whose kernels fit `smem_per_block` bytes of shared memory (0: none)."""
    return max((size for size in SIZES if fit_blocks(size, DTYPES[0], smem_per_block)), default=0)


def choose_plan(
    length: int,
    *,
    filter_length: int | None = None,
    dtype: str = "bfloat16",
    arch: str = "sm_90",
    smem_per_block: int = 227 * 1024,
    sm_count: int = 132,
) -> Plan:
    """The plan for rows of `length` samples, pure in its arguments.

    dtype: "bfloat16" or "float16", the type of the rows. arch: "sm_80" and so on. smem_per_block: bytes a block may
    use. Raises UsageError, naming the value, the limit and the way out, where no kernel fits.
    """
    filter_length = length if filter_length is None else filter_length
    if length < 1:
        raise UsageError(f"a row of {length} samples cannot be convolved: the length must be at least 1")
    if not 1 <= filter_length <= length:
        raise UsageError(f"a filter of {filter_length} lags does not suit rows of {length}: give 1 to {length} lags")
    if dtype not in DTYPES:
        raise UsageError(f"no kernel for {dtype} rows: use bfloat16 or float16, or backend='torch'")
    limit = longest(smem_per_block)
    if length > limit:
        raise UsageError(
            f"rows of {length:,} samples exceed the {limit:,} that one {arch} block of {smem_per_block // 1024} KB "
            f"of shared memory can hold: use backend='torch', or 'auto', which does"
        )
    size = next(size for size in SIZES if size >= length)
    radix, split = FACTORS[size]
    blocks = fit_blocks(size, dtype, smem_per_block)
    assert blocks is not None
    forward, backward, filters = blocks
    return Plan(
        length=length,
        filter_length=filter_length,
        dtype=dtype,
        arch=arch,
        size=size,
        radix=radix,
        split=split,
        smem=smem_per_block,
        sm_count=sm_count,
        forward=forward,
        backward=backward,
        filters=filters,
    )
