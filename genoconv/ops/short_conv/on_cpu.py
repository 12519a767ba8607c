"""The short convolutions on a CPU without gradients: sums of shifted rows, a few channels at a time.

Torch's own depthwise convolution takes three times as long.
"""

from functools import partial

import torch
from torch import Tensor

from genoconv.ops.registration import untracked

_VALUES = 1 << 16
"""Values of a piece for each thread: a quarter of a megabyte in float32."""
_LEAST = 1 << 15
"""Values of one of the three convolutions of a sequence, D N, below which many sequences at once are faster."""


def serves(u: Tensor, *parameters: Tensor | None) -> bool:
    """Whether :func:`gated_short_conv` may be called with these, and is faster."""
    if u[:1].numel() < 3 * _LEAST or u.device.type != "cpu":
        return False
    return all(x is None or x.dtype == u.dtype for x in parameters) and untracked(u, *parameters)


def gated_short_conv(
    u: Tensor, weight: Tensor, bias: Tensor | None, *, u_bias: Tensor | None, before: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Arguments and results of :func:`.short_conv.gated_short_conv`."""
    B, rows, N = u.shape
    D = rows // 3
    x0, gated = u.new_empty(B, D, N), u.new_empty(B, D, N)
    size = max(1, _VALUES * torch.get_num_threads() // N)
    for b in range(B):
        for first in range(0, D, size):
            last = min(first + size, D)
            of = partial(_convolved, u[b], weight, bias, u_bias, None if before is None else before[b])
            of(slice(first, last), out=x0[b, first:last])
            v = of(slice(2 * D + first, 2 * D + last))
            of(slice(D + first, D + last), out=gated[b, first:last]).mul_(v)
    return x0, gated


def _convolved(
    u: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    u_bias: Tensor | None,
    before: Tensor | None,
    rows: slice,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Some rows of one convolution, (rows, N)."""
    x, taps = u[rows], weight[rows, 0]
    history = None if before is None else before[rows]
    if u_bias is not None:
        x = x + u_bias[rows, None]
        history = None if history is None else history + u_bias[rows, None]
    y = torch.mul(x, taps[:, -1:], out=out)
    if bias is not None:
        y += bias[rows, None]
    for lag in range(1, taps.shape[1]):
        tap = taps[:, -1 - lag, None]
        y[:, lag:].addcmul_(x[:, :-lag], tap)
        if history is not None:
            reached = y[:, :lag]
            reached.addcmul_(history[:, history.shape[1] - lag :][:, : reached.shape[1]], tap)
    return y
