"""The host's side of the three-pass kernels: groups of rows, and the order of their passes.

Rows are numbered by channel, then by batch, so that the rows of a group share filters. Everything is asynchronous on
torch's current stream of the rows' device.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from genoconv.gpu.launch import Prepared
from genoconv.ops import kernels
from genoconv.ops.longconv import host
from genoconv.ops.longconv.spectrum import StoredSpectrum
from genoconv.ops.longconv.three_pass.passes import Passes, Skip, Step
from genoconv.ops.longconv.three_pass.plan import ThreePassPlan


def prepare_filter(plan: ThreePassPlan, k: Tensor, D: Tensor | None) -> StoredSpectrum:
    """T(k) + D. k: (H, K) on a CUDA device, K <= plan.size. D: (H,)."""
    passes = Passes(plan, k)
    taps, skip = kernels.singles(k), None if D is None else kernels.singles(D)
    H, K = taps.shape
    kept = torch.empty(H, plan.kept, dtype=torch.int32, device=k.device)
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
    skip: Tensor | None = None,
) -> Tensor:
    """y (B, H, N) contiguous. Rows may be strided in B and H; rows strided in N are copied.

    The first pass does not read the spectrum, so ``fresh`` changes nothing here. skip: D (H,), where it is not in the
    spectrum.
    """
    B, H, N = u.shape
    passes = Passes(plan, u)
    u, gate_in, gate_out = host.rows(u), host.optional_rows(gate_in), host.optional_rows(gate_out)
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
                passes.columns_out(y, gate_out, workspace[0], spectrum.scale, ranges, skip=_skip(skip, u, gate_in)),
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
    *,
    skip: Tensor | None = None,
    skip_gradient: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """(du, dk, dD, dgate_in, dgate_out).

    skip: as in :func:`forward`. skip_gradient: with one, whether dD is wanted; where not, it is anything.
    """
    B, H = u.shape[:2]
    passes = Passes(plan, u)
    dy, u, gate_in, gate_out = host.rows_for_gradients(dy, u, gate_in, gate_out)
    du, dgate_in, dgate_out = host.empty_gradients(u, gate_in, gate_out)
    dk = torch.empty((H, spectrum.taps), dtype=torch.float32, device=u.device)
    dk_scales = torch.zeros(H, plan.scales, dtype=torch.float32, device=u.device)
    ranges = passes.zeros(2, B * H, 2)
    at_once = plan.rows_at_once(B * H, batches=B)
    partial = passes.words(0 if at_once >= B else 2 * plan.kept)
    kernel = plan.line_kernel("line_gradients", gate_out=gate_out is not None)
    sums = None
    if skip is not None and skip_gradient:  # the kernels write all of them
        sums = torch.empty((B * H, plan.column_sums), dtype=torch.float32, device=u.device)

    ways = []
    for _ in range(plan.groups(B * H, batches=B)):
        vs, dcs = passes.workspace(at_once), passes.workspace(at_once)
        dk_lines = passes.words(max(1, at_once // B), plan.kept)
        filters = (dk_lines, spectrum.filter, spectrum.scale, dk_scales, partial)
        data = (vs[0], dcs[0], *filters, passes.tables.lines, vs[1], dcs[1])
        second = None if dgate_in is None else (dgate_in, u)
        products = None if sums is None else (sums, u)
        around = _skip(skip, dy, gate_out)
        out = [
            passes.columns_out(
                du, gate_in, dcs[0], spectrum.scale, ranges[1], second=second, skip=around, products=products
            )
        ]
        if dgate_out is not None:
            around = _skip(skip, u, gate_in)
            out.append(passes.columns_out(dgate_out, dy, vs[0], spectrum.scale, ranges[0], skip=around))
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
    dD = dk[:, 0].clone() if sums is None else sums.view(H, -1).sum(1)
    return du, dk, dD, dgate_in, dgate_out


@dataclass(frozen=True)
class _WayBack:
    """The steps of one group in flight in the backward pass."""

    columns_in: tuple[Step, ...]
    lines: Prepared
    columns_out: tuple[Step, ...]
    filters_out: Step

    def run(self, part: tuple[int, int, int, int], passes: Passes, *, stream: int, batches: int) -> None:
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


def _skip(D: Tensor | None, x: Tensor, gate: Tensor | None) -> Skip | None:
    return None if D is None else (D, x, gate)
