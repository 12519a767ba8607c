"""The short causal convolutions of a Hyena operator of order 2, and the gate of its input.

Letters: B batch, D channels, N positions, K taps. Of the input projection u (B, 3 D, N) the first D rows become the
output's gate x0, the next D the input's gate x1, the last D the values v:

    (x0, x1, v)_n = bias + sum_j weight_j (u + u_bias)_(n - K + 1 + j),        u + u_bias zero before the row begins
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from genoconv.errors import KernelError, UsageError
from genoconv.ops import kernels
from genoconv.ops.short_conv import on_cpu

WIDEST = 9
"""Most taps that the kernels support: a thread reads its own chunk of eight positions and one neighbour."""


def gated_short_conv(
    u: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    u_bias: Tensor | None = None,
    before: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Convolve the rows of an input projection and multiply the values by the input's gate.

    Args:
        u: (B, 3 D, N), any floating type.
        weight: (3 D, 1, K), as of a depthwise ``torch.nn.Conv1d``.
        bias: (3 D,) of the convolution, or None.
        u_bias: (3 D,), the bias of the projection if ``u`` does not include it; None means zero.
        before: (B, 3 D, K - 1), the values of u before the first position; None means zero.
        backend: ``torch``, ``cuda`` (kernels that read u once, for float32, bfloat16 and float16 and up to 9 taps), or
            ``auto``: the kernels if they support the call.

    Returns:
        x0 and x1 * v, both (B, D, N) like ``u``. Differentiable (with the kernels once) in all four tensors.

    Raises:
        UsageError: shapes do not match.
        KernelError: ``backend="cuda"``, and the kernels do not support this call.
    """
    _check(u, weight, bias, u_bias, before)
    reason = kernels.unsupported(u, backend)
    if reason is None and weight.shape[2] > WIDEST:
        reason = f"the kernels support up to {WIDEST} taps, got {weight.shape[2]}"
    if reason is None:
        from genoconv.ops.short_conv import fused

        if before is None:
            return fused.gated_short_conv(u, weight, bias, u_bias)
        skip = before.shape[2]
        x0, gated = fused.gated_short_conv(torch.cat([before, u], dim=2), weight, bias, u_bias)
        return x0[..., skip:], gated[..., skip:]
    if backend == "cuda":
        raise KernelError(reason)
    if on_cpu.serves(u, weight, bias, u_bias, before):
        return on_cpu.gated_short_conv(u, weight, bias, u_bias=u_bias, before=before)
    return reference(u, weight, bias, u_bias=u_bias, before=before)


def reference(
    u: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    u_bias: Tensor | None = None,
    before: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`gated_short_conv` in plain torch."""
    history = weight.shape[2] - 1
    padded = F.pad(u, (history, 0)) if before is None else torch.cat([before, u], dim=2)
    if u_bias is not None:
        # Added before the product and not folded into `bias`, which would round worse.
        padded[:, :, history if before is None else 0 :] += u_bias.to(u.dtype)[:, None]
    x0, x1, v = F.conv1d(padded, weight, bias, groups=weight.shape[0]).chunk(3, dim=1)
    return x0, x1 * v


def _check(u: Tensor, weight: Tensor, bias: Tensor | None, u_bias: Tensor | None, before: Tensor | None) -> None:
    if u.ndim != 3 or 0 in u.shape or u.shape[1] % 3:
        raise UsageError(f"u must be (B, 3 D, N) with no empty dimension; got {tuple(u.shape)}")
    rows = u.shape[1]
    if weight.ndim != 3 or weight.shape[:2] != (rows, 1) or weight.shape[2] < 1:
        raise UsageError(f"weight must be ({rows}, 1, K) with K >= 1; got {tuple(weight.shape)}")
    for name, vector in (("bias", bias), ("u_bias", u_bias)):
        if vector is not None and vector.shape != (rows,):
            raise UsageError(f"{name} must be ({rows},) like the rows of u; got {tuple(vector.shape)}")
    history = (u.shape[0], rows, weight.shape[2] - 1)
    if before is not None and before.shape != history:
        raise UsageError(f"before must be {history}, the history of {weight.shape[2]} taps; got {tuple(before.shape)}")
