"""The passes of the three-pass kernels over some rows: tables, workspaces, arguments and grids."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.launch import Prepared
from genoconv.ops import kernels
from genoconv.ops.longconv import host
from genoconv.ops.longconv.host import DTYPES
from genoconv.ops.longconv.one_sm.blocks import FACTORS
from genoconv.ops.longconv.spectrum import StoredSpectrum
from genoconv.ops.longconv.three_pass import tables
from genoconv.ops.longconv.three_pass.plan import ThreePassPlan

_TILE = 32  # columns


@dataclass(frozen=True)
class _Tables:
    columns_in: Tensor
    columns_out: Tensor
    second: Tensor | None
    twiddles: Tensor
    lines: Tensor


@cache
def _tables(radix: int, split: bool, points: int, every: int, first: int, eights: int, index: int) -> _Tables:
    lines = radix * (tables.SECOND if split else 1)
    way_in, way_out = tables.columns(radix, every, first)
    return _Tables(
        columns_in=host.upload(way_in, index),
        columns_out=host.upload(way_out, index),
        second=host.upload(tables.second_step(radix, every, first), index) if split else None,
        twiddles=host.upload(tables.twiddles(lines, points, every, first, eights), index),
        lines=host.upload(tables.lines(*FACTORS[points]), index),
    )


@cache
def _stream_beside(index: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(index)  # type: ignore[no-untyped-call]


Step = Callable[[int, int, int], None]
"""A pass over some rows: first, count, handle of a stream."""


Skip = tuple[Tensor, Tensor, Tensor | None]
"""D (H,), rows, their gate: what a filter without a skip in it leaves to be added to results."""


class Passes:
    """The passes of one plan over tensors of one GPU; each takes the first number and the count of its rows."""

    def __init__(self, plan: ThreePassPlan, like: Tensor) -> None:
        self.plan = plan
        self.device, self.index = like.device, kernels.index_of(like)
        eights = plan.column_block.table_eights
        self.tables = _tables(plan.radix, plan.split, plan.points, plan.every, plan.first, eights, self.index)

    @property
    def frequencies(self) -> tuple[int, int]:
        """Of lines, in quarters: from one to the next, and the first."""
        return 4 * self.plan.every, 4 * self.plan.first + 1

    def words(self, *shape: int) -> Tensor:
        """Device memory of 32-bit words."""
        return torch.empty(shape, dtype=torch.int32, device=self.device)

    def zeros(self, *shape: int) -> Tensor:
        """The same, zeros."""
        return torch.zeros(shape, dtype=torch.int32, device=self.device)

    def workspace(self, rows: int) -> tuple[Tensor, Tensor]:
        """Spectra of the rows of a group, and the codes of their tiles of columns."""
        return self.words(rows, self.plan.kept), self.words(rows, self.plan.points // _TILE)

    @contextmanager
    def streams(self) -> Iterator[tuple[int, int]]:
        """Handles of the current stream and of one beside it that starts with it and ends before it resumes."""
        if self.device.type != "cuda":
            yield 0, 0
            return
        with torch.cuda.device(self.index):
            current, beside = torch.cuda.current_stream(), _stream_beside(self.index)
            beside.wait_stream(current)
            yield current.cuda_stream, beside.cuda_stream
            current.wait_stream(beside)

    def prepared(self, kernel: Kernel, args: tuple[Tensor | int | None, ...], *, leading: int = 2) -> Prepared:
        """A kernel with all of its arguments but those that say which rows it is to take."""
        (loaded,) = host.loaded((kernel,), self.plan.card.arch, self.index)
        # Every kernel waits for the one before it, after what it can do without it: tables, and the caller's rows and
        # filters. torch's launch that makes zeros for `ranges` waits for those, and the first kernel for that launch.
        return Prepared(loaded, leading, args, pdl=self.plan.has_pdl)

    def line_grid(self, lines: int) -> int:
        """Blocks of a line pass over so many lines."""
        return min(lines, self.plan.card.sm_count * self.plan.line_blocks)

    def columns_in(self, x: Tensor, gate: Tensor | None, workspace: tuple[Tensor, Tensor], ranges: Tensor) -> Step:
        """Rows x (B, H, N), times gate, to spectra of columns."""
        plan, t = self.plan, self.tables
        dtype = DTYPES.get(x.dtype, "float32")
        kernel = plan.columns("columns_in", dtype=dtype, aligned=host.aligned(x, gate), gated=gate is not None)
        lines, codes = workspace
        shape = (x.shape[0], plan.kept_radix, plan.lines, *self.frequencies, x.shape[-1], *host.strides(x, gate))
        run = self.prepared(kernel, (x, gate, lines, t.columns_in, t.second, t.twiddles, codes, ranges, *shape))
        return lambda first, count, stream: run(first, count, grid=plan.column_grid(count), stream=stream)

    def columns_out(
        self,
        to: Tensor,
        gate: Tensor | None,
        lines: Tensor,
        scales: Tensor,
        ranges: Tensor | None,
        *,
        factor: float = 1.0,
        second: tuple[Tensor, Tensor] | None = None,
        skip: Skip | None = None,
        products: tuple[Tensor, Tensor] | None = None,
    ) -> Step:
        """Spectra of lines to rows ``to`` times gate.

        Args:
            to: (B, H, N).
            gate: its gate.
            lines, scales, ranges: the spectra, as the passes before left them.
            factor: all results are multiplied by it.
            second: another result, and its gate.
            skip: what goes to results before their gates.
            products: sums (B x H, :attr:`ThreePassPlan.column_sums`) of products of the rows of ``skip`` and of these
                rows times ``gate``, the gate of ``second`` where that is given: all sums of a channel are the gradient
                of its skip.
        """
        plan, t = self.plan, self.tables
        dtype = DTYPES.get(to.dtype, "float32")
        also, also_gate = second or (None, None)
        sums, also_gate = products or (None, also_gate)
        D, x, x_gate = skip or (None, None, None)
        kernel = plan.columns(
            "columns_out",
            dtype=dtype,
            aligned=host.aligned(to, gate, also, also_gate, x, x_gate),
            gated=gate is not None,
            second=second is not None,
            skip=(D is not None, x_gate is not None),
            sums=sums is not None,
        )
        tensors = (to, gate, also, also_gate, lines, t.columns_out, t.second, t.twiddles, scales, ranges)
        shape = (to.shape[0], plan.kept_radix, plan.lines, *self.frequencies, to.shape[-1], kernels.bits(factor))
        strides = host.strides(to, gate, also, also_gate, x, x_gate)
        run = self.prepared(kernel, (*tensors, *shape, D, x, x_gate, *strides, sums))
        return lambda first, count, stream: run(first, count, grid=plan.column_grid(count), stream=stream)

    def lines(
        self, workspace: tuple[Tensor, Tensor], spectrum: StoredSpectrum, ranges: Tensor, *, batches: int
    ) -> Step:
        """Lines times their filters', in place."""
        plan = self.plan
        kept = (spectrum.filter, spectrum.scale)
        args = (workspace[0], *kept, self.tables.lines, workspace[1], ranges, batches, plan.lines)
        run = self.prepared(plan.line_kernel("lines"), args)
        return lambda first, count, stream: run(first, count, grid=self.line_grid(count * plan.lines), stream=stream)
