"""Plans: how one causal convolution is carried out, decided from numbers alone (no torch, no GPU).

A row of N samples is transformed with T(x)_f = sum_j x_j exp(-i pi j (4f+1) / 2N), the N-point complex DFT of the row
twisted by a quarter bin, which turns causal convolution into a product. With j = 256 S a + 256 b + 16 c + d and
f = a' + R b' + R S c' + 16 R S d' (a < R, b < S, c < 16, d < 16; N = 256 R S) the phase splits into four small matrix
products and element-wise twiddles: `tables.py` beside this file writes them down, `csrc/README.md` derives them.

What lies where while that happens: `genoconv.ops.longconv.one_sm.blocks`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Literal

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card
from genoconv.ops.longconv.one_sm.blocks import (
    CHUNK_LEAST,
    DTYPES,
    FACTORS,
    ROUNDS_MOST,
    SIZES,
    SPECTRUM_TILE,
    Block,
    chunk_bytes,
    chunk_warps,
    fit_blocks,
    row_chunk_bytes,
    rows_to_a_tile,
    tiles_to_a_row,
)
from genoconv.ops.longconv.one_sm.shares import Shares, share_out_rows, share_out_tiles
from genoconv.ops.longconv.plan import Plan
from genoconv.wording import count

LARGEST_STRIDE = 2**32 - 1
"""Elements that the kernels count to: of a stride, and of all channels of one batch."""

KERNELS = ("spectrum", "forward", "backward", "filter_grad")
ROW_CHUNK_KERNELS = ("chunk_rows", "chunk_gradients", "partial_gradients")
"""Of rows in chunks, in `csrc/chunked`."""
Fit = Literal["ragged", "aligned", "whole"]
FITS: tuple[Fit, ...] = ("ragged", "aligned", "whole")


def too_many(channels: int, length: int) -> str | None:
    """Why batches of so many channels cannot be served, whose values the kernels count in 32 bits."""
    if channels * length <= LARGEST_STRIDE:
        return None
    return (
        f"{channels:,} channels of {length:,} positions exceed the {LARGEST_STRIDE:,} values (channels x positions) "
        "that the kernels support; use fewer channels per call or backend='torch'"
    )


@dataclass(frozen=True)
class OneSmPlan(Plan):
    """A row that fits the shared memory of one multiprocessor.

    Attributes:
        radix, split: R and S above.
        forward_block, backward_block: the blocks of those kernels.
        filter_block: the blocks of `spectrum` and `filter_grad`.
    """

    radix: int
    split: int
    forward_block: Block
    backward_block: Block
    filter_block: Block

    __hash__ = Plan.__hash__  # otherwise dataclass makes one of all fields

    regime = "one-sm"
    scales = 1

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
    def kept_bytes(self) -> int:
        """Device bytes that each block of the backward kernel needs for T(v)."""
        return 0 if self.backward_block.spectrum_in_smem else SPECTRUM_TILE * self.backward_block.groups * self.span

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
        block = {"forward": self.forward_block, "backward": self.backward_block}.get(name, self.filter_block)
        defines = {
            "PLAN_RADIX": self.radix,
            "PLAN_SPLIT": self.split,
            "PLAN_GROUPS": block.groups,
            "PLAN_WARPS": block.warps,
            "PLAN_STAGED": block.staged,
            "PLAN_SPECTRUM_IN_SMEM": int(block.spectrum_in_smem),
            "PLAN_SUMS_IN_SMEM": int(block.sums_in_smem),
            "PLAN_LAG_HALF_SHIFT": int(block.lag_half_shift),
            "IO_BF16": int(rows and self.dtype == "bfloat16"),
            "HALF_SUMS": int(rows and self.dtype == "bfloat16"),
            "ALIGNED": int(rows and fit != "ragged"),
            "WHOLE": int(rows and fit == "whole"),
            "GATE_IN": int(rows and gate_in),
            "GATE_OUT": int(rows and gate_out),
        }
        if not rows:
            defines["HALVES"] = 0
        return Kernel(f"one_sm/{name}", tuple(sorted(defines.items())), block.smem_bytes, 32 * block.warps)

    @property
    def takes_pairs(self) -> bool:
        """Chunks have whole tiles, and a block one of them."""
        return self.size >= CHUNK_LEAST and chunk_bytes(self.size) <= self.card.smem

    def chunk_kernel(self, *, aligned: bool, gate_in: bool, gate_out: bool) -> Kernel:
        """`chunks`: rows of any length with filters of up to :attr:`size` taps. aligned: as in :meth:`fit`."""
        return self._chunk_kernel(
            "one_sm/chunks", smem=chunk_bytes(self.size), aligned=aligned, gate_in=gate_in, gate_out=gate_out
        )

    @property
    def takes_rows_in_chunks(self) -> bool:
        """Whether rows of different lengths can be convolved in chunks of :attr:`size`, with filters as long as rows.

        Not of float16 rows in chunks of 8,192: of all sizes it rounds most, and what waits for other chunks is rounded
        once more.
        """
        rounds_most = self.size == ROUNDS_MOST and self.dtype == "float16"
        return self.takes_pairs and not rounds_most and row_chunk_bytes(self.size) <= self.card.smem

    def row_chunk_kernel(
        self, name: str, *, aligned: bool = True, gate_in: bool = True, gate_out: bool = True
    ) -> Kernel:
        """One of ROW_CHUNK_KERNELS, or `chunk_spectra`, which touches no rows. aligned: as in :meth:`fit`."""
        rows = name != "chunk_spectra"
        return self._chunk_kernel(
            f"chunked/{name}",
            smem=row_chunk_bytes(self.size),
            rows=rows,
            aligned=rows and aligned,
            gate_in=rows and gate_in,
            gate_out=rows and gate_out,
        )

    def _chunk_kernel(
        self, source: str, *, smem: int, aligned: bool, gate_in: bool, gate_out: bool, rows: bool = True
    ) -> Kernel:
        warps, half = chunk_warps(self.size), rows and self.dtype == "bfloat16"
        defines = {
            "PLAN_RADIX": self.radix,
            "PLAN_SPLIT": self.split,
            "PLAN_GROUPS": 1,
            "PLAN_WARPS": warps,
            "PLAN_STAGED": 0,
            "PLAN_SPECTRUM_IN_SMEM": 0,
            "PLAN_SUMS_IN_SMEM": 0,
            "PLAN_LAG_HALF_SHIFT": int(self.split == 4),
            "IO_BF16": int(half),
            "IO_SINGLE": 0,
            "HALF_SUMS": int(half),
            "ALIGNED": int(aligned),
            "WHOLE": 0,
            "GATE_IN": int(gate_in),
            "GATE_OUT": int(gate_out),
        }
        return Kernel(source, tuple(sorted(defines.items())), smem, 32 * warps)

    @property
    def chunk_blocks(self) -> int:
        """Blocks with a chunk each that the GPU holds at a time."""
        return self.card.sm_count * 16 // chunk_warps(self.size)

    def chunk_grid(self, chunks: int) -> int:
        """Blocks of `chunks` for so many of all rows."""
        return min(chunks, self.chunk_blocks)

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
        steps, blocks = -(-batches // self.backward_block.rows), self.card.sm_count * self.backward_block.per_sm
        if self.span == 1:
            return share_out_tiles(steps, blocks, channels=channels)
        return share_out_rows(steps, blocks, channels=channels, split=self.split)

    def obstacle(self, channels: int) -> str | None:
        """The kernels count the values of a batch in 32 bits."""
        return too_many(channels, self.length)

    def workspace_bytes(self, batches: int, channels: int, *, backward: bool) -> int:
        """T(v) of every block, partial sums and their counters."""
        if not backward:
            return 0
        shares = self.share_out(batches, channels)
        counters = 0 if self.span == 1 else 4 * self.radix * self.split
        return shares.grid * self.kept_bytes + shares.slices * channels * (self.partial_bytes + counters)

    def kernels(self) -> Iterator[Kernel]:
        """Every kernel, gated, for rows of every fit; no kernel twice."""
        yield from dict.fromkeys(self.kernel(name, fit=fit) for name in KERNELS for fit in FITS)

    def chunk_kernels(self) -> Iterator[Kernel]:
        """For rows of every alignment."""
        if self.takes_pairs:
            yield from (self.chunk_kernel(aligned=a, gate_in=True, gate_out=True) for a in (True, False))
        if self.takes_rows_in_chunks:
            yield self.row_chunk_kernel("chunk_spectra")
            for name in ROW_CHUNK_KERNELS:
                yield from (self.row_chunk_kernel(name, aligned=aligned) for aligned in (True, False))

    @property
    def launches(self) -> ModuleType:
        """`launches.py` beside this file."""
        from genoconv.ops.longconv.one_sm import launches

        return launches

    def explain_kernels(self) -> Iterator[str]:
        """Tiles, then the blocks of each kernel."""
        tile = "4,096 points"
        rows = (
            f"{count(self.packed, 'row')} per tile of {tile}"
            if self.packed > 1
            else f"{count(self.span, 'tile')} of {tile} per row"
        )
        yield f"{rows}, at most {self.card.smem / 1024:.0f} KB of shared memory per block"
        kept = {"forward": "filter", "backward": "T(v)"}
        for name, block in (
            ("forward", self.forward_block),
            ("backward", self.backward_block),
            ("filters", self.filter_block),
        ):
            holds = [f"{count(block.staged, 'prefetched tensor')}"] if block.staged else []
            holds += [kept[name]] if block.spectrum_in_smem else []
            holds += ["sums"] if block.sums_in_smem else []
            yield (
                f"{name}: {count(block.per_sm, 'block')} of {32 * block.warps} threads per SM,"
                f" {count(block.rows, 'row')} in flight per block, {block.smem_bytes / 1024:.1f} KB"
                + (f": rows, {', '.join(holds)}" if holds else "")
            )


class OneSm:
    """The regime of rows that fit one multiprocessor."""

    name = "one-sm"

    def gradients(self, size: int, dtype: str) -> None:
        """Plans have their own kernels."""

    def sizes(self, card: Card) -> tuple[int, ...]:
        """Powers of two from 256 on."""
        return _sizes(card.smem)

    def scales(self, size: int, card: Card) -> int:
        """One per channel."""
        return 1

    def plan(self, length: int, size: int, *, filter_length: int, dtype: str, card: Card) -> OneSmPlan:
        """As :meth:`genoconv.ops.longconv.regimes.Regime.plan`."""
        radix, split = FACTORS[size]
        blocks = fit_blocks(size, dtype, card.smem)
        assert blocks is not None
        return OneSmPlan(length, filter_length, dtype, card, size, radix, split, *blocks)


@lru_cache
def _sizes(smem: int) -> tuple[int, ...]:
    return tuple(size for size in SIZES if fit_blocks(size, DTYPES[0], smem))
