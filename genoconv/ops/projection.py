"""Linear layers between (B, N, D), the layout of the residual stream, and (B, D, N), that of the long convolution.

Matrix products read and write either layout at the same speed, so nothing is transposed. This is plain torch, except
for the gradients of weights: they are summed over the batch in float32, and a few long rows take one product each,
because a batched product would not fill a GPU.
"""

from typing import Any

import torch
from torch import Tensor

from genoconv.ops.registration import transformed

_BATCHED_FROM = 8
"""Least number of rows with which a batched product fills a GPU."""


def to_channels(x: Tensor, weight: Tensor) -> Tensor:
    """(B, N, I) times (O, I) -> (B, O, N) contiguous, computed in the type of ``x``."""
    if not torch.is_grad_enabled() or transformed():
        return _to_channels(x, weight)
    y: Tensor = _ToChannels.apply(x, weight)  # type: ignore[no-untyped-call]
    return y


def from_channels(x: Tensor, weight: Tensor) -> Tensor:
    """(B, I, N) times (O, I) -> (B, N, O) contiguous, computed in the type of ``x``."""
    if not torch.is_grad_enabled() or transformed():
        return _from_channels(x, weight)
    y: Tensor = _FromChannels.apply(x, weight)  # type: ignore[no-untyped-call]
    return y


def _to_channels(x: Tensor, weight: Tensor) -> Tensor:
    return torch.bmm(weight.to(x.dtype).expand(x.shape[0], -1, -1), x.transpose(1, 2))


def _from_channels(x: Tensor, weight: Tensor) -> Tensor:
    return torch.bmm(x.transpose(1, 2), weight.to(x.dtype).T.expand(x.shape[0], -1, -1))


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
