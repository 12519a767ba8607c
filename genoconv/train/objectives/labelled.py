"""Labels and values of whole records or of every base: the loss of a head, and the figures that add up over batches."""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genoconv.models.heads import HeadConfig, Predictor
from genoconv.train.batch import Batch

_MOMENTS = 6  # count, x, y, xx, yy, xy


class Labelled:
    """What a :class:`.Predictor` learns from labelled records.

    Targets of a batch are (B, 1) for ``binary`` (0 or 1) and ``multiclass`` (the number of the class), (B, K) for
    ``multilabel`` (0 or 1) and ``regression`` (in the unit of the labels; the loss is of standardised values). Those of
    a head without pooling are (B, L, 1) or (B, L, K). Where a target is NaN, nothing is learned or counted.

    Args:
        head: what is predicted.
        weights: of the classes: of the negative and the positive one, of all classes, or of the positive side of
            each label; None weighs every record alike. Unused by ``regression``.
    """

    def __init__(self, head: HeadConfig, *, weights: Sequence[float] | None = None) -> None:
        self.head = head
        self.weights = None if weights is None else torch.tensor(weights, dtype=torch.float32)

    @property
    def names(self) -> tuple[str, ...]:
        return ("loss", "pearson") if self.head.kind == "regression" else ("loss", "accuracy")

    @property
    def terms(self) -> int:
        return 2 + _MOMENTS * self.head.outputs if self.head.kind == "regression" else 4

    @property
    def explosion(self) -> float:
        return 1e3 if self.head.kind == "regression" else 50.0

    def sums(self, model: nn.Module, batch: Batch) -> Tensor:
        """Weighted loss, weight, then correct labels and labels, or moments of values and predictions."""
        assert isinstance(model, Predictor)
        outputs = model.head(batch.features) if batch.features.numel() else model.outputs(batch.ids)
        outputs, targets = outputs.float().flatten(0, -2), batch.targets.flatten(0, -2)
        known = targets.isfinite()  # a factor, not an index: a CUDA graph can hold no shape that depends on values
        targets = targets.nan_to_num(0.0)
        if self.head.kind == "regression":
            wanted = (targets - model.head.offset) / model.head.unit
            loss = (known * (outputs - wanted).square()).sum()
            return torch.cat([torch.stack([loss, known.sum().to(loss.dtype)]), _moments(outputs, wanted, known)])
        if self.head.kind == "multiclass":
            classes, known = targets[:, 0].long(), known[:, 0]
            weight = torch.ones_like(outputs[:, 0]) if self.weights is None else self._on(outputs)[classes]
            each = F.cross_entropy(outputs, classes, reduction="none")
            correct = outputs.argmax(1) == classes
        else:
            weight = torch.ones_like(outputs)
            if self.weights is not None:
                negative, positive = self._sides(outputs)
                weight = torch.where(targets > 0.5, positive, negative).expand_as(outputs)
            each = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
            correct = (outputs > 0) == (targets > 0.5)
        weight, correct = weight * known, correct & known
        counts = [some.sum().to(each.dtype) for some in (correct, known)]
        return torch.stack([(weight * each).sum(), weight.sum(), *counts])

    def figures(self, sums: list[float]) -> Mapping[str, float]:
        """``loss``, and the share of correct labels or the mean Pearson correlation of the values."""
        loss = sums[0] / sums[1] if sums[1] else math.nan
        if self.head.kind != "regression":
            return {"loss": loss, "accuracy": sums[2] / sums[3] if sums[3] else math.nan}
        values = [_pearson(*sums[2 + k :: self.head.outputs][:_MOMENTS]) for k in range(self.head.outputs)]
        return {"loss": loss, "pearson": sum(values) / len(values)}

    def _on(self, outputs: Tensor) -> Tensor:
        """The weights, moved once: no step waits for a copy, and a CUDA graph can hold it."""
        assert self.weights is not None
        self.weights = self.weights.to(outputs.device)
        return self.weights

    def _sides(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        weights = self._on(outputs)
        if self.head.kind == "binary":
            return weights[0], weights[1]
        return torch.ones_like(weights), weights


def _moments(outputs: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
    """(6 K,): count, x, y, xx, yy, xy of each column, of what is known."""
    x, y = outputs.detach() * known, wanted * known
    rows = [known.to(x.dtype), x, y, x * x, y * y, x * y]
    return torch.stack([row.sum(0) for row in rows]).flatten()


def _pearson(n: float, x: float, y: float, xx: float, yy: float, xy: float) -> float:
    """Correlation of two columns from their moments; 0 where one of them is constant."""
    if not n:
        return math.nan
    variances = (xx / n - (x / n) ** 2) * (yy / n - (y / n) ** 2)
    return (xy / n - x * y / n**2) / math.sqrt(variances) if variances > 1e-12 else 0.0
