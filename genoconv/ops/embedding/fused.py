"""The kernels of `embed`: launches, and the operators that torch sees."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genoconv.gpu.compiler import Kernel
from genoconv.ops import kernels
from genoconv.ops.registration import differentiable

_THREADS = 256


def _forward_kernel(tokens: int, width: int, dtype: torch.dtype) -> Kernel:
    """The kernel that looks rows up in a table of so many. It only moves them, as values of 16 bits."""
    columns = kernels.tile_columns(width * dtype.itemsize // 2, threads=_THREADS)
    return kernels.kernel("embedding/embedding_forward", threads=_THREADS, COLUMNS=columns, TOKENS=tokens)


def _backward_kernel(tokens: int, width: int, dtype: torch.dtype) -> Kernel:
    """The kernel that makes the gradient of a table of so many rows, from one of `dtype`."""
    columns = kernels.tile_columns(width, threads=_THREADS)
    defines = {"COLUMNS": columns, "TOKENS": tokens, "TYPE": kernels.TYPES[dtype]}
    return kernels.kernel("embedding/embedding_backward", threads=_THREADS, smem_bytes=32 * _THREADS, **defines)


def step_kernels(tokens: int, width: int, dtype: torch.dtype) -> Iterator[Kernel]:
    """All that a training step needs."""
    yield _forward_kernel(tokens, width, dtype)
    yield _backward_kernel(tokens, width, dtype)


def _forward(ids: Tensor, table: Tensor) -> Tensor:
    ids, table = ids.int().contiguous(), table.contiguous()
    if not kernels.aligned(table):
        table = table.clone()
    tokens, width = table.shape
    out = torch.empty((*ids.shape, width), dtype=table.dtype, device=table.device)
    halves = out.view(torch.int16)
    rows, _, _, grid = kernels.tiles(halves, threads=_THREADS, blocks_per_sm=8)
    units = halves.shape[-1] // kernels.CHUNK
    kernels.launch(_forward_kernel(tokens, width, table.dtype), (ids, table, out, rows, units), grid=grid, on=out)
    return out


def _backward(d: Tensor, ids: Tensor, tokens: int) -> Tensor:
    """The gradient of a table of so many rows, float32."""
    d, ids = d.contiguous(), ids.int().contiguous()
    rows, _, shares, grid = kernels.tiles(d, threads=_THREADS, blocks_per_sm=2)
    width = d.shape[-1]
    partial = torch.empty((shares, tokens, width), dtype=torch.float32, device=d.device)
    kernels.launch(_backward_kernel(tokens, width, d.dtype), (ids, d, partial, rows, width), grid=grid, on=d)
    return kernels.column_sums(partial)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ids, table = inputs
    ctx.save_for_backward(ids)
    ctx.tokens, ctx.type = table.shape[0], table.dtype


def _gradients(backward: Any, ctx: Any, d: Tensor) -> tuple[None, Tensor]:
    (ids,) = ctx.saved_tensors
    return None, backward(d, ids, ctx.tokens).to(ctx.type)


embed = differentiable(
    "embed",
    _forward,
    _backward,
    forward_fake=lambda ids, table: table.new_empty((*ids.shape, table.shape[1])),
    backward_fake=lambda d, ids, tokens: d.new_empty((tokens, d.shape[-1]), dtype=torch.float32),
    keep=_keep,
    gradients=_gradients,
)
