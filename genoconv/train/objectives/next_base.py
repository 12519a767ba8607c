"""The next base: how surprised a causal model is by each base, over A, C, G and T only."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genoconv.tokens import A, T
from genoconv.train.data import Batch


class NextBase:
    """Cross-entropy of every base given those before it; soft-masked bases may weigh less."""

    names = ("loss", "perplexity")
    terms = 2
    explosion = 2 * math.log(4)  # twice a uniform guess

    def sums(self, model: nn.Module, batch: Batch) -> Tensor:
        """Summed negative log-likelihood in nats and the sum of weights, shape (2,)."""
        weights = batch.weights if batch.weights.numel() else None
        return torch.stack(next_base_loss(model(batch.ids), batch.ids, weights))

    def figures(self, sums: list[float]) -> Mapping[str, float]:
        """``loss`` in nats per base and ``perplexity``, its exponential; 4 is a uniform guess."""
        loss = sums[0] / sums[1] if sums[1] else math.nan
        return {"loss": loss, "perplexity": math.exp(min(loss, 50.0))}


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
