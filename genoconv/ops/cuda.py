"""The fused kernels from the host's side: what they serve, their arguments, grids and workspaces.

Letters as in `genoconv.ops.conv`: B batch, H channels, N positions, K taps. Everything is asynchronous on torch's
current stream of the rows' device.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from genoconv.ops import jit
from genoconv.ops.plan import Plan, choose_plan, longest

_DTYPES = {torch.bfloat16: "bfloat16", torch.float16: "float16"}


@dataclass(frozen=True)
class CudaSpectrum:
    """T(k) + D of H filters in the kernels' order.

    filter: (H, size) complex fp16 as int32, each channel scaled by a power of two that `scale` (H,) fp32 undoes.
    size: points of the transform; it serves rows of the same plan size only. taps: K. length: rows it was made for.
    """

    filter: Tensor
    scale: Tensor
    size: int
    taps: int
    length: int


@dataclass(frozen=True)
class _Device:
    arch: str
    smem: int
    sm_count: int


@cache
def _device(index: int) -> _Device:
    p: Any = torch.cuda.get_device_properties(index)
    return _Device(f"sm_{p.major}{p.minor}", p.shared_memory_per_block_optin, p.multi_processor_count)


@cache
def _tables(radix: int, split: int, index: int) -> Tensor:
    from genoconv.ops.tables import build

    return torch.from_numpy(build(radix, split).view("int32").copy()).to(torch.device("cuda", index))


def _index(x: Tensor) -> int:
    return torch.cuda.current_device() if x.device.index is None else int(x.device.index)


def supports(u: Tensor) -> str | None:
    """None where the kernels serve rows u (B, H, N); otherwise why not, and the way out."""
    if u.device.type != "cuda":
        return f"the kernels need CUDA tensors, u is on {u.device.type}: move it, or use backend='torch'"
    if u.dtype not in _DTYPES:
        return f"the kernels take bfloat16 or float16 rows, u is {u.dtype}: cast it, or use backend='torch'"
    device = _device(_index(u))
    if int(device.arch[3:]) < 80:
        return f"the kernels need compute capability 8.0 or later, this GPU is {device.arch}: use backend='torch'"
    length, limit = u.shape[-1], longest(device.smem)
    if length > limit:
        return (
            f"rows of {length:,} positions exceed the {limit:,} that one block of this GPU holds: "
            f"use backend='torch' (auto does)"
        )
    return None


def plan_for(u: Tensor, taps: int | None = None) -> Plan:
    """The plan of rows u (B, H, N) on their own device."""
    return _plan(u.shape[-1], taps, _DTYPES.get(u.dtype, "bfloat16"), _index(u))


@cache
def _plan(length: int, taps: int | None, dtype: str, index: int) -> Plan:
    device = _device(index)
    return choose_plan(
        length,
        filter_length=taps,
        dtype=dtype,
        arch=device.arch,
        smem_per_block=device.smem,
        sm_count=device.sm_count,
    )


def prepare_filter(k: Tensor, D: Tensor | None, length: int) -> CudaSpectrum:
    """T(k) + D for rows of `length` positions. k: (H, K) fp32 on a CUDA device, K <= length; D: (H,) or None."""
    plan = _plan(length, None, "bfloat16", _index(k))
    taps = k.detach().float().contiguous()
    skip = None if D is None else D.detach().to(k.device, torch.float32).contiguous()
    channels = k.shape[0]
    out = torch.empty(channels, plan.size, dtype=torch.int32, device=k.device)
    scale = torch.empty(channels, dtype=torch.float32, device=k.device)
    args = (taps, skip, out, scale, _tables(plan.radix, plan.split, _index(k)), channels, k.shape[1])
    jit.launch(plan.kernel("spectrum"), args, grid=-(-channels // plan.rows_per_step), device=k.device, arch=plan.arch)
    return CudaSpectrum(out, scale, plan.size, k.shape[1], length)


def forward(u: Tensor, spectrum: CudaSpectrum, gate_in: Tensor | None, gate_out: Tensor | None) -> Tensor:
    """y (B, H, N) contiguous, of u's type. Rows may be strided in B and H; rows strided in N are copied."""
    plan = plan_for(u)
    B, H, N = u.shape
    u, gate_in, gate_out = _rows(u), _optional_rows(gate_in), _optional_rows(gate_out)
    y = torch.empty((B, H, N), dtype=u.dtype, device=u.device)
    kernel = plan.kernel(
        "forward",
        aligned=_aligned(u, gate_in, gate_out, y),
        gate_in=gate_in is not None,
        gate_out=gate_out is not None,
    )
    tables = _tables(plan.radix, plan.split, _index(u))
    args = (u, gate_in, gate_out, y, spectrum.filter, spectrum.scale, tables, B, H, N)
    work = -(-B // plan.rows_per_step) * H
    jit.launch(
        kernel,
        (*args, *_strides(u, gate_in, gate_out)),
        grid=min(plan.sm_count, work),
        device=u.device,
        arch=plan.arch,
    )
    return y


def backward(
    dy: Tensor,
    u: Tensor,
    spectrum: CudaSpectrum,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    taps: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """(du, dk, dD, dgate_in, dgate_out): rows of u's type, dk (H, K) and dD (H,) fp32. Bitwise repeatable."""
    plan = plan_for(u)
    B, H, N = u.shape
    device = u.device
    u, dy, gate_in, gate_out = _rows(u), _rows(dy.to(u.dtype)), _optional_rows(gate_in), _optional_rows(gate_out)
    du = torch.empty((B, H, N), dtype=u.dtype, device=device)
    dgate_in = None if gate_in is None else torch.empty_like(du)
    dgate_out = None if gate_out is None else torch.empty_like(du)
    slices = plan.slices(B, H)
    grid = min(plan.sm_count, H * slices)
    partial = torch.empty(slices * H * plan.partial_bytes // 4, dtype=torch.float32, device=device)
    kept = 0 if plan.spectrum_in_smem else grid * plan.tiles * 4096
    workspace = torch.empty(kept, dtype=torch.int32, device=device)
    tables = _tables(plan.radix, plan.split, _index(u))
    kernel = plan.kernel(
        "backward",
        aligned=_aligned(u, gate_in, gate_out, dy, du),
        gate_in=gate_in is not None,
        gate_out=gate_out is not None,
    )
    rows = (u, gate_in, gate_out, dy, du, dgate_in, dgate_out)
    args = (*rows, spectrum.filter, spectrum.scale, partial, workspace, tables, B, H, N, slices)
    jit.launch(kernel, (*args, *_strides(u, gate_in, gate_out, dy)), grid=grid, device=device, arch=plan.arch)
    dk = torch.empty((H, taps), dtype=torch.float32, device=device)
    dD = torch.empty(H, dtype=torch.float32, device=device)
    blocks = -(-H // plan.rows_per_step)
    jit.launch(
        plan.kernel("filter_grad"),
        (partial, dk, dD, tables, H, taps, slices),
        grid=blocks,
        device=device,
        arch=plan.arch,
    )
    return du, dk, dD, dgate_in, dgate_out


class Long(int):
    """An argument that the kernel takes as a 64-bit integer; plain ints are 32-bit."""


def _rows(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def _optional_rows(x: Tensor | None) -> Tensor | None:
    return None if x is None else _rows(x)


def _strides(*tensors: Tensor | None) -> list[Long]:
    return [Long(0 if x is None else x.stride(axis)) for x in tensors for axis in (0, 1)]


def _aligned(*tensors: Tensor | None) -> bool:
    return all(
        x is None or (x.shape[-1] % 8 == 0 and x.data_ptr() % 16 == 0 and x.stride(0) % 8 == 0 and x.stride(1) % 8 == 0)
        for x in tensors
    )
