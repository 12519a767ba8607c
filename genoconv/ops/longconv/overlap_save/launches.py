"""The host's side of the kernels that convolve rows in chunks, each with its neighbour: arguments and workspaces.

Everything is asynchronous on torch's current stream of the rows' device.
"""

import torch
from torch import Tensor

from genoconv.ops import kernels
from genoconv.ops.longconv import host
from genoconv.ops.longconv.chunked import launches as chunked
from genoconv.ops.longconv.one_sm.launches import tables_on
from genoconv.ops.longconv.one_sm.plan import OneSmPlan
from genoconv.ops.longconv.overlap_save.plan import shares_of
from genoconv.ops.longconv.spectrum import StoredSpectrum


def forward(
    plan: OneSmPlan, u: Tensor, spectrum: StoredSpectrum, gate_in: Tensor | None, gate_out: Tensor | None
) -> Tensor:
    """y (B, H, N) contiguous, of rows of any length in chunks of ``plan.size``, which the taps do not exceed."""
    B, H, N = u.shape
    index = kernels.index_of(u)
    u, gate_in, gate_out = host.rows(u), host.optional_rows(gate_in), host.optional_rows(gate_out)
    y = torch.empty((B, H, N), dtype=u.dtype, device=u.device)
    kernel = plan.chunk_kernel(
        aligned=host.aligned(u, gate_in, gate_out, y), gate_in=gate_in is not None, gate_out=gate_out is not None
    )
    (loaded,) = host.loaded((kernel,), plan.card.arch, index)
    count = -(-N // plan.size)
    tables = tables_on(plan.radix, plan.split, index)
    args = (u, gate_in, gate_out, y, spectrum.filter, spectrum.scale, tables, B, H, count, N)
    loaded.launch((*args, *host.strides(u, gate_in, gate_out)), grid=plan.chunk_grid(B * H * count))
    return y


def backward(
    plan: OneSmPlan,
    dy: Tensor,
    u: Tensor,
    spectrum: StoredSpectrum,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """(du, dk, dD, dgate_in, dgate_out) of :func:`forward`, rows contiguous."""
    B, H, N = u.shape
    index, device = kernels.index_of(u), u.device
    dy, u, gate_in, gate_out = host.rows_for_gradients(dy, u, gate_in, gate_out)
    du, dgate_in, dgate_out = host.empty_gradients(u, gate_in, gate_out)
    kernel = plan.row_chunk_kernel(
        "partial_gradients",
        aligned=host.aligned(u, gate_in, gate_out, dy, du),
        gate_in=gate_in is not None,
        gate_out=gate_out is not None,
    )
    loaded, filter_grad = host.loaded((kernel, plan.kernel("filter_grad")), plan.card.arch, index)
    shares = shares_of(
        B * -(-N // plan.size), channels=H, blocks=plan.chunk_blocks, most=(1 << 30) // (H * plan.partial_bytes)
    )
    grid = min(plan.chunk_blocks, H * shares)
    partial = torch.empty(shares * H * plan.partial_bytes // 4, dtype=torch.float32, device=device)
    workspace = torch.empty(grid * 3 * plan.size, dtype=torch.int32, device=device)
    tables = tables_on(plan.radix, plan.split, index)
    tensors = (u, gate_in, gate_out, dy, du, dgate_in, dgate_out)
    args = (*tensors, spectrum.filter, spectrum.scale, partial, tables, workspace, B, H, N, shares)
    loaded.launch((*args, *host.strides(u, gate_in, gate_out, dy)), grid=grid)
    dk, dD = chunked.filter_gradients(plan, filter_grad, partial, (H, spectrum.taps), slices=shares)
    return du, dk, dD, dgate_in, dgate_out
