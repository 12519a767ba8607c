"""The kernels of `gated_short_conv`: launches, and the operators that torch sees."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genoconv.gpu.compiler import Kernel
from genoconv.ops import kernels
from genoconv.ops.registration import differentiable

_THREADS = 128


def _kernel(name: str, u: Tensor, width: int, *rows: Tensor) -> Kernel:
    whole = u.shape[2] % kernels.CHUNK == 0 and kernels.aligned(u, *rows)
    return _sized(name, width, whole=whole, dtype=u.dtype)


def step_kernels(length: int, width: int, dtype: torch.dtype) -> Iterator[Kernel]:
    """All that a training step needs for rows of so many positions and so many taps."""
    for name in ("short_conv_forward", "short_conv_backward"):
        yield _sized(name, width, whole=length % kernels.CHUNK == 0, dtype=dtype)


def _sized(name: str, width: int, *, whole: bool, dtype: torch.dtype) -> Kernel:
    defines = {"WIDTH": width, "ALIGNED": int(whole), "TYPE": kernels.TYPES[dtype]}
    smem = 4 * 3 * (width + 2) * _THREADS // 32 if name == "short_conv_backward" else 0
    return kernels.kernel(f"short_conv/{name}", threads=_THREADS, smem_bytes=smem, **defines)


def _slices(u: Tensor, chunks_per_thread: int) -> int:
    """Blocks that share the chunks of one channel."""
    chunks = u.shape[0] * -(-u.shape[2] // kernels.CHUNK)
    return -(-chunks // (_THREADS * chunks_per_thread))


def _forward(u: Tensor, weight: Tensor, bias: Tensor | None, u_bias: Tensor | None) -> tuple[Tensor, Tensor]:
    u = u.contiguous()
    B, rows, N = u.shape
    D = rows // 3
    gate, values = (torch.empty((B, D, N), dtype=u.dtype, device=u.device) for _ in range(2))
    lift, added = _optional(u_bias), _optional(bias)
    kernel = _kernel("short_conv_forward", u, weight.shape[2], gate, values)
    args = (u, lift, kernels.singles(weight), added, gate, values, B, D, N)
    kernels.launch(kernel, args, grid=D * _slices(u, 4), on=u)
    return gate, values


def _backward(
    d_gate: Tensor, d_values: Tensor, u: Tensor, weight: Tensor, bias: Tensor | None, u_bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """du, and in float32 one after the other the gradients of weight, bias and u_bias."""
    u, d_gate, d_values = u.contiguous(), d_gate.contiguous(), d_values.contiguous()
    B, rows, N = u.shape
    D, K = rows // 3, weight.shape[2]
    du = torch.empty(u.shape, dtype=u.dtype, device=u.device)
    slices = _slices(u, 16)
    partial = torch.empty((slices, rows * (K + 2)), dtype=torch.float32, device=u.device)
    kernel = _kernel("short_conv_backward", u, K, d_gate, d_values, du)
    lift, added = _optional(u_bias), _optional(bias)
    args = (d_gate, d_values, u, lift, kernels.singles(weight), added, du, partial, B, D, N)
    kernels.launch(kernel, args, grid=D * slices, on=u)
    return du, kernels.column_sums(partial)


def _optional(x: Tensor | None) -> Tensor | None:
    return None if x is None else kernels.singles(x)


def _forward_fake(u: Tensor, weight: Tensor, bias: Any, u_bias: Any) -> tuple[Tensor, Tensor]:
    B, rows, N = u.shape
    return u.new_empty((B, rows // 3, N)), u.new_empty((B, rows // 3, N))


def _backward_fake(
    d_gate: Tensor, d_values: Tensor, u: Tensor, weight: Tensor, bias: Any, u_bias: Any
) -> tuple[Tensor, Tensor]:
    return u.new_empty(u.shape), u.new_empty(u.shape[1] * (weight.shape[2] + 2), dtype=torch.float32)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(backward: Any, ctx: Any, d_gate: Tensor, d_values: Tensor) -> tuple[Tensor | None, ...]:
    u, weight, bias, u_bias = ctx.saved_tensors
    du, sums = backward(d_gate, d_values, u, weight, bias, u_bias)
    rows = u.shape[1]
    d_weight, d_bias, d_lift = sums.split_with_sizes((weight.numel(), rows, rows))
    return (
        du,
        d_weight.view(weight.shape).to(weight.dtype),
        None if bias is None else d_bias.to(bias.dtype),
        None if u_bias is None else d_lift.to(u_bias.dtype),
    )


gated_short_conv = differentiable(
    "gated_short_conv",
    _forward,
    _backward,
    forward_fake=_forward_fake,
    backward_fake=_backward_fake,
    keep=_keep,
    gradients=_gradients,
)
