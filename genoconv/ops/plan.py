"""Plans: how one causal convolution is carried out, decided from numbers alone (no torch, no GPU).

A row of N samples is transformed with T(x)_f = sum_j x_j exp(-i pi j (4f+1) / 2N), the N-point complex DFT of the row
twisted by a quarter bin, which turns causal convolution into a product. With j = 256 S a + 256 b + 16 c + d and
f = a' + R b' + R S c' + 16 R S d' (a < R, b < S, c < 16, d < 16; N = 256 R S) the phase splits into four small matrix
products and element-wise twiddles: `genoconv.ops.tables` writes them down, `csrc/README.md` derives them.

A block of 512 threads holds `groups` x `split` tiles of 4,096 points in shared memory. Rows shorter than 4,096 are
packed 16 / R to a tile; longer rows take `split` tiles.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from genoconv.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

THREADS = 512
_TILE_POINTS = 4096
_SPECTRUM_TILE = 4 * _TILE_POINTS  # complex fp16
_SAMPLE_TILE = 2 * _TILE_POINTS  # real fp16
_FACTORS = {256: (1, 1), 512: (2, 1), 1024: (4, 1), 2048: (8, 1), 4096: (16, 1), 8192: (16, 2), 16384: (16, 4)}
_FACTORS[32768] = (16, 8)
SIZES = tuple(_FACTORS)
DTYPES = ("bfloat16", "float16")
KERNELS = ("spectrum", "forward", "backward", "filter_grad")


@dataclass(frozen=True)
class Kernel:
    """One kernel to compile and launch: `csrc/<name>.cu` with `defines`, entry point `name`.

    defines: sorted (macro, value) pairs. smem_bytes: dynamic shared memory of a launch with `threads` threads.
    """

    name: str
    defines: tuple[tuple[str, int], ...]
    smem_bytes: int
    threads: int = THREADS


@dataclass(frozen=True)
class Plan:
    """One row length's way through the kernels of one GPU. Make it with `choose_plan`.

    length, filter_length: samples of a row and lags of its filter. size: points of the transform, length <= size.
    radix, split: R and S above. groups: row groups in flight. smem: shared memory a block may use, bytes.
    staged: the forward kernel prefetches both gates through shared memory. staged_backward: how many tensors beside u
    the backward kernel does (dy, then gate_in). spectrum_in_smem: it keeps T(v) there between its two halves.
    """

    length: int
    filter_length: int
    dtype: str
    arch: str
    size: int
    radix: int
    split: int
    groups: int
    smem: int
    sm_count: int
    staged: bool
    staged_backward: int
    spectrum_in_smem: bool

    regime = "one-sm"
    threads = THREADS

    @property
    def tiles(self) -> int:
        """Tiles of 4,096 points that a block holds at once."""
        return self.groups * self.split

    @property
    def packed(self) -> int:
        """Rows that share one tile."""
        return 16 // self.radix

    @property
    def rows_per_step(self) -> int:
        """Rows of one channel that a block transforms together."""
        return self.groups * self.packed

    @property
    def radices(self) -> tuple[int, ...]:
        """Radices of the Cooley-Tukey stages, first contracted first; their product is `size`."""
        return (*(r for r in (self.radix, self.split) if r > 1), 16, 16)

    @property
    def table_bytes(self) -> int:
        """Bytes of twiddles and outer matrices kept in shared memory."""
        return _table_bytes(self.split)

    @property
    def smem_bytes(self) -> int:
        """Shared memory of the forward and filter kernels."""
        return _forward_bytes(self.split, self.tiles, self.staged)

    @property
    def backward_smem_bytes(self) -> int:
        """Shared memory of the backward kernel."""
        return _backward_bytes(self.split, self.tiles, self.staged_backward, self.spectrum_in_smem)

    @property
    def spectrum_bytes(self) -> int:
        """Device bytes of one channel's stored spectrum T(k)."""
        return 4 * self.size

    @property
    def partial_bytes(self) -> int:
        """Device bytes of one channel's fp32 partial of T(dk), before packed rows are added up."""
        return 2 * _SPECTRUM_TILE * self.split

    def kernel(self, name: str, *, aligned: bool = True, gate_in: bool = True, gate_out: bool = True) -> Kernel:
        """One of this plan's KERNELS. aligned: rows start on 16 bytes and N is a multiple of 8. gate_*: there is one.

        `spectrum` and `filter_grad` touch no rows, so they are the same whatever the rows' type, gates and alignment.
        """
        rows = name in ("forward", "backward")
        defines = {
            "PLAN_RADIX": self.radix,
            "PLAN_SPLIT": self.split,
            "PLAN_GROUPS": self.groups,
            "PLAN_STAGED": int(self.staged),
            "PLAN_STAGED_BACKWARD": self.staged_backward,
            "PLAN_SPECTRUM_IN_SMEM": int(self.spectrum_in_smem),
            "IO_BF16": int(rows and self.dtype == "bfloat16"),
            "HALF_SUMS": int(rows and self.dtype == "bfloat16"),
            "ALIGNED": int(rows and aligned),
            "GATE_IN": int(rows and gate_in),
            "GATE_OUT": int(rows and gate_out),
        }
        smem = self.backward_smem_bytes if name == "backward" else self.smem_bytes
        return Kernel(name, tuple(sorted(defines.items())), smem)

    def slices(self, batches: int, channels: int) -> int:
        """Slices of the batch that one channel's backward pass is cut into, so that every SM has work.

        The fewest (each costs a partial sum) among those that finish first, a job's own cost counted as half a step.
        """
        steps = -(-batches // self.rows_per_step)
        return min(
            range(1, min(steps, 64) + 1),
            key=lambda n: (-(-channels * n // self.sm_count) * (-(-steps // n) + 0.5), n),
        )

    @cached_property
    def permutation(self) -> "NDArray[np.int64]":
        """Frequency f held at each place (b', a', c', d') of a stored spectrum: shape (split, radix, 16, 16)."""
        import numpy as np

        b, a, c, d = np.ogrid[: self.split, : self.radix, :16, :16]
        return np.asarray(a + self.radix * (b + self.split * (c + 16 * d)), np.int64)

    def tables(self) -> "NDArray[np.uint32]":
        """Every matrix and twiddle, packed in the order the kernels load them (`genoconv.ops.tables`)."""
        from genoconv.ops.tables import build

        return build(self.radix, self.split)

    def explain(self) -> str:
        """The plan in plain words, one fact a line."""
        rows = f"{self.packed} rows to a tile" if self.packed > 1 else f"{self.split} tiles to a row"
        return "\n".join(
            (
                f"length {self.length:,}, filter {self.filter_length:,}, {self.dtype}, {self.arch}",
                f"regime {self.regime}: transform of {self.size:,} points as {'*'.join(map(str, self.radices))}",
                f"{self.tiles} tiles of 4,096 points in flight, {rows}, {self.rows_per_step} rows a step",
                f"{self.threads} threads, {self.smem_bytes / 1024:.1f} KB of shared memory forward, "
                f"{self.backward_smem_bytes / 1024:.1f} KB backward, of {self.smem / 1024:.0f} KB; {self.sm_count} SMs",
                f"gates {'staged through shared memory' if self.staged else 'read straight from device memory'}",
                f"spectrum of a filter: {self.spectrum_bytes:,} bytes a channel",
            )
        )


def longest(smem_per_block: int) -> int:
    """Longest row, in samples, whose kernels fit `smem_per_block` bytes of shared memory (0: none)."""
    return max((size for size in SIZES if _fit(size, smem_per_block)), default=0)


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
    radix, split = _FACTORS[size]
    fit = _fit(size, smem_per_block)
    assert fit is not None
    groups, staged, staged_backward, in_smem = fit
    return Plan(
        length=length,
        filter_length=filter_length,
        dtype=dtype,
        arch=arch,
        size=size,
        radix=radix,
        split=split,
        groups=groups,
        smem=smem_per_block,
        sm_count=sm_count,
        staged=staged,
        staged_backward=staged_backward,
        spectrum_in_smem=in_smem,
    )


def _table_bytes(split: int) -> int:
    return 2048 if split == 1 else 2048 + 3072 + 2048 * split


def _forward_bytes(split: int, tiles: int, staged: bool) -> int:
    buffers = _SPECTRUM_TILE + _SAMPLE_TILE * (3 if staged else 1)
    return 512 + _table_bytes(split) + tiles * buffers


def _backward_bytes(split: int, tiles: int, staged: int, spectrum_in_smem: bool) -> int:
    buffers = _SPECTRUM_TILE * (2 if spectrum_in_smem else 1) + _SAMPLE_TILE * (1 + staged)
    return 512 + _table_bytes(split) + tiles * buffers


def _fit(size: int, smem: int) -> tuple[int, bool, int, bool] | None:
    """(groups, staged, staged_backward, spectrum_in_smem) of the largest block that fits, or None."""
    split = _FACTORS[size][1]
    for tiles in (max(4, split), 2):
        if tiles % split or _forward_bytes(split, tiles, False) > smem:
            continue
        for in_smem, staged in ((True, 2), (True, 1), (False, 2), (True, 0), (False, 1), (False, 0)):
            if _backward_bytes(split, tiles, staged, in_smem) <= smem:
                return tiles // split, _forward_bytes(split, tiles, True) <= smem, staged, in_smem
    return None
