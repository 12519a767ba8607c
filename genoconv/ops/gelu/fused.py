"""The kernels of `bias_gelu`: launches, and the operators that torch sees."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genoconv.gpu.compiler import Kernel
from genoconv.ops import kernels
from genoconv.ops.registration import differentiable

_THREADS = 256


def _kernel(name: str, width: int, dtype: torch.dtype) -> Kernel:
    defines = {"COLUMNS": kernels.tile_columns(width, threads=_THREADS), "TYPE": kernels.TYPES[dtype]}
    smem = 32 * _THREADS if name == "gelu_backward" else 0
    return kernels.kernel(f"gelu/{name}", threads=_THREADS, smem_bytes=smem, **defines)


def step_kernels(width: int, dtype: torch.dtype) -> Iterator[Kernel]:
    """All that a training step needs."""
    yield _kernel("gelu_forward", width, dtype)
    yield _kernel("gelu_backward", width, dtype)


def _forward(x: Tensor, bias: Tensor) -> Tensor:
    x = x.contiguous()
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    rows, _, _, grid = kernels.tiles(x, threads=_THREADS, blocks_per_sm=16)
    kernel = _kernel("gelu_forward", x.shape[-1], x.dtype)
    kernels.launch(kernel, (x, kernels.singles(bias), y, rows, x.shape[-1]), grid=grid, on=x)
    return y


def _backward(dy: Tensor, x: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """dx, and the gradient of the bias in float32."""
    x, dy = x.contiguous(), dy.contiguous()
    width = x.shape[-1]
    dx = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    rows, _, shares, grid = kernels.tiles(x, threads=_THREADS, blocks_per_sm=4)
    partial = torch.empty((shares, width), dtype=torch.float32, device=x.device)
    kernel = _kernel("gelu_backward", width, x.dtype)
    kernels.launch(kernel, (dy, x, kernels.singles(bias), dx, partial, rows, width), grid=grid, on=x)
    return dx, kernels.column_sums(partial)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(backward: Any, ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
    x, bias = ctx.saved_tensors
    dx, d_bias = backward(dy, x, bias)
    return dx, d_bias.to(bias.dtype)


bias_gelu = differentiable(
    "bias_gelu",
    _forward,
    _backward,
    forward_fake=lambda x, bias: x.new_empty(x.shape),
    backward_fake=lambda dy, x, bias: (x.new_empty(x.shape), x.new_empty(x.shape[-1], dtype=torch.float32)),
    keep=_keep,
    gradients=_gradients,
)
