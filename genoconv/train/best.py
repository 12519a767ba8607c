"""The weights with the lowest validation loss, and when to stop waiting for better ones."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Best:
    """Keeps the trainable weights of the best validation so far; every process keeps the same.

    Args:
        model: what is trained.
        patience: validations without improvement after which the run ends; None never ends it.
    """

    def __init__(self, model: nn.Module, *, patience: int | None) -> None:
        self.model = model
        self.patience = patience
        self.loss = float("inf")
        self.step = -1
        self.worse = 0
        self._last = -1
        self._weights: dict[str, Tensor] = {}

    @property
    def exhausted(self) -> bool:
        """Whether the last ``patience`` validations were no better than the best before them."""
        return self.patience is not None and self.worse >= self.patience

    def seen(self, loss: float, step: int) -> None:
        """The weights after ``step`` have this validation loss. The same step counts once."""
        if step <= self._last:
            return
        self._last = step
        loss = float(f"{loss:.8g}")  # as metrics.csv has it, from which a resumed run may take it
        if loss < self.loss:
            self.loss, self.step, self.worse = loss, step, 0
            self._weights = {name: tensor.detach().cpu().clone() for name, tensor in self._trained()}
        else:
            self.worse += 1

    @torch.no_grad()
    def put_back(self) -> None:
        """Give the model its best weights; those that it has where none were seen."""
        for name, tensor in self._trained():
            if name in self._weights:
                tensor.copy_(self._weights[name])

    def state(self) -> dict[str, Any]:
        """For a checkpoint: numbers and tensors."""
        return {
            "loss": self.loss,
            "step": self.step,
            "worse": self.worse,
            "last": self._last,
            "weights": dict(self._weights),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint.

        Raises:
            ValueError: it is not what :meth:`state` gives for this model.
        """
        weights = state.get("weights")
        shapes = {name: tensor.shape for name, tensor in self._trained()}
        numbers = [state.get(name) for name in ("step", "worse", "last")]
        if not isinstance(weights, dict) or not all(type(number) is int for number in numbers):
            raise ValueError("genoconv.best is not a record of the best weights")
        if not isinstance(state.get("loss"), float):
            raise ValueError("genoconv.best has no loss")
        if weights and {n: t.shape for n, t in weights.items() if isinstance(t, Tensor)} != shapes:
            raise ValueError("genoconv.best holds the weights of another model")
        self.loss, self._weights = state["loss"], weights
        self.step, self.worse, self._last = state["step"], state["worse"], state["last"]

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, tensor) for name, tensor in self.model.named_parameters() if tensor.requires_grad]
