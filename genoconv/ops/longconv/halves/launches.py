"""The host's side of the kernels of halves: arguments, grids and workspaces.

Everything is asynchronous on torch's current stream of the rows' device.
"""

from functools import cache

import torch
from torch import Tensor

from genoconv.gpu.launch import Loaded
from genoconv.ops import kernels
from genoconv.ops.longconv import host
from genoconv.ops.longconv.halves.plan import HalvesPlan
from genoconv.ops.longconv.one_sm.launches import filter_grid, optional_rows, rows, tables_on
from genoconv.ops.longconv.one_sm.plan import Fit
from genoconv.ops.longconv.spectrum import StoredSpectrum


@cache
def _kernel(plan: HalvesPlan, index: int, fit: Fit, gate_in: bool, gate_out: bool) -> Loaded:
    (loaded,) = host.loaded((plan.kernel(fit=fit, gate_in=gate_in, gate_out=gate_out),), plan.card.arch, index)
    return loaded


def prepare_filter(plan: HalvesPlan, k: Tensor, D: Tensor | None) -> StoredSpectrum:
    """T(k0) + D and T(k1) of every channel. k: (H, K) on a CUDA device, K <= plan.size. D: (H,)."""
    index = kernels.index_of(k)
    taps, skip = kernels.singles(k), None if D is None else kernels.singles(D)
    H, K = taps.shape
    kept = torch.empty(H, plan.size, dtype=torch.int32, device=k.device)
    scale = torch.empty(H, 1, dtype=torch.float32, device=k.device)
    (spectrum,) = host.loaded((plan.filter_kernel,), plan.card.arch, index)
    words = tables_on(plan.part.radix, plan.part.split, index)
    args = (taps, skip, kept, scale, words, H, K, int(taps.data_ptr() % 16 == 0))
    spectrum.launch(args, grid=filter_grid(plan.part, H))
    return StoredSpectrum(kept, scale, K)


def forward(
    plan: HalvesPlan,
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
    fit = plan.fit(aligned=host.aligned(u, gate_in, gate_out, y))
    kernel = _kernel(plan, index, fit, gate_in is not None, gate_out is not None)
    grid = plan.grid(B * H)
    workspace = torch.empty(grid * plan.kept_bytes // 4, dtype=torch.int32, device=u.device)
    words = tables_on(plan.part.radix, plan.part.split, index)
    args = (u, gate_in, gate_out, y, spectrum.filter, spectrum.scale, workspace, words, B, H, N)
    kernel.launch((*args, *host.strides(u, gate_in, gate_out)), grid=grid, pdl=fresh and plan.has_pdl)
    return y
