"""The likelihood of bases under a language model: over A, C, G and T alone, whatever else its vocabulary holds."""

import torch
from torch import Tensor

from genoconv.ops import next_token_sums
from genoconv.tokens import A, T


def next_base_sums(logits: Tensor, ids: Tensor, weights: Tensor | None = None) -> Tensor:
    """Summed negative log-likelihood (nats) of every base given those before it.

    Args:
        logits: (B, N, V); position i predicts token i + 1. Only the entries of A, C, G, T take part, so that a
            uniform guess has perplexity 4, and a likelihood here is what ``score-variants`` compares.
        ids: (B, N) integer tokens. Padding, N and other symbols are context, never targets.
        weights: (B, N) weight of each base; None is one everywhere.

    Returns:
        (2,): the weighted sum and the sum of weights. The sum is differentiable in ``logits``.
    """
    return next_token_sums(logits, ids, weights=weights, first=A, count=T - A + 1)


def next_base_sums_by(logits: Tensor, ids: Tensor, strata: Tensor, *, count: int) -> Tensor:
    """:func:`next_base_sums` of each of ``count`` strata, without weights.

    Args:
        logits, ids: as for :func:`next_base_sums`.
        strata: (B, N) number of each base's stratum; numbers from ``count`` on are left out.

    Returns:
        (2, count) float64: the sums, and the numbers of bases. Not differentiable.
    """
    targets, parts = ids[:, 1:].long() - A, strata[:, 1:].long()
    counted = (targets >= 0) & (targets <= T - A) & (parts < count)
    scores = torch.log_softmax(logits[:, :-1, A : T + 1].float(), dim=-1)
    losses = -scores.gather(2, targets.clamp(0, T - A)[..., None])[..., 0]
    # What is left out goes to a row of its own: shapes do not depend on values, as CUDA graphs need.
    places = torch.where(counted, parts, count).flatten()
    sums = torch.zeros(2, count + 1, dtype=torch.float64, device=logits.device)
    sums[0].index_add_(0, places, losses.flatten().double())
    sums[1].index_add_(0, places, counted.flatten().double())
    return sums[:, :count]
