"""The loss: how surprised a causal model is by each base, over A, C, G and T only."""

import torch
import torch.nn.functional as F
from torch import Tensor

from genoconv.tokens import A, T


def next_base_loss(logits: Tensor, ids: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Summed negative log-likelihood (nats) of every base given those before it.

    Args:
        logits: (B, N, V); position i predicts token i + 1. Only the entries of A, C, G, T take part, so that a
            uniform guess has perplexity 4, and a likelihood here is what ``score-variants`` compares.
        ids: (B, N) integer tokens. Padding, N and other symbols are context, never targets.
        weights: (B, N) weight of each base; None is one everywhere.

    Returns:
        The weighted sum and the sum of weights, both scalars.
    """
    bases = logits[:, :-1, A : T + 1].float()
    target = ids[:, 1:].long() - A
    known = (target >= 0) & (target <= T - A)
    nll = F.cross_entropy(bases.flatten(0, 1), target.clamp(0, T - A).flatten(), reduction="none").view_as(target)
    weight = known.float() if weights is None else known * weights[:, 1:]
    return torch.sum(nll * weight), weight.sum()
