"""The next base: how surprised a causal model is by each base, over A, C, G and T only."""

import math
from collections.abc import Mapping

from torch import Tensor, nn

from genoconv.models.likelihood import next_base_sums
from genoconv.train.data import Batch


class NextBase:
    """Cross-entropy of every base given those before it; soft-masked bases may weigh less."""

    names = ("loss", "perplexity")
    terms = 2
    explosion = 2 * math.log(4)  # twice a uniform guess

    def sums(self, model: nn.Module, batch: Batch) -> Tensor:
        """Summed negative log-likelihood in nats and the sum of weights, shape (2,)."""
        weights = batch.weights if batch.weights.numel() else None
        return next_base_sums(model(batch.ids), batch.ids, weights)

    def figures(self, sums: list[float]) -> Mapping[str, float]:
        """``loss`` in nats per base and ``perplexity``, its exponential; 4 is a uniform guess."""
        loss = sums[0] / sums[1] if sums[1] else math.nan
        return {"loss": loss, "perplexity": math.exp(min(loss, 50.0))}
