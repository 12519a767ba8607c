"""The next base: how surprised a causal model is by each base, over A, C, G and T only."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from genoconv.models.likelihood import next_base_sums, next_base_sums_by
from genoconv.train.batch import Batch
from genoconv.train.mixture import Strata


class NextBase:
    """Cross-entropy of every base given those before it; bases may weigh more or less.

    Args:
        strata: parts of the data that perplexity is reported for too, each base counted once, without weights.
    """

    explosion = 2 * math.log(4)  # twice a uniform guess

    def __init__(self, strata: Strata = Strata()) -> None:  # noqa: B008 - frozen
        self.strata = strata
        self._groups = strata.groups()

    @property
    def names(self) -> tuple[str, ...]:
        """Figures: of all bases, and of each source and region, in brackets."""
        parts = [f"{figure}[{name}]" for figure in ("perplexity", "bases") for name in self._groups]
        return "loss", "perplexity", *parts

    @property
    def terms(self) -> int:
        """Loss and weight of all bases, then the loss of each stratum, then its bases."""
        return 2 + 2 * len(self.strata)

    def sums(self, model: nn.Module, batch: Batch) -> Tensor:
        """Summed negative log-likelihood in nats and the sum of weights, then those of each stratum, shape (terms,)."""
        weights = batch.weights if batch.weights.numel() else None
        logits = model(batch.ids, cu_seqlens=batch.cu_seqlens or None)
        sums = next_base_sums(logits, batch.ids, weights)
        if not self.strata:
            return sums
        parts = next_base_sums_by(logits.detach(), batch.ids, batch.strata, count=len(self.strata))
        return torch.cat([sums, parts.flatten().to(sums.dtype)])

    def figures(self, sums: list[float]) -> Mapping[str, float]:
        """``loss`` in nats per base and ``perplexity``, its exponential (4 is a uniform guess); bases are targets."""
        loss = _mean(sums[0], sums[1])
        figures = {"loss": loss, "perplexity": _perplexity(loss)}
        losses, bases = sums[2 : 2 + len(self.strata)], sums[2 + len(self.strata) :]
        totals = {name: (sum(losses[i] for i in g), sum(bases[i] for i in g)) for name, g in self._groups.items()}
        figures |= {f"perplexity[{name}]": _perplexity(_mean(*total)) for name, total in totals.items()}
        return figures | {f"bases[{name}]": number for name, (_, number) in totals.items()}


def _mean(total: float, weight: float) -> float:
    return total / weight if weight else math.nan


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, 50.0))
