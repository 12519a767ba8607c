"""The host's side of the three-pass kernels: groups of rows, arguments, grids and workspaces.

Rows are numbered by channel, then by batch, so that the rows of a group share filters. Everything is asynchronous on
torch's current stream of the rows' device.
"""

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

_LARGEST_STRIDE = 2**62
_TILE = 32  # columns


@dataclass(frozen=True)
class _Tables:
    columns_in: Tensor
    columns_out: Tensor
    second: Tensor | None
    twiddles: Tensor
    lines: Tensor


@cache
def _tables(radix: int, split: bool, points: int, index: int) -> _Tables:
    lines = radix * (tables.SECOND if split else 1)
    way_in, way_out = tables.columns(radix)
    return _Tables(
        columns_in=host.upload(way_in, index),
        columns_out=host.upload(way_out, index),
        second=host.upload(tables.second_step(radix), index) if split else None,
        twiddles=host.upload(tables.twiddles(lines, points), index),
        lines=host.upload(tables.lines(*FACTORS[points]), index),
    )


@cache
def _stream_beside(index: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(index)  # type: ignore[no-untyped-call]


Step = Callable[[int, int, int], None]
"""A pass over some rows: first, count, handle of a stream."""


class _Passes:
    """The passes of one plan over tensors of one GPU; each takes the first number and the count of its rows."""

    def __init__(self, plan: ThreePassPlan, like: Tensor) -> None:
        self.plan = plan
        self.device, self.index = like.device, kernels.index_of(like)
        self.tables = _tables(plan.radix, plan.split, plan.points, self.index)

    def words(self, *shape: int) -> Tensor:
        """Device memory of 32-bit words."""
        return torch.empty(shape, dtype=torch.int32, device=self.device)

    def zeros(self, *shape: int) -> Tensor:
        """The same, zeros."""
        return torch.zeros(shape, dtype=torch.int32, device=self.device)

    def workspace(self, rows: int) -> tuple[Tensor, Tensor]:
        """Spectra of the rows of a group, and the codes of their tiles of columns."""
        return self.words(rows, self.plan.size), self.words(rows, self.plan.points // _TILE)

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
        # Every kernel waits for the one before it, after what it can do without it.
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
        shape = (x.shape[0], plan.radix, plan.lines, x.shape[-1], *host.strides(x, gate))
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
    ) -> Step:
        """Spectra of lines to rows ``to`` times gate; ``second``: another result and its gate."""
        plan, t = self.plan, self.tables
        dtype = DTYPES.get(to.dtype, "float32")
        also, also_gate = second or (None, None)
        aligned = host.aligned(to, gate, also, also_gate)
        kernel = plan.columns(
            "columns_out", dtype=dtype, aligned=aligned, gated=gate is not None, second=second is not None
        )
        tensors = (to, gate, also, also_gate, lines, t.columns_out, t.second, t.twiddles, scales, ranges)
        shape = (to.shape[0], plan.radix, plan.lines, to.shape[-1], kernels.bits(factor))
        run = self.prepared(kernel, (*tensors, *shape, *host.strides(to, gate, also, also_gate)))
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


def prepare_filter(plan: ThreePassPlan, k: Tensor, D: Tensor | None) -> StoredSpectrum:
    """T(k) + D. k: (H, K) on a CUDA device, K <= plan.size. D: (H,)."""
    passes = _Passes(plan, k)
    taps, skip = kernels.singles(k), None if D is None else kernels.singles(D)
    H, K = taps.shape
    kept = torch.empty(H, plan.size, dtype=torch.int32, device=k.device)
    scale = torch.zeros(H, plan.scales, dtype=torch.float32, device=k.device)
    ranges = passes.zeros(H, 2)
    at_once = plan.rows_at_once(H)
    ways = []
    for _ in range(plan.groups(H)):
        data, codes = workspace = passes.workspace(at_once)
        args = (data, skip, kept, scale, passes.tables.lines, codes, ranges, plan.lines, kernels.bits(plan.size**0.5))
        ways.append(
            (
                passes.columns_in(taps[None], None, workspace, ranges),
                passes.prepared(plan.line_kernel("line_spectra"), args),
            )
        )
    with passes.streams() as streams:
        for number, (first, count) in enumerate(_groups(H, at_once)):
            stream, (columns, lines) = streams[number % len(ways)], ways[number % len(ways)]
            columns(first, count, stream)
            lines(first, count, grid=passes.line_grid(count * plan.lines), stream=stream)
    return StoredSpectrum(kept, scale, K)


def forward(
    plan: ThreePassPlan,
    u: Tensor,
    spectrum: StoredSpectrum,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    *,
    fresh: bool = False,
) -> Tensor:
    """y (B, H, N) contiguous. Rows may be strided in B and H; rows strided in N are copied.

    The first pass does not read the spectrum, so ``fresh`` changes nothing here.
    """
    B, H, N = u.shape
    passes = _Passes(plan, u)
    u, gate_in, gate_out = _rows(u), _optional_rows(gate_in), _optional_rows(gate_out)
    y = torch.empty((B, H, N), dtype=u.dtype, device=u.device)
    ranges = passes.zeros(B * H, 2)
    at_once = plan.rows_at_once(B * H)
    ways = []
    for _ in range(plan.groups(B * H)):
        workspace = passes.workspace(at_once)
        ways.append(
            (
                passes.columns_in(u, gate_in, workspace, ranges),
                passes.lines(workspace, spectrum, ranges, batches=B),
                passes.columns_out(y, gate_out, workspace[0], spectrum.scale, ranges),
            )
        )
    # Two groups in flight, so that one computes while the other waits for memory, or ends.
    with passes.streams() as streams:
        for number, (first, count) in enumerate(_groups(B * H, at_once)):
            for step in ways[number % len(ways)]:
                step(first, count, streams[number % len(ways)])
    return y


def backward(
    plan: ThreePassPlan,
    dy: Tensor,
    u: Tensor,
    spectrum: StoredSpectrum,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """(du, dk, dD, dgate_in, dgate_out)."""
    B, H, N = u.shape
    passes = _Passes(plan, u)
    u, dy, gate_in, gate_out = _rows(u), _rows(dy.to(u.dtype)), _optional_rows(gate_in), _optional_rows(gate_out)
    du = torch.empty((B, H, N), dtype=u.dtype, device=u.device)
    dgate_in = None if gate_in is None else torch.empty_like(du)
    dgate_out = None if gate_out is None else torch.empty_like(du)
    dk = torch.empty((H, spectrum.taps), dtype=torch.float32, device=u.device)
    dk_scales = torch.zeros(H, plan.scales, dtype=torch.float32, device=u.device)
    ranges = passes.zeros(2, B * H, 2)
    at_once = plan.rows_at_once(B * H, batches=B)
    partial = passes.words(0 if at_once >= B else 2 * plan.size)
    kernel = plan.line_kernel("line_gradients", gate_out=gate_out is not None)

    ways = []
    for _ in range(plan.groups(B * H, batches=B)):
        vs, dcs, dk_lines = (
            passes.workspace(at_once),
            passes.workspace(at_once),
            passes.words(max(1, at_once // B), plan.size),
        )
        data = (
            vs[0],
            dcs[0],
            dk_lines,
            spectrum.filter,
            spectrum.scale,
            dk_scales,
            partial,
            passes.tables.lines,
            vs[1],
            dcs[1],
        )
        second = None if dgate_in is None else (dgate_in, u)
        out = [passes.columns_out(du, gate_in, dcs[0], spectrum.scale, ranges[1], second=second)]
        if dgate_out is not None:
            out.append(passes.columns_out(dgate_out, dy, vs[0], spectrum.scale, ranges[0]))
        ways.append(
            _WayBack(
                (passes.columns_in(u, gate_in, vs, ranges[0]), passes.columns_in(dy, gate_out, dcs, ranges[1])),
                passes.prepared(kernel, (*data, ranges[0], ranges[1], B, plan.lines), leading=4),
                tuple(out),
                passes.columns_out(dk[None], None, dk_lines, dk_scales, None, factor=plan.size**0.5),
            )
        )
    with passes.streams() as streams:
        for number, part in enumerate(_batch_groups(B, H, at_once)):
            # Parts of one channel's batch add to the same sums, one after the other.
            which = number % len(ways) if at_once >= B else 0
            ways[which].run(part, passes, stream=streams[which], batches=B)
    return du, dk, dk[:, 0].clone(), dgate_in, dgate_out


@dataclass(frozen=True)
class _WayBack:
    """The steps of one group in flight in the backward pass."""

    columns_in: tuple[Step, ...]
    lines: Prepared
    columns_out: tuple[Step, ...]
    filters_out: Step

    def run(self, part: tuple[int, int, int, int], passes: _Passes, *, stream: int, batches: int) -> None:
        """Queue all steps for (channel, channels, begin, end of the batch)."""
        channel, channels, begin, end = part
        first, count = channel * batches + begin, channels * (end - begin)
        for step in self.columns_in:
            step(first, count, stream)
        self.lines(*part, grid=passes.line_grid(channels * passes.plan.lines), stream=stream)
        for step in self.columns_out:
            step(first, count, stream)
        if end == batches:
            self.filters_out(channel, channels, stream)


def _groups(rows: int, at_once: int) -> Iterator[tuple[int, int]]:
    """(first, count) of groups of rows."""
    for first in range(0, rows, at_once):
        yield first, min(at_once, rows - first)


def _batch_groups(batches: int, channels: int, at_once: int) -> Iterator[tuple[int, int, int, int]]:
    """(channel, channels, begin, end): whole batches of several channels, or parts of the batch of one."""
    if at_once >= batches:
        for channel, count in _groups(channels, at_once // batches):
            yield channel, count, 0, batches
    else:
        for channel in range(channels):
            for begin, count in _groups(batches, at_once):
                yield channel, 1, begin, begin + count


def _rows(x: Tensor) -> Tensor:
    return host.rows(x, largest_stride=_LARGEST_STRIDE)


def _optional_rows(x: Tensor | None) -> Tensor | None:
    return None if x is None else _rows(x)
