"""Blocks of the column passes: warps, columns of a warp, and what they keep in shared memory (`shape.cuh`)."""

from dataclasses import dataclass
from typing import ClassVar

from genoconv.ops.longconv.three_pass.factors import COLUMN_WARPS, RESERVED, column_bytes
from genoconv.ops.longconv.three_pass.tables import SECOND


@dataclass(frozen=True)
class ColumnBlock:
    """A block of a column pass.

    Attributes:
        radix: r1.
        split: whether a column has a second step of 16 points. Only then a block asks for anything ahead.
        smem: bytes of shared memory that a block may use.
        ahead: columns come by asynchronous copies, before they are needed.
        wide: blocks of 16 warps, so that the next columns are in flight all the time.
        halved: columns of at most eight points in their first step leave out the other half of their tile.
        crowded: three blocks of such columns share a multiprocessor, in place of two.
        compact: the table of twiddles of columns in two steps has eight columns in place of 32, so that it stays in the
            L1 cache beside what waits in shared memory.
        early: the first columns of a launch are asked for while the kernel before it still runs.
    """

    ahead: ClassVar[bool] = True
    wide: ClassVar[bool] = False
    halved: ClassVar[bool] = True
    crowded: ClassVar[bool] = False
    compact: ClassVar[bool] = True
    early: ClassVar[bool] = True

    radix: int
    split: bool
    smem: int

    @property
    def tiles(self) -> int:
        """r1 in tiles of 16."""
        return -(-self.radix // 16)

    @property
    def short(self) -> bool:
        """Whether columns fill no more than half a tile, and the other half is left out."""
        return self.split and self.halved and self.radix <= 8

    @property
    def table_eights(self) -> int:
        """Eights of columns in the table of twiddles."""
        return 1 if self.split and self.compact else 4

    @property
    def span(self) -> int:
        """Columns of a warp: two tiles of 32, or one where registers or shared memory are short."""
        return 64 if self.tiles == 1 else 32

    @property
    def warps(self) -> int:
        """Warps of a block: with 16, one block has a multiprocessor.

        They take sixteen f1' at a time, so short first steps have blocks of 8.
        """
        wide = self.split and (self.tiles > 2 or (self.wide and self.radix > COLUMN_WARPS))
        return 2 * COLUMN_WARPS if wide else COLUMN_WARPS

    @property
    def per_sm(self) -> int:
        """Blocks that share a multiprocessor, by the registers of a thread."""
        return 3 if self.short and self.crowded else 2 * COLUMN_WARPS // self.warps

    @property
    def buffer_bytes(self) -> int:
        """Shared memory of the spectra of a block's columns between two steps."""
        return SECOND * (8 if self.short else 16) * 4 * self.span * self.tiles

    @property
    def least_bytes(self) -> int:
        """Shared memory of a block that asks for nothing ahead."""
        whole = column_bytes(self.radix, span=self.span, split=self.split)
        return whole - self.buffer_bytes if self.short else whole

    def waiting(self, *, inwards: bool, gated: bool, parts: int) -> tuple[int, int]:
        """What has room in shared memory beside what a block works on.

        Args:
            inwards: `columns_in`, where rows and gates wait; else gates and the spectra of the next columns.
            gated: rows have a gate.
            parts: 16-byte pieces of eight values, 0 where rows do not start on 16 bytes.

        Returns:
            Buffers of spectra, and pieces that wait for each lane.
        """
        if not (self.split and self.ahead):
            return 1, 0
        piece = 512 * self.warps
        blocks = max(1, min(self.per_sm, (self.smem + RESERVED) // (self.least_bytes + RESERVED)))
        room = (self.smem + RESERVED) // blocks - RESERVED - self.least_bytes
        wanted = self.buffer_bytes // 2 // piece * parts  # values of 16 bits, where spectra have 32
        if inwards:
            return 1, min(room // piece, wanted * (1 + gated))
        staged = wanted if gated and wanted * piece <= room else 0
        return 2 if self.buffer_bytes <= room - staged * piece else 1, staged

    def defines(self, buffers: int, staged: int) -> dict[str, int]:
        """Macros of the kernels."""
        return {
            "PLAN_WARPS": self.warps,
            "COLUMN_TILES": self.tiles,
            "COLUMN_SPLIT": int(self.split),
            "COLUMN_SPAN": self.span,
            "COLUMN_GATES_FIRST": int(self.tiles <= 2),
            "COLUMN_BLOCKS": self.per_sm,
            "COLUMN_BUFFERS": buffers,
            "COLUMN_STAGED": staged,
            "COLUMN_TABLE_EIGHTS": self.table_eights,
            "COLUMN_SHORT": int(self.short),
            "COLUMN_ASYNC": int(self.split and self.ahead),
            "COLUMN_EARLY": int(self.early),
        }

    def smem_bytes(self, buffers: int, staged: int) -> int:
        """Shared memory of a block."""
        return self.least_bytes + (buffers - 1) * self.buffer_bytes + staged * 512 * self.warps
