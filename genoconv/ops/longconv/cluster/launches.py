"""The host's side of the kernels of clusters: arguments and grids.

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
    wanted = plan.kernel(aligned=aligned, gate_in=gate_in, gate_out=gate_out)
    (loaded,) = host.loaded((wanted,), plan.card.arch, index)
    return loaded


def prepare_filter(plan: ClusterPlan, k: Tensor, D: Tensor | None) -> StoredSpectrum:
    """G_0 + D, G_1, ... of every channel. k: (H, K) on a CUDA device, K <= plan.size. D: (H,)."""
    made = chunked.prepare_filter(plan.part, k, D, plan.blocks)
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
    clusters = min(B * H, kernel.clusters(plan.blocks))
    tables = one_sm.tables_on(plan.part.radix, plan.part.split, index)
    args = (u, gate_in, gate_out, y, spectrum.filter, spectrum.scale, tables, B, H, N)
    strides = host.strides(u, gate_in, gate_out)
    kernel.launch((*args, *strides), grid=plan.blocks * clusters, cluster=plan.blocks)
    return y
