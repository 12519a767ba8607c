"""Plans of rows up to twice as long as one multiprocessor holds: it takes one half after the other.

With P points of a half, x = x0, x1 and k = k0, k1, the results are y0 = Re T^-1(T(k0) T(x0)) and
y1 = Re T^-1(T(k0) T(x1) + (T(k1) + i T(k0)) T(x0)): `csrc/one_sm/halves.cu`. Gradients take three passes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card
from genoconv.ops.longconv.one_sm.blocks import half_bytes
from genoconv.ops.longconv.one_sm.plan import FITS, Fit, OneSm
from genoconv.ops.longconv.parts import PartsPlan
from genoconv.ops.longconv.plan import Plan
from genoconv.ops.longconv.three_pass.plan import ThreePass

_WARPS = 16


@dataclass(frozen=True)
class HalvesPlan(PartsPlan):
    """A row of two halves, one after the other on the same multiprocessor."""

    __hash__ = Plan.__hash__  # otherwise dataclass makes one of all fields

    regime = "halves"

    @property
    def gradients(self) -> Plan:
        """Three passes."""
        return self.whole

    @property
    def smem_bytes(self) -> int:
        """Shared memory of a block."""
        return half_bytes(self.part.size)

    @property
    def kept_bytes(self) -> int:
        """Device bytes in which each block keeps what the first half of a row leaves to the second."""
        return 4 * self.part.size

    def kernel(self, *, fit: Fit = "whole", gate_in: bool = True, gate_out: bool = True) -> Kernel:
        """`halves`. fit: of the rows, see :meth:`fit`. gate_*: there is one."""
        defines = {
            "PLAN_RADIX": self.part.radix,
            "PLAN_SPLIT": self.part.split,
            "PLAN_GROUPS": 1,
            "PLAN_WARPS": _WARPS,
            "PLAN_STAGED": 0,
            "PLAN_SPECTRUM_IN_SMEM": 0,
            "PLAN_SUMS_IN_SMEM": 0,
            "PLAN_LAG_HALF_SHIFT": int(self.part.split == 4),
            "IO_BF16": int(self.dtype == "bfloat16"),
            "HALF_SUMS": int(self.dtype == "bfloat16"),
            "ALIGNED": int(fit != "ragged"),
            "WHOLE": int(fit == "whole"),
            "GATE_IN": int(gate_in),
            "GATE_OUT": int(gate_out),
        }
        return Kernel("one_sm/halves", tuple(sorted(defines.items())), self.smem_bytes, 32 * _WARPS)

    @property
    def filter_kernel(self) -> Kernel:
        """`spectrum`, of both halves of a filter."""
        kernel = self.part.kernel("spectrum")
        return replace(kernel, defines=tuple(sorted((dict(kernel.defines) | {"HALVES": 1}).items())))

    def fit(self, *, aligned: bool) -> Fit:
        """As of one-SM plans: whole where nothing needs a mask."""
        if not aligned:
            return "ragged"
        return "whole" if self.length == self.size else "aligned"

    def grid(self, rows: int) -> int:
        """Blocks for so many rows."""
        return min(rows, self.card.sm_count)

    def workspace_bytes(self, batches: int, channels: int, *, backward: bool) -> int:
        """What first halves leave; in the backward pass, that of three passes."""
        if backward:
            return self.whole.workspace_bytes(batches, channels, backward=True)
        return self.grid(batches * channels) * self.kept_bytes

    def kernels(self) -> Iterator[Kernel]:
        """Every kernel, gated, for rows of every fit; then those for gradients."""
        yield self.filter_kernel
        yield from (self.kernel(fit=fit) for fit in FITS)
        yield from self.whole.kernels()

    @property
    def launches(self) -> ModuleType:
        """`launches.py` beside this file."""
        from genoconv.ops.longconv.halves import launches

        return launches

    def explain_kernels(self) -> Iterator[str]:
        """The block of a half."""
        yield (
            f"forward: two halves of {self.part.size:,} points in turn, 1 block of {32 * _WARPS} threads per SM,"
            f" {self.smem_bytes / 1024:.1f} KB; {self.kept_bytes / 1024:.0f} KB in the L2 cache in between"
        )


class Halves:
    """The regime of rows up to twice as long as one multiprocessor holds."""

    name = "halves"

    def gradients(self, size: int, dtype: str) -> ThreePass:
        """Three passes."""
        return ThreePass()

    def sizes(self, card: Card) -> tuple[int, ...]:
        """Twice the largest of `one-sm`."""
        return tuple(2 * size for size in OneSm().sizes(card)[-1:])

    def scales(self, size: int, card: Card) -> int:
        """One per channel."""
        return 1

    def plan(self, length: int, size: int, *, filter_length: int, dtype: str, card: Card) -> HalvesPlan:
        """As :meth:`genoconv.ops.longconv.regimes.Regime.plan`."""
        half = OneSm().plan(size // 2, size // 2, filter_length=size // 2, dtype=dtype, card=card)
        return HalvesPlan(length, filter_length, dtype, card, size, half)
