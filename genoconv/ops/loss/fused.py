"""The kernels of `next_token_sums`: launches, and the operators that torch sees."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genoconv.gpu.compiler import Kernel
from genoconv.ops import kernels
from genoconv.ops.registration import differentiable

_THREADS = 256


def step_kernels(vocabulary: int, first: int, count: int, dtype: torch.dtype) -> Iterator[Kernel]:
    """All that a training step needs."""
    for name in ("loss_forward", "loss_backward"):
        yield _kernel(name, vocabulary, first, count, dtype)


def _kernel(name: str, vocabulary: int, first: int, count: int, dtype: torch.dtype) -> Kernel:
    defines = {"VOCABULARY": vocabulary, "FIRST": first, "COUNT": count, "TYPE": kernels.TYPES[dtype]}
    smem = 8 * _THREADS // 32 if name == "loss_forward" else 0
    return kernels.kernel(f"loss/{name}", threads=_THREADS, smem_bytes=smem, **defines)


def _grid(rows: int, like: Tensor) -> int:
    return min(-(-rows // _THREADS), 8 * kernels.card(like).sm_count)


def _forward(logits: Tensor, ids: Tensor, weights: Tensor | None, first: int, count: int) -> Tensor:
    logits, ids = logits.contiguous(), ids.int().contiguous()
    rows, length = ids.numel(), ids.shape[1]
    grid = _grid(rows, logits)
    partial = torch.empty((grid, 2), dtype=torch.float32, device=logits.device)
    given = None if weights is None else kernels.singles(weights)
    kernel = _kernel("loss_forward", logits.shape[2], first, count, logits.dtype)
    kernels.launch(kernel, (logits, ids, given, partial, rows, length), grid=grid, on=logits)
    return kernels.column_sums(partial)


def _backward(d: Tensor, logits: Tensor, ids: Tensor, weights: Tensor | None, first: int, count: int) -> Tensor:
    logits, ids, d = logits.contiguous(), ids.int().contiguous(), kernels.singles(d)
    rows, length = ids.numel(), ids.shape[1]
    d_logits = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
    given = None if weights is None else kernels.singles(weights)
    kernel = _kernel("loss_backward", logits.shape[2], first, count, logits.dtype)
    args = (d, logits, ids, given, d_logits, rows, length)
    kernels.launch(kernel, args, grid=_grid(rows, logits), on=logits)
    return d_logits


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    logits, ids, weights, *ctx.columns = inputs
    ctx.save_for_backward(logits, ids, weights)


def _gradients(backward: Any, ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
    return backward(d, *ctx.saved_tensors, *ctx.columns), None, None, None, None


next_token_sums = differentiable(
    "next_token_sums",
    _forward,
    _backward,
    forward_fake=lambda logits, ids, weights, first, count: logits.new_empty(2, dtype=torch.float32),
    backward_fake=lambda d, logits, ids, weights, first, count: logits.new_empty(logits.shape),
    keep=_keep,
    gradients=_gradients,
)
