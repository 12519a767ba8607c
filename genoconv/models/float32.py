"""Modules whose parameters stay float32 when the model around them is moved to another floating type."""

from collections.abc import Callable
from typing import Self

import torch.nn as nn
from torch import Tensor


class Float32Module(nn.Module):
    """Moves between devices with the model, and keeps its types."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        moved: Self = super()._apply(move, recurse)  # type: ignore[no-untyped-call]
        return moved
