"""The residual stream, whose sums are made in the kernels that normalise it."""

from typing import NamedTuple

import torch
import torch.nn as nn
from torch import Tensor

from genoconv.models.packing import Packing
from genoconv.ops import add_norm


class Stream(NamedTuple):
    """The residual stream between blocks: what the last branch adds to it is added when it is next normalised.

    Attributes:
        residual: (B, N, D) float32.
        branch: (B, N, D), yet to be added, or None.
        bias: (D,), to be added with the branch, or None.
    """

    residual: Tensor
    branch: Tensor | None = None
    bias: Tensor | None = None

    def normalised(self, norm: nn.LayerNorm, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """The sum, (B, N, D) float32, and its layer norm, of ``dtype`` or else the type of matrix products."""
        return add_norm(
            self.residual,
            norm.weight,
            norm.bias,
            branch=self.branch,
            branch_bias=self.bias,
            eps=norm.eps,
            dtype=dtype or _product_type(norm.weight),
        )

    def in_float32(self, norm: nn.LayerNorm) -> Tensor:
        """The layer norm of the sum, (B, N, D) float32, computed in that type whatever the norm's."""
        residual, branch, bias = self
        weight, shift = norm.weight.float(), norm.bias.float()
        return add_norm(residual, weight, shift, branch=branch, branch_bias=bias, eps=norm.eps)[1]

    def settled(self) -> Tensor:
        """The sum, (B, N, D) float32."""
        if self.branch is None:
            return self.residual
        total = self.residual + self.branch
        return total if self.bias is None else total + self.bias

    def gathered(self, packing: Packing) -> "Stream":
        """The stream of a packed row, (1, T, D), from one whose sequences were moved apart."""
        branch = None if self.branch is None else packing.gathered(self.branch)
        return Stream(packing.gathered(self.residual), branch, self.bias)


def _product_type(weight: Tensor) -> torch.dtype:
    """The type of matrix products of ``weight``: its own, or that of autocast."""
    kind = weight.device.type
    if weight.is_meta:  # a device without autocast
        return weight.dtype
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
