"""Plans of long rows: N = R1 L, columns of R1 points and lines of L, decided from numbers alone.

With j = L j1 + j' and f = f1 + R1 f', the phase j (f + 1/4) / N is j1 (f1 + 1/4) / R1 (the columns) plus
j' (f1 + 1/4) / N (twiddles) plus j' f' / L (plain transforms of lines). R1 is r1, at most 64 points in one product, or
16 r1 in two.
`csrc/three_pass/README.md` derives it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card
from genoconv.ops.longconv.one_sm.blocks import FACTORS
from genoconv.ops.longconv.plan import Plan
from genoconv.ops.longconv.three_pass.factors import (
    COLUMN_WARPS,
    LINE_POINTS,
    RESERVED,
    column_bytes,
    factors_of,
    line_bytes,
    sizes_on,
)
from genoconv.ops.longconv.three_pass.groups import InGroups
from genoconv.ops.longconv.three_pass.tables import SECOND
from genoconv.wording import count


@dataclass(frozen=True)
class ThreePassPlan(InGroups):
    """A row that is transformed in three passes over device memory and the L2 cache.

    Attributes:
        radix: r1.
        split: whether a column has a second step of 16 points.
        points: L.
        every, first: of a frequency-sparse filter: which frequencies are kept, one of ``every`` from ``first`` on.
    """

    radix: int
    split: bool
    points: int
    every: int = 1
    first: int = 0

    __hash__ = Plan.__hash__  # otherwise dataclass makes one of all fields

    regime = "three-pass"

    @property
    def lines(self) -> int:
        """Lines of a row that are kept: R1, unless a filter is frequency-sparse."""
        return self.kept_radix * (SECOND if self.split else 1)

    @property
    def kept_radix(self) -> int:
        """f1' that are kept, r1 or fewer."""
        return self.radix // self.every

    @property
    def kept(self) -> int:
        """Points of a spectrum that are kept: the transform's, unless a filter is frequency-sparse."""
        return self.lines * self.points

    def sparse(self, every: int, first: int) -> "ThreePassPlan | None":
        """The same plan for filters that keep one frequency of ``every``; None where columns cannot be cut so."""
        return replace(self, every=every, first=first) if self.radix % every == 0 else None

    @property
    def spectrum_bytes(self) -> int:
        """Of what is kept."""
        return 4 * self.kept

    @property
    def radices(self) -> tuple[int, ...]:
        """Radices of the stages, first contracted first; their product is `size`."""
        outer, branches = FACTORS[self.points]
        return (self.radix, *(r for r in (SECOND if self.split else 1, outer, branches) if r > 1), 16, 16)

    @property
    def scales(self) -> int:
        """A channel's, then one for each of its lines."""
        return 1 + self.lines

    @property
    def line_blocks(self) -> int:
        """Most blocks of a line pass that share a multiprocessor."""
        return 2

    def obstacle(self, channels: int) -> str | None:
        """Strides have 64 bits."""
        return None

    def columns(
        self,
        way: str,
        *,
        dtype: str,
        aligned: bool,
        gated: bool = False,
        second: bool = False,
        skip: tuple[bool, bool] = (False, False),
        sums: bool = False,
    ) -> Kernel:
        """`columns_in` or `columns_out`.

        Args:
            way: which of them.
            dtype: of rows, or "float32" for filters.
            aligned: rows start on 16 bytes and N is a multiple of 8.
            gated: there is a gate.
            second: there are two results.
            skip: whether results get a skip of their own, and whether its rows have a gate.
            sums: sums for the gradient of that skip are wanted.
        """
        defines = {
            "PLAN_WARPS": self.column_warps,
            "COLUMN_TILES": self.column_tiles,
            "COLUMN_KEPT_TILES": -(-self.kept_radix // 16),
            "COLUMN_SPLIT": int(self.split),
            "COLUMN_ROWS": self.column_rows,
            "COLUMN_SPAN": self.column_span,
            "COLUMN_GATES_FIRST": int(self.column_tiles <= 2),
            "COLUMN_BLOCKS": self.column_blocks,
            "LINE_POINTS": self.points,
            "IO_BF16": int(dtype == "bfloat16"),
            "IO_SINGLE": int(dtype == "float32"),
            "HALF_SUMS": int(dtype == "bfloat16"),
            "ALIGNED": int(aligned),
        }
        defines |= (
            {"GATE_IN": int(gated)}
            if way == "columns_in"
            else {
                "GATE_FIRST": int(gated),
                "SECOND": int(second),
                "SKIP": int(skip[0]),
                "SKIP_GATED": int(skip[1]),
                "SKIP_SUMS": int(sums),
            }
        )
        smem = column_bytes(self.radix, span=self.column_span, split=self.split, rows=self.column_rows)
        return Kernel(f"three_pass/{way}", tuple(sorted(defines.items())), smem, 32 * self.column_warps)

    def line_kernel(self, name: str, *, gate_out: bool = True) -> Kernel:
        """`lines`, `line_spectra` or `line_gradients`."""
        outer, branches = FACTORS[self.points]
        buffers = {"lines": self._buffers, "line_spectra": 1, "line_gradients": 2 * self._pairs}[name]
        defines = {
            "PLAN_RADIX": outer,
            "PLAN_SPLIT": branches,
            "PLAN_GROUPS": 1,
            "PLAN_WARPS": self.line_warps(name),
            "PLAN_STAGED": 0,
            "PLAN_SPECTRUM_IN_SMEM": 0,
            "PLAN_SUMS_IN_SMEM": 0,
            "PLAN_LAG_HALF_SHIFT": 0,
            "IO_BF16": int(self.dtype == "bfloat16"),
            "IO_SINGLE": 0,
            "HALF_SUMS": int(self.dtype == "bfloat16" and name != "line_spectra"),
            "ALIGNED": 1,
        }
        if name != "line_spectra":
            defines["LINE_BUFFERS"] = buffers
        if name == "lines":
            defines["LINE_STAGED"] = int(self._filters_staged)
        if name == "line_gradients":
            defines["GATE_OUT"] = int(gate_out)
        if name == "line_spectra":
            defines["IO_BF16"] = 0
        smem = line_bytes(self.points, buffers) + 4 * self.points * defines.get("LINE_STAGED", 0)
        return Kernel(f"three_pass/{name}", tuple(sorted(defines.items())), smem, 32 * self.line_warps(name))

    @property
    def _filters_staged(self) -> bool:
        """Whether there is room for the filter of a block's next line, which is asked for one line ahead."""
        room = (self.card.smem + RESERVED) * self.line_warps("lines") // 16 - RESERVED
        return line_bytes(self.points, self._buffers + 1) <= room

    def line_warps(self, name: str) -> int:
        """Warps of a block of a line pass: 8, two blocks to a multiprocessor, where registers and lines allow it."""
        return 8 if self.points == LINE_POINTS[0] and name != "line_gradients" else 16

    @property
    def column_tiles(self) -> int:
        """r1 in tiles of 16."""
        return -(-self.radix // 16)

    @property
    def column_rows(self) -> int:
        """Rows of such a tile that blocks hold: of columns in two steps 8, where the others would be padding."""
        return 8 if self.split and self.radix <= 8 else 16

    @property
    def column_span(self) -> int:
        """Columns of a warp: two tiles of 32, or one where registers or shared memory are short."""
        return 64 if self.column_tiles == 1 else 32

    @property
    def column_warps(self) -> int:
        """Warps of a block of a column pass: with 16, one block has a multiprocessor, as its shared memory allows."""
        return 2 * COLUMN_WARPS if self.split and self.column_tiles > 2 else COLUMN_WARPS

    @property
    def column_blocks(self) -> int:
        """Blocks of a column pass that share a multiprocessor, by the registers of a thread."""
        return 2 * COLUMN_WARPS // self.column_warps

    @property
    def column_places(self) -> int:
        """Blocks that share a row's columns."""
        return self.points // (self.column_span * (1 if self.split else COLUMN_WARPS))

    @property
    def column_sums(self) -> int:
        """Sums for the gradient of a skip that `columns_out` makes of each row, one in every warp."""
        return self.column_places * self.column_warps

    def column_grid(self, rows: int) -> int:
        """Blocks of a column pass over so many rows: a multiple of :attr:`column_places` where columns are whole."""
        places, room = self.column_places, self.card.sm_count * self.column_blocks
        return min(rows * places, room) if self.split else places * min(rows, max(1, room // places))

    @property
    def _pairs(self) -> int:
        return 2 if line_bytes(self.points, 4) <= self.card.smem else 1

    @property
    def _buffers(self) -> int:
        return 2 if line_bytes(self.points, 2) <= self.card.smem else 1

    def kernels(self) -> Iterator[Kernel]:
        """Every kernel, gated, for aligned and ragged rows, and for filters in fp32."""
        for aligned in (True, False):
            yield self.columns("columns_in", dtype=self.dtype, aligned=aligned, gated=True)
            yield self.columns("columns_out", dtype=self.dtype, aligned=aligned, gated=True)
            yield self.columns("columns_out", dtype=self.dtype, aligned=aligned, gated=True, second=True)
            yield self.columns("columns_in", dtype="float32", aligned=aligned)
            yield self.columns("columns_out", dtype="float32", aligned=aligned)
        yield from (self.line_kernel(name) for name in ("lines", "line_spectra", "line_gradients"))

    @property
    def launches(self) -> ModuleType:
        """`launches.py` beside this file."""
        from genoconv.ops.longconv.three_pass import launches

        return launches

    def explain_card(self) -> str:
        """The L2 cache decides how many rows are in flight."""
        return f"{super().explain_card()}, {self.card.l2_bytes / 2**20:.0f} MB of L2 cache"

    def explain_kernels(self) -> Iterator[str]:
        """Columns and lines, then rows in flight."""
        steps = (
            f"{self.radix} * {SECOND} points in two products" if self.split else f"{self.radix} points in one product"
        )
        rows, groups = self.rows_at_once(2**20), self.groups(2**20)
        yield f"columns of {steps}, {self.lines:,} lines of {self.points:,} points"
        yield (
            f"in flight between passes: {count(groups, 'group')} of {count(rows, 'row')}, "
            f"{rows * self.kept / 2**18:.0f} MB per group"
        )
        yield (
            f"line pass: 1 line at a time in a block of {32 * self.line_warps('lines')} threads, "
            f"{count(self._buffers, 'line')} in shared memory, {line_bytes(self.points, self._buffers) / 1024:.1f} KB"
        )


class ThreePass:
    """The regime of rows longer than one multiprocessor holds."""

    name = "three-pass"

    def gradients(self, size: int, dtype: str) -> None:
        """Plans have their own kernels."""

    def sizes(self, card: Card) -> tuple[int, ...]:
        """Multiples 4, 5, 6 and 7 of powers of two, up to 2^24."""
        return sizes_on(card)

    def scales(self, size: int, card: Card) -> int:
        """One per channel and one per line."""
        factors = factors_of(size, card)
        assert factors is not None
        return 1 + size // factors[2]

    def plan(self, length: int, size: int, *, filter_length: int, dtype: str, card: Card) -> ThreePassPlan:
        """As :meth:`genoconv.ops.longconv.regimes.Regime.plan`."""
        factors = factors_of(size, card)
        assert factors is not None
        return ThreePassPlan(length, filter_length, dtype, card, size, *factors)

    def least_plan(self, other: Plan) -> ThreePassPlan:
        """The plan of the rows of another one, in the least transform that has room for them."""
        size = next(size for size in self.sizes(other.card) if size >= other.length)
        return self.plan(other.length, size, filter_length=other.filter_length, dtype=other.dtype, card=other.card)
