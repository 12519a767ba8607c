"""The fused kernels from the host's side: what they serve, their arguments, grids and workspaces.

Letters as in `genoconv.ops.longconv.conv`: B batch, H channels, N positions, K taps. Everything is asynchronous on
torch's current stream of the rows' device.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from genoconv.gpu import jit
from genoconv.ops.longconv.one_sm.blocks import SIZES
from genoconv.ops.longconv.one_sm.plan import Fit, Plan, Shares, choose_plan, longest

LARGEST_STRIDE = 2**32 - 1  # elements
DTYPES = {torch.bfloat16: "bfloat16", torch.float16: "float16"}


@dataclass(frozen=True)
class CudaSpectrum:
    """T(k) + D of H filters in the kernels' order.

    filter: (H, size) complex fp16 as int32, each channel scaled by a power of two that `scale` (H,) fp32 undoes.
    size: points of the transform; it serves rows of the same `transform_size` only. taps: K.
    """

    filter: Tensor
    scale: Tensor
    size: int
    taps: int


@dataclass(frozen=True)
class Gpu:
    """arch: sm_90 and so on. smem: bytes of shared memory a block may use. limit: longest row, positions; 0: none."""

    arch: str
    smem: int
    sm_count: int
    limit: int


@cache
def gpu(index: int) -> Gpu:
    """What the plans need to know of GPU ``index``."""
    p: Any = torch.cuda.get_device_properties(index)
    smem = p.shared_memory_per_block_optin
    limit = longest(smem) if p.major >= 8 else 0
    return Gpu(f"sm_{p.major}{p.minor}", smem, p.multi_processor_count, limit)


@cache
def _tables(radix: int, split: int, index: int) -> Tensor:
    from genoconv.ops.longconv.one_sm.tables import build

    return torch.from_numpy(build(radix, split).view("int32").copy()).to(torch.device("cuda", index))


def _index(x: Tensor) -> int:
    return torch.cuda.current_device() if x.device.index is None else int(x.device.index)


def transform_size(length: int) -> int:
    """Points of the transform that rows of ``length`` positions take, on every device."""
    return next(size for size in SIZES if size >= length)


@cache
def _plan(length: int, dtype: torch.dtype, index: int) -> Plan:
    on = gpu(index)
    return choose_plan(length, dtype=DTYPES[dtype], arch=on.arch, smem_per_block=on.smem, sm_count=on.sm_count)


@cache
def _shares(plan: Plan, batches: int, channels: int) -> Shares:
    return plan.share_out(batches, channels)


@cache
def _kernels(
    plan: Plan, index: int, names: tuple[str, ...], fit: Fit, gate_in: bool, gate_out: bool
) -> tuple[jit.Loaded, ...]:
    kernels = [plan.kernel(name, fit=fit, gate_in=gate_in, gate_out=gate_out) for name in names]
    return jit.load_all(kernels, arch=plan.arch, index=index)


def _filter_grid(plan: Plan, channels: int) -> int:
    return min(-(-channels // plan.filters.rows), plan.sm_count * plan.filters.per_sm)


def prepare_filter(k: Tensor, D: Tensor | None, length: int) -> CudaSpectrum:
    """T(k) + D for rows that take the same transform as `length` positions do.

    k: (H, K) on a CUDA device, K <= `transform_size(length)`; taps past a row's end change nothing in it. D: (H,).
    """
    index = _index(k)
    plan = _plan(length, torch.bfloat16, index)
    taps, skip = _singles(k), None if D is None else _singles(D)
    H, K = taps.shape
    kept = torch.empty(H, plan.size, dtype=torch.int32, device=k.device)
    scale = torch.empty(H, dtype=torch.float32, device=k.device)
    tables = _tables(plan.radix, plan.split, index)
    (spectrum,) = _kernels(plan, index, ("spectrum",), "whole", True, True)
    spectrum.launch((taps, skip, kept, scale, tables, H, K, int(taps.data_ptr() % 16 == 0)), grid=_filter_grid(plan, H))
    return CudaSpectrum(kept, scale, plan.size, K)


def convolve(
    u: Tensor,
    k: Tensor | None,
    D: Tensor | None,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    made: CudaSpectrum | None = None,
) -> tuple[Tensor, CudaSpectrum]:
    """y as :func:`forward` gives it, and T(k) + D: `made`, or else from k and D."""
    if made is not None:
        return forward(u, made, gate_in, gate_out), made
    assert k is not None
    spectrum = prepare_filter(k, D, u.shape[-1])
    return forward(u, spectrum, gate_in, gate_out, fresh=True), spectrum


def forward(
    u: Tensor, spectrum: CudaSpectrum, gate_in: Tensor | None, gate_out: Tensor | None, *, fresh: bool = False
) -> Tensor:
    """y (B, H, N) contiguous, of u's type. Rows may be strided in B and H; rows strided in N are copied.

    fresh: nothing that these rows depend on was queued on the stream since the kernel that makes `spectrum`.
    """
    B, H, N = u.shape
    index = _index(u)
    plan = _plan(N, u.dtype, index)
    u, gate_in, gate_out = _rows(u), _optional_rows(gate_in), _optional_rows(gate_out)
    y = torch.empty((B, H, N), dtype=u.dtype, device=u.device)
    block = plan.forward
    fit = plan.fit(block, B, aligned=_aligned(u, gate_in, gate_out, y))
    (kernel,) = _kernels(plan, index, ("forward",), fit, gate_in is not None, gate_out is not None)
    tables = _tables(plan.radix, plan.split, index)
    args = (u, gate_in, gate_out, y, spectrum.filter, spectrum.scale, tables, B, H, N)
    grid = min(plan.sm_count * block.per_sm, -(-B // block.rows) * H)
    kernel.launch((*args, *_strides(u, gate_in, gate_out)), grid=grid, early=fresh and plan.begins_early)
    return y


def backward(
    dy: Tensor,
    u: Tensor,
    spectrum: CudaSpectrum,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """(du, dk, dD, dgate_in, dgate_out): rows of u's type, dk (H, K) and dD (H,) fp32. Bitwise repeatable."""
    B, H, N = u.shape
    device, index = u.device, _index(u)
    plan = _plan(N, u.dtype, index)
    u, dy, gate_in, gate_out = _rows(u), _rows(dy.to(u.dtype)), _optional_rows(gate_in), _optional_rows(gate_out)
    du = torch.empty((B, H, N), dtype=u.dtype, device=device)
    dgate_in = None if gate_in is None else torch.empty_like(du)
    dgate_out = None if gate_out is None else torch.empty_like(du)
    grid, slices, team = _shares(plan, B, H)
    partial = torch.empty(slices * H * plan.partial_bytes // 4, dtype=torch.float32, device=device)
    progress = (
        None if plan.span == 1 else torch.zeros(slices * H * plan.radix * plan.split, dtype=torch.int32, device=device)
    )
    workspace = torch.empty(grid * plan.workspace_bytes // 4, dtype=torch.int32, device=device)
    tables = _tables(plan.radix, plan.split, index)
    fit = plan.fit(plan.backward, B, aligned=_aligned(u, gate_in, gate_out, dy, du))
    names = ("backward", "filter_grad")
    kernel, filter_grad = _kernels(plan, index, names, fit, gate_in is not None, gate_out is not None)
    rows = (u, gate_in, gate_out, dy, du, dgate_in, dgate_out)
    args = (*rows, spectrum.filter, spectrum.scale, partial, progress, workspace, tables, B, H, N, slices, team)
    kernel.launch((*args, *_strides(u, gate_in, gate_out, dy)), grid=grid, together=team > 1)
    dk = torch.empty((H, spectrum.taps), dtype=torch.float32, device=device)
    dD = torch.empty(H, dtype=torch.float32, device=device)
    left = (partial, dk, dD, tables, H, spectrum.taps, slices)
    filter_grad.launch(left, grid=_filter_grid(plan, H), early=plan.begins_early)
    return du, dk, dD, dgate_in, dgate_out


def _singles(x: Tensor) -> Tensor:
    return x if x.dtype is torch.float32 and x.is_contiguous() else x.detach().float().contiguous()


def _rows(x: Tensor) -> Tensor:
    """x as the kernels take it: N contiguous, strides in 32 bits."""
    batch, channel, position = x.stride()
    whole = position == 1 or x.shape[-1] == 1
    return x if whole and batch <= LARGEST_STRIDE and channel <= LARGEST_STRIDE else x.contiguous()


def _optional_rows(x: Tensor | None) -> Tensor | None:
    return None if x is None else _rows(x)


def _strides(*tensors: Tensor | None) -> list[int]:
    """Of batch and channel, of each; zeros for one that is not there."""
    return [stride for x in tensors for stride in ((0, 0) if x is None else x.stride()[:2])]


def _aligned(*tensors: Tensor | None) -> bool:
    return all(x is None or _starts_aligned(x) for x in tensors)


def _starts_aligned(x: Tensor) -> bool:
    """Whether every row starts on 16 bytes and has whole pieces of 16 bytes."""
    if x.shape[-1] % 8 or x.data_ptr() % 16:
        return False
    return x.is_contiguous() or (x.stride(0) % 8 == 0 and x.stride(1) % 8 == 0)
