"""The host's side of the kernels of clusters: arguments, grids and workspaces.

Everything is asynchronous on torch's current stream of the rows' device.
"""

from functools import cache

import torch
from torch import Tensor

from genoconv.gpu.launch import Loaded
from genoconv.ops import kernels
from genoconv.ops.longconv import host
from genoconv.ops.longconv.chunked import launches as chunked
from genoconv.ops.longconv.cluster.plan import ClusterPlan
from genoconv.ops.longconv.one_sm import launches as one_sm
from genoconv.ops.longconv.spectrum import StoredSpectrum


@cache
def _kernel(plan: ClusterPlan, index: int, aligned: bool, gate_in: bool, gate_out: bool) -> Loaded:
    wanted = plan.kernel("cluster_rows", aligned=aligned, gate_in=gate_in, gate_out=gate_out)
    (loaded,) = host.loaded((wanted,), plan.card.arch, index)
    return loaded


def prepare_filter(plan: ClusterPlan, k: Tensor, D: Tensor | None) -> StoredSpectrum:
    """G_0 + D, G_1, ... of every channel. k: (H, K) on a CUDA device, K <= plan.size. D: (H,)."""
    made = chunked.prepare_filter(plan.part, k, D, plan.parts)
    return StoredSpectrum(made.filter.view(k.shape[0], plan.size), made.scale, made.taps)


def forward(
    plan: ClusterPlan,
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
    u, gate_in, gate_out = one_sm.rows(u), one_sm.optional_rows(gate_in), one_sm.optional_rows(gate_out)
    y = torch.empty((B, H, N), dtype=u.dtype, device=u.device)
    aligned = host.aligned(u, gate_in, gate_out, y)
    kernel = _kernel(plan, index, aligned, gate_in is not None, gate_out is not None)
    clusters = min(B * H, kernel.clusters(plan.parts))
    tables = one_sm.tables_on(plan.part.radix, plan.part.split, index)
    args = (u, gate_in, gate_out, y, spectrum.filter, spectrum.scale, tables, B, H, N)
    strides = host.strides(u, gate_in, gate_out)
    kernel.launch((*args, *strides), grid=plan.parts * clusters, cluster=plan.parts)
    return y


def backward(
    plan: ClusterPlan,
    dy: Tensor,
    u: Tensor,
    spectrum: StoredSpectrum,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """(du, dk, dD, dgate_in, dgate_out), rows contiguous. Rows may be strided in B and H, by any number."""
    B, H, N = u.shape
    index, device = kernels.index_of(u), u.device
    dy, u, gate_in, gate_out = host.rows_for_gradients(dy, u, gate_in, gate_out)
    du, dgate_in, dgate_out = host.empty_gradients(u, gate_in, gate_out)
    wanted = plan.kernel(
        "cluster_gradients",
        aligned=host.aligned(u, gate_in, gate_out, dy, du),
        gate_in=gate_in is not None,
        gate_out=gate_out is not None,
    )
    kernel, filter_grad = host.loaded((wanted, plan.filter_kernels[1]), plan.card.arch, index)
    at_once = kernel.clusters(plan.parts)
    slices = plan.slices(B, H, clusters=at_once)
    clusters = min(H * slices, at_once)
    partial = torch.empty(plan.sums_bytes(H * slices) // 4, dtype=torch.float32, device=device)
    workspace = torch.empty(plan.kept_bytes(clusters) // 4, dtype=torch.int32, device=device)
    tables = one_sm.tables_on(plan.part.radix, plan.part.split, index)
    tensors = (u, gate_in, gate_out, dy, du, dgate_in, dgate_out)
    args = (*tensors, spectrum.filter, spectrum.scale, partial, tables, workspace, B, H, N, slices)
    strides = host.strides(u, gate_in, gate_out, dy)
    kernel.launch((*args, *strides), grid=plan.parts * clusters, cluster=plan.parts)
    dk, dD = chunked.filter_gradients(plan.part, filter_grad, partial, (H, spectrum.taps), slices=slices)
    return du, dk, dD, dgate_in, dgate_out
