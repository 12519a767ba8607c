"""What a model can be trained for: each objective says how batches become a loss, and which figures describe it."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from genoconv.train.batch import Batch


class Objective(Protocol):
    """Everything that training has to know about a task.

    Sums are float64 or float32 of shape (S,) that add up over batches and processes: the first is the summed loss in
    nats (or squared units), the second the weight that it is divided by, and the rest belongs to the objective.

    Attributes:
        names: of its figures, ``loss`` first: the columns of ``metrics.csv``.
        terms: S.
        explosion: a mean loss above which a run is lost.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def terms(self) -> int: ...

    @property
    def explosion(self) -> float: ...

    def sums(self, model: nn.Module, batch: Batch) -> Tensor:
        """Sums of one batch, shape (S,), differentiable in the first."""
        ...

    def figures(self, sums: list[float]) -> Mapping[str, float]:
        """The figures :attr:`names` of summed sums; NaN where the weight is zero."""
        ...
