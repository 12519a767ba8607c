"""Plans of long rows: N = R1 L, columns of R1 points and lines of L, decided from numbers alone.

With j = L j1 + j' and f = f1 + R1 f', the phase j (f + 1/4) / N is j1 (f1 + 1/4) / R1 (the columns) plus
j' (f1 + 1/4) / N (twiddles) plus j' f' / L (plain transforms of lines). R1 is r1, at most 64 points in one product, or
16 r1 in two.
`csrc/three_pass/README.md` derives it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from types import ModuleType

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card
from genoconv.ops.longconv.one_sm.blocks import FACTORS
from genoconv.ops.longconv.plan import Plan
from genoconv.ops.longconv.three_pass.tables import SECOND

LONGEST = 1 << 24
COLUMN_WARPS = 8
_MOST_RADIX = 64  # of one product: more would be spilled
_GOOD_RADIX = 32  # of the first of two steps, where lines are longer than the shortest
_MANTISSAS = (4, 5, 6, 7)  # sizes are these times powers of two, so at most a quarter is padding
_POINTS = (4096, 8192, 16384)  # of a line
_GROUP_BYTES = 60 * 2**20
"""Spectra in flight between passes of the forward pass, in all groups.

Smaller groups would stay in the L2 cache, but each costs the launches of its passes (`benchmarks/NOTES.md`).
"""
_BACKWARD_SHARE = 6
"""Times that for the backward pass, where spectra of rows, of their gradients and of filters' gradients are in flight:
enough for eight rows of 2M at once, which then share a filter and need no sums in device memory."""
GROUPS = 2
"""Groups in flight, each on a stream of its own."""


@dataclass(frozen=True)
class ThreePassPlan(Plan):
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

    @property
    def group_bytes(self) -> int:
        """Device memory of the spectra in flight in a forward pass, unless a single row takes more."""
        return _GROUP_BYTES

    def rows_at_once(self, rows: int, *, batches: int | None = None) -> int:
        """Rows of a group, of so many in all. ``batches``: in the backward pass, how many rows share a filter."""
        most = self.group_bytes // (4 * self.kept * GROUPS)
        if batches is not None:  # two spectra of each row, and one for each filter
            most = _BACKWARD_SHARE * self.group_bytes * batches // (4 * self.kept * GROUPS * (2 * batches + 1))
        groups = -(-rows // max(1, most))
        return -(-rows // groups)  # groups of equal sizes

    def groups(self, rows: int, *, batches: int | None = None) -> int:
        """Groups in flight."""
        most = GROUPS if 4 * self.kept * GROUPS <= self.group_bytes else 1
        return min(most, -(-rows // self.rows_at_once(rows, batches=batches)))

    def obstacle(self, channels: int) -> str | None:
        """Strides have 64 bits."""
        return None

    def workspace_bytes(self, batches: int, channels: int, *, backward: bool) -> int:
        """Spectra of the rows in flight, their scales, and in the backward pass sums over the batch."""
        rows, line = batches * channels, 4 * self.kept
        sharing = batches if backward else None
        at_once, groups = self.rows_at_once(rows, batches=sharing), self.groups(rows, batches=sharing)
        spectra = groups * at_once * (line + self.points // 8)
        if not backward:
            return spectra + 8 * rows
        filters = groups * max(1, at_once // batches) * line
        partial = 0 if at_once >= batches else 2 * line
        return 2 * spectra + filters + partial + 16 * rows

    def columns(
        self,
        way: str,
        *,
        dtype: str,
        aligned: bool,
        gated: bool = False,
        second: bool = False,
        skip: tuple[bool, bool] = (False, False),
    ) -> Kernel:
        """`columns_in` or `columns_out`.

        Args:
            way: which of them.
            dtype: of rows, or "float32" for filters.
            aligned: rows start on 16 bytes and N is a multiple of 8.
            gated: there is a gate.
            second: there are two results.
            skip: whether results get a skip of their own, and whether its rows have a gate.
        """
        defines = {
            "PLAN_WARPS": self.column_warps,
            "COLUMN_TILES": self.column_tiles,
            "COLUMN_KEPT_TILES": -(-self.kept_radix // 16),
            "COLUMN_SPLIT": int(self.split),
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
            }
        )
        smem = column_bytes(self.radix, span=self.column_span, split=self.split)
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
        if name == "line_gradients":
            defines["GATE_OUT"] = int(gate_out)
        if name == "line_spectra":
            defines["IO_BF16"] = 0
        smem = line_bytes(self.points, buffers)
        return Kernel(f"three_pass/{name}", tuple(sorted(defines.items())), smem, 32 * self.line_warps(name))

    def line_warps(self, name: str) -> int:
        """Warps of a block of a line pass: 8, two blocks to a multiprocessor, where registers and lines allow it."""
        return 8 if self.points == _POINTS[0] and name != "line_gradients" else 16

    @property
    def column_tiles(self) -> int:
        """r1 in tiles of 16."""
        return -(-self.radix // 16)

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
        yield f"rows in flight between passes: {groups} x {rows:,}, {rows * self.kept / 2**18:.0f} MB each"
        yield (
            f"a line in a block of {32 * self.line_warps('lines')} threads, {self._buffers} in shared memory, "
            f"{line_bytes(self.points, self._buffers) / 1024:.1f} KB"
        )


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


def _factors(size: int, card: Card) -> tuple[int, bool, int] | None:
    """(r1, whether columns have a second step, L) of a transform, or None where nothing fits."""
    fitting = [points for points in _POINTS if line_bytes(points, 2) <= card.smem]
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


class ThreePass:
    """The regime of rows longer than one multiprocessor holds."""

    name = "three-pass"
    differentiable = True

    def sizes(self, card: Card) -> tuple[int, ...]:
        """Multiples 4, 5, 6 and 7 of powers of two, up to 2^24."""
        return _sizes(card)

    def scales(self, size: int, card: Card) -> int:
        """One per channel and one per line."""
        factors = _factors(size, card)
        assert factors is not None
        return 1 + size // factors[2]

    def plan(self, length: int, size: int, *, filter_length: int, dtype: str, card: Card) -> ThreePassPlan:
        """As :meth:`genoconv.ops.longconv.regimes.Regime.plan`."""
        factors = _factors(size, card)
        assert factors is not None
        return ThreePassPlan(length, filter_length, dtype, card, size, *factors)


@lru_cache
def _sizes(card: Card) -> tuple[int, ...]:
    every = sorted(m << a for m in _MANTISSAS for a in range(10, 23) if m << a <= LONGEST)
    return tuple(size for size in every if size >= 12288 and _factors(size, card))
