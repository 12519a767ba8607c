"""Batches that a device's memory does not hold at once: computed in parts, with the gradients of the whole."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from genoconv.train.batch import Batch
from genoconv.train.graphs import KnownGradients

if TYPE_CHECKING:
    from genoconv.train.objectives import Objective


class PartedSums:
    """An objective's sums of the parts of a batch.

    Args:
        model: what is trained.
        objective: gives the sums, the first of which is differentiated, relative to the second.
    """

    def __init__(self, model: nn.Module, objective: "Objective") -> None:
        self.model = model
        self.objective = objective
        self.parameters = [p for p in model.parameters() if p.requires_grad]

    def __call__(self, parts: list[Batch]) -> Tensor:
        """The sums of all parts, differentiable in the parameters; the backward pass has run already."""
        total: Tensor | None = None
        gradients: list[Tensor | None] = [None] * len(self.parameters)
        for part in parts:
            sums = self.objective.sums(self.model, part)
            with torch.autocast(part.ids.device.type, enabled=False):
                found = torch.autograd.grad(sums[0], self.parameters, allow_unused=True)
            total = sums.detach() if total is None else total + sums.detach()
            gradients = [_sum(some, more) for some, more in zip(gradients, found, strict=True)]
        assert total is not None
        weight = total[1].clamp(min=1.0)
        relative = [None if gradient is None else gradient / weight for gradient in gradients]
        known: Tensor = KnownGradients.apply(total, relative, *self.parameters)  # type: ignore[no-untyped-call]
        return known


def parts_of(batch: Batch, *, at_once: int) -> list[Batch]:
    """A batch in parts of whole windows, each of up to ``at_once`` tokens, padding included, or of a longer window."""
    if batch.cu_seqlens:
        return list(_packed_parts(batch, at_once))
    rows = max(1, at_once // max(1, batch.ids.shape[1]))
    return [_some(batch, slice(first, first + rows)) for first in range(0, len(batch.ids), rows)]


def _packed_parts(batch: Batch, at_once: int) -> Iterator[Batch]:
    bounds = batch.cu_seqlens
    first = 0
    for window in range(1, len(bounds)):
        last = window + 1 == len(bounds)
        if last or bounds[window + 1] - bounds[first] > at_once:
            part = _some(batch, (slice(None), slice(bounds[first], bounds[window])))
            yield part._replace(cu_seqlens=tuple(at - bounds[first] for at in bounds[first : window + 1]))
            first = window


def _some(batch: Batch, which: slice | tuple[slice, slice]) -> Batch:
    some: dict[str, Any] = {
        name: x[which] for name, x in batch._asdict().items() if isinstance(x, Tensor) and x.numel()
    }
    return batch._replace(**some)


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return one if other is None else other if one is None else one.add_(other)
