"""The likelihood of bases under a language model: over A, C, G and T alone, whatever else its vocabulary holds."""

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
