"""The loss of a causal language model over a small vocabulary, without a float32 copy of its logits."""

import torch
import torch.nn.functional as F
from torch import Tensor

from genoconv.errors import KernelError, UsageError
from genoconv.ops import kernels

WIDEST = 16
"""Most logits per position that the kernels support: one thread holds all of them."""


def next_token_sums(
    logits: Tensor,
    ids: Tensor,
    *,
    weights: Tensor | None = None,
    first: int = 0,
    count: int | None = None,
    backend: str = "auto",
) -> Tensor:
    """Sum the negative log-likelihoods of all tokens given those before them, and sum the weights.

    Args:
        logits: (B, N, V), any floating type; position i predicts token i + 1.
        ids: (B, N) integer tokens.
        weights: (B, N), the weight of each token in the loss, summed in the type of the result; None means one.
        first, count: range of the columns, and of the tokens that can be targets; default: all.
        backend: ``torch``, ``cuda`` (kernels that read logits once, for V 8 or 16), or ``auto``: the kernels if they
            support the call.

    Returns:
        (2,) float32 (float64 for float64 logits): the weighted sum in nats, and the weight. The sum is differentiable
        (with the kernels once) in ``logits``.

    Raises:
        UsageError: shapes, types or columns do not match.
        KernelError: ``backend="cuda"``, and the kernels do not support this call.
    """
    V = logits.shape[-1] if logits.ndim == 3 else 0
    count = V - first if count is None else count
    _check(logits, ids, weights, V, first, count)
    reason = kernels.unsupported(logits, backend)
    if reason is None and (V % kernels.CHUNK or V > WIDEST or logits.numel() == 0):
        reason = f"the kernels support 8 or 16 logits per position, got {V}"
    if reason is None:
        from genoconv.ops.loss import fused

        return fused.next_token_sums(logits, ids, weights, first, count)
    if backend == "cuda":
        raise KernelError(reason)
    return reference(logits, ids, weights, first, count)


def _check(logits: Tensor, ids: Tensor, weights: Tensor | None, V: int, first: int, count: int) -> None:
    if V == 0 or ids.shape != logits.shape[:2] or (weights is not None and weights.shape != ids.shape):
        shapes = ", ".join(str(tuple(x.shape)) for x in (logits, ids, weights) if x is not None)
        raise UsageError(f"logits must be (B, N, V), ids and weights (B, N); got {shapes}")
    if not logits.is_floating_point():
        raise UsageError(f"logits are {logits.dtype}; they must be floating point")
    if ids.is_floating_point() or ids.is_complex():
        raise UsageError(f"ids are {ids.dtype}; they must be integers")
    if weights is not None and weights.is_complex():
        raise UsageError(f"weights are {weights.dtype}; they must be real")
    if count < 1:
        raise UsageError(f"count is {count}; it must be at least 1")
    if not 0 <= first < first + count <= V:
        raise UsageError(f"columns {first} to {first + count - 1} are outside the {V} logits of a position")


def reference(logits: Tensor, ids: Tensor, weights: Tensor | None, first: int, count: int) -> Tensor:
    """:func:`next_token_sums` in plain torch."""
    scores = logits[:, :-1, first : first + count]
    scores = scores if scores.dtype == torch.float64 else scores.float()
    target = ids[:, 1:].long() - first
    known = (target >= 0) & (target < count)
    nll = F.cross_entropy(scores.flatten(0, 1), target.clamp(0, count - 1).flatten(), reduction="none").view_as(target)
    weight = known.to(nll.dtype) if weights is None else known * weights[:, 1:].to(nll.dtype)
    return torch.stack([torch.sum(nll * weight), weight.sum()])
