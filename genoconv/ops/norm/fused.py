"""The kernels of `add_norm`: launches, and the operators that torch sees."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genoconv.gpu.compiler import Kernel
from genoconv.ops import kernels
from genoconv.ops.kernels import TYPES
from genoconv.ops.registration import differentiable

_NO_BRANCH = 3
_WARPS = 8


def _kernel(name: str, width: int, branch: int, out: int) -> Kernel:
    lanes = _lanes(width)
    smem = _WARPS * (32 // lanes) * width * 4 if name == "norm_backward" else 0
    defines = {"NORM_WIDTH": width, "NORM_LANES": lanes, "BRANCH_TYPE": branch, "OUT_TYPE": out}
    return kernels.kernel(f"norm/{name}", threads=32 * _WARPS, smem_bytes=smem, **defines)


def step_kernels(width: int, dtype: torch.dtype) -> Iterator[Kernel]:
    """All that a training step needs, with branches and results of `dtype`."""
    for branch in (_NO_BRANCH, TYPES[dtype]):
        yield _kernel("norm_forward", width, branch, TYPES[dtype])
        yield _kernel("norm_backward", width, branch, TYPES[dtype])


def _lanes(width: int) -> int:
    """Lanes that share a row: as many as it has chunks, a power of two."""
    return min(32, 1 << (width // kernels.CHUNK - 1).bit_length())


def _grid(rows: Tensor, blocks_per_sm: int) -> int:
    width = rows.shape[-1]
    per_block = _WARPS * (32 // _lanes(width))
    return min(-(-(rows.numel() // width) // per_block), blocks_per_sm * kernels.card(rows).sm_count)


def _forward(
    residual: Tensor,
    weight: Tensor,
    bias: Tensor,
    branch: Tensor | None,
    branch_bias: Tensor | None,
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The sum (empty without a branch), the normalised rows, mean and 1 / standard deviation of every row."""
    residual = residual.contiguous()
    width = residual.shape[-1]
    rows = residual.numel() // width
    branch = None if branch is None else branch.contiguous()
    total = residual.new_empty(0 if branch is None else residual.shape)
    out = torch.empty(residual.shape, dtype=dtype, device=residual.device)
    mean, rstd = (torch.empty(rows, dtype=torch.float32, device=residual.device) for _ in range(2))
    kernel = _kernel("norm_forward", width, _NO_BRANCH if branch is None else TYPES[branch.dtype], TYPES[dtype])
    lift = None if branch_bias is None else kernels.singles(branch_bias)
    scale, shift = kernels.singles(weight), kernels.singles(bias)
    args = (residual, branch, lift, scale, shift, None if branch is None else total, out, mean, rstd)
    kernels.launch(kernel, (*args, rows, kernels.bits(eps)), grid=_grid(residual, 6), on=residual)
    return total, out, mean, rstd


def _backward(
    d_out: Tensor, d_total: Tensor | None, total: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor, branch: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the residual and of a 16-bit branch (else empty), and (3, D): of weight, bias and branch_bias."""
    width = total.shape[-1]
    rows = total.numel() // width
    d_out = d_out.contiguous()
    d_total = None if d_total is None else d_total.contiguous()
    d_residual = torch.empty(total.shape, dtype=torch.float32, device=total.device)
    low = {number: dtype for dtype, number in TYPES.items() if number}.get(branch)
    d_branch = torch.empty(0 if low is None else total.shape, dtype=low, device=total.device)
    grid = _grid(total, 3)
    partial = torch.empty((grid, 3, width), dtype=torch.float32, device=total.device)
    kernel = _kernel("norm_backward", width, branch, TYPES[d_out.dtype])
    args = (d_out, d_total, total, kernels.singles(weight), mean, rstd, d_residual, d_branch, partial, rows)
    kernels.launch(kernel, args, grid=grid, on=total)
    return d_residual, d_branch, kernels.column_sums(partial)


def _forward_fake(
    residual: Tensor, weight: Tensor, bias: Tensor, branch: Any, branch_bias: Any, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = residual.numel() // residual.shape[-1]
    total = residual.new_empty(0 if branch is None else residual.shape)
    return total, residual.new_empty(residual.shape, dtype=dtype), residual.new_empty(rows), residual.new_empty(rows)


def _backward_fake(
    d_out: Tensor, d_total: Any, total: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor, branch: int
) -> tuple[Tensor, Tensor, Tensor]:
    low = {number: dtype for dtype, number in TYPES.items() if number}.get(branch)
    d_branch = total.new_empty(0 if low is None else total.shape, dtype=low)
    return total.new_empty(total.shape), d_branch, total.new_empty((3, total.shape[-1]))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    residual, weight, bias, branch, branch_bias, _, _ = inputs
    total, _, mean, rstd = output
    ctx.mark_non_differentiable(mean, rstd)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(residual if branch is None else total, weight, mean, rstd)
    ctx.branch = None if branch is None else branch.dtype
    ctx.types = weight.dtype, bias.dtype, None if branch_bias is None else branch_bias.dtype


def _gradients(backward: Any, ctx: Any, d_total: Tensor | None, d_out: Tensor | None, *_: Any) -> tuple[Any, ...]:
    total, weight, mean, rstd = ctx.saved_tensors
    if ctx.branch is None:
        d_total = None  # that sum is empty
    if d_out is None:
        d_out = torch.zeros_like(total)
    number = _NO_BRANCH if ctx.branch is None else TYPES[ctx.branch]
    d_residual, d_branch, sums = backward(d_out, d_total, total, weight, mean, rstd, number)
    of_weight, of_bias, of_lift = ctx.types
    d_lift = None if of_lift is None else sums[2].to(of_lift)
    if ctx.branch is None:
        d_branch = None
    elif ctx.branch == torch.float32:
        d_branch = d_residual
    return d_residual, sums[0].to(of_weight), sums[1].to(of_bias), d_branch, d_lift, None, None


_operator = differentiable(
    "add_norm",
    _forward,
    _backward,
    forward_fake=_forward_fake,
    backward_fake=_backward_fake,
    keep=_keep,
    gradients=_gradients,
)


def add_norm(
    residual: Tensor,
    weight: Tensor,
    bias: Tensor,
    branch: Tensor | None,
    branch_bias: Tensor | None,
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """As :func:`genoconv.ops.add_norm`, for rows that the kernels serve."""
    total, out, _, _ = _operator(residual, weight, bias, branch, branch_bias, eps, dtype)
    return residual if branch is None else total, out
