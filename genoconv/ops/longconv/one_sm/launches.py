"""The host's side of the one-SM kernels: arguments, grids and workspaces.

Everything is asynchronous on torch's current stream of the rows' device.
"""

from functools import cache

import torch
from torch import Tensor

from genoconv.gpu.launch import Loaded
from genoconv.ops import kernels
from genoconv.ops.longconv import host
from genoconv.ops.longconv.one_sm import tables as words
from genoconv.ops.longconv.one_sm.plan import LARGEST_STRIDE, Fit, OneSmPlan
from genoconv.ops.longconv.one_sm.shares import Shares
from genoconv.ops.longconv.spectrum import StoredSpectrum


@cache
def tables_on(radix: int, split: int, index: int) -> Tensor:
    """The tables of transforms of 256 * radix * split points, in the memory of GPU ``index``."""
    return host.upload(words.build(radix, split), index)


@cache
def _shares(plan: OneSmPlan, batches: int, channels: int) -> Shares:
    return plan.share_out(batches, channels)


@cache
def _kernels(
    plan: OneSmPlan, index: int, names: tuple[str, ...], fit: Fit, gate_in: bool, gate_out: bool
) -> tuple[Loaded, ...]:
    wanted = tuple(plan.kernel(name, fit=fit, gate_in=gate_in, gate_out=gate_out) for name in names)
    return host.loaded(wanted, plan.card.arch, index)


def filter_grid(plan: OneSmPlan, channels: int) -> int:
    """Blocks of the kernels that transform filters and their gradients."""
    return min(-(-channels // plan.filter_block.rows), plan.card.sm_count * plan.filter_block.per_sm)


def rows(x: Tensor) -> Tensor:
    """Rows (B, H, N) as the kernels take them, copied where their strides do not suit."""
    return host.rows(x, largest_stride=LARGEST_STRIDE)


def optional_rows(x: Tensor | None) -> Tensor | None:
    """:func:`rows` of a gate, where there is one."""
    return host.optional_rows(x, largest_stride=LARGEST_STRIDE)


def prepare_filter(plan: OneSmPlan, k: Tensor, D: Tensor | None) -> StoredSpectrum:
    """T(k) + D. k: (H, K) on a CUDA device, K <= plan.size. D: (H,)."""
    index = kernels.index_of(k)
    taps, skip = kernels.singles(k), None if D is None else kernels.singles(D)
    H, K = taps.shape
    kept = torch.empty(H, plan.size, dtype=torch.int32, device=k.device)
    scale = torch.empty(H, 1, dtype=torch.float32, device=k.device)
    tables = tables_on(plan.radix, plan.split, index)
    (spectrum,) = _kernels(plan, index, ("spectrum",), "whole", True, True)
    spectrum.launch((taps, skip, kept, scale, tables, H, K, int(taps.data_ptr() % 16 == 0)), grid=filter_grid(plan, H))
    return StoredSpectrum(kept, scale, K)


def forward(
    plan: OneSmPlan,
    u: Tensor,
    spectrum: StoredSpectrum,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    *,
    fresh: bool = False,
) -> Tensor:
    """y (B, H, N) contiguous. Rows may be strided in B and H; rows strided in N are copied."""
    B, H, N = u.shape
    index = kernels.index_of(u)
    u, gate_in, gate_out = rows(u), optional_rows(gate_in), optional_rows(gate_out)
    y = torch.empty((B, H, N), dtype=u.dtype, device=u.device)
    block = plan.forward_block
    fit = plan.fit(block, B, aligned=host.aligned(u, gate_in, gate_out, y))
    (kernel,) = _kernels(plan, index, ("forward",), fit, gate_in is not None, gate_out is not None)
    tables = tables_on(plan.radix, plan.split, index)
    args = (u, gate_in, gate_out, y, spectrum.filter, spectrum.scale, tables, B, H, N)
    grid = min(plan.card.sm_count * block.per_sm, -(-B // block.rows) * H)
    kernel.launch((*args, *host.strides(u, gate_in, gate_out)), grid=grid, pdl=fresh and plan.has_pdl)
    return y


def backward(
    plan: OneSmPlan,
    dy: Tensor,
    u: Tensor,
    spectrum: StoredSpectrum,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """(du, dk, dD, dgate_in, dgate_out)."""
    B, H, N = u.shape
    device, index = u.device, kernels.index_of(u)
    u, dy, gate_in, gate_out = rows(u), rows(dy.to(u.dtype)), optional_rows(gate_in), optional_rows(gate_out)
    du, dgate_in, dgate_out = host.empty_gradients(u, gate_in, gate_out)
    grid, slices, team = _shares(plan, B, H)
    partial = torch.empty(slices * H * plan.partial_bytes // 4, dtype=torch.float32, device=device)
    progress = (
        None if plan.span == 1 else torch.zeros(slices * H * plan.radix * plan.split, dtype=torch.int32, device=device)
    )
    workspace = torch.empty(grid * plan.kept_bytes // 4, dtype=torch.int32, device=device)
    tables = tables_on(plan.radix, plan.split, index)
    fit = plan.fit(plan.backward_block, B, aligned=host.aligned(u, gate_in, gate_out, dy, du))
    names = ("backward", "filter_grad")
    kernel, filter_grad = _kernels(plan, index, names, fit, gate_in is not None, gate_out is not None)
    tensors = (u, gate_in, gate_out, dy, du, dgate_in, dgate_out)
    args = (*tensors, spectrum.filter, spectrum.scale, partial, progress, workspace, tables, B, H, N, slices, team)
    kernel.launch((*args, *host.strides(u, gate_in, gate_out, dy)), grid=grid, cooperative=team > 1)
    dk = torch.empty((H, spectrum.taps), dtype=torch.float32, device=device)
    dD = torch.empty(H, dtype=torch.float32, device=device)
    left = (partial, dk, dD, tables, H, spectrum.taps, slices, 1)
    filter_grad.launch(left, grid=filter_grid(plan, H), pdl=plan.has_pdl)
    return du, dk, dD, dgate_in, dgate_out
