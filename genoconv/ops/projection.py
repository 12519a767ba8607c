"""Linear layers between (B, N, D), as the residual stream lies, and (B, D, N), as the long convolution wants it.

Matrix products read and write either layout at the same speed, so nothing is transposed. Plain torch; what differs from
its own gradients is the weights' alone: sums over the batch are made in float32, and few long rows are not left to a
batched product, which has no blocks for all of a GPU there.
"""

from typing import Any

import torch
from torch import Tensor

_BATCHED_FROM = 8
"""Rows from which a batched product fills a GPU."""


def to_channels(x: Tensor, weight: Tensor) -> Tensor:
    """(B, N, I) times (O, I) -> (B, O, N) contiguous, of the type of ``x``, in which the product is made."""
    if not torch.is_grad_enabled():
        return _to_channels(x, weight)
    y: Tensor = _ToChannels.apply(x, weight)  # type: ignore[no-untyped-call]
    return y


def from_channels(x: Tensor, weight: Tensor) -> Tensor:
    """(B, I, N) times (O, I) -> (B, N, O) contiguous, of the type of ``x``, in which the product is made."""
    if not torch.is_grad_enabled():
        return _from_channels(x, weight)
    y: Tensor = _FromChannels.apply(x, weight)  # type: ignore[no-untyped-call]
    return y


def _to_channels(x: Tensor, weight: Tensor) -> Tensor:
    return torch.bmm(weight.to(x.dtype).expand(len(x), -1, -1), x.transpose(1, 2))


def _from_channels(x: Tensor, weight: Tensor) -> Tensor:
    return torch.bmm(x.transpose(1, 2), weight.to(x.dtype).T.expand(len(x), -1, -1))


def _weight_gradient(d: Tensor, x: Tensor) -> Tensor:
    """Sum over b of d[b] @ x[b].T, of d (B, O, N) and x (B, I, N): (O, I), at least in float32."""
    summed = torch.promote_types(d.dtype, torch.float32)
    if len(d) >= _BATCHED_FROM:
        return torch.bmm(d, x.transpose(1, 2)).sum(0, dtype=summed)
    total = torch.mm(d[0], x[0].T).to(summed)
    for b in range(1, len(d)):
        total += torch.mm(d[b], x[b].T)
    return total


class _ToChannels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        low = weight.to(x.dtype)
        ctx.save_for_backward(x, low)
        ctx.type = weight.dtype
        return _to_channels(x, low)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return _from_channels(d, weight.T), _weight_gradient(d, x.transpose(1, 2)).to(ctx.type)


class _FromChannels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        low = weight.to(x.dtype)
        ctx.save_for_backward(x, low)
        ctx.type = weight.dtype
        return _from_channels(x, low)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return _to_channels(d, weight.T), _weight_gradient(d.transpose(1, 2), x).to(ctx.type)
