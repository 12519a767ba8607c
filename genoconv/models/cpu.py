"""A block on a CPU without gradients: the arithmetic of :mod:`.hyena` in pieces that stay in the caches.

A core multiplies matrices at its peak from a few hundred tokens on. What is lost lies between the products: values that
go to memory and back, memory that the system maps and clears anew for every large result, and a slow tanh. So the MLP
runs over pieces of tokens, and what a branch adds is added in place, by the product itself.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from genoconv.ops.gelu.in_place import gelu_
from genoconv.ops.registration import untracked

if TYPE_CHECKING:
    from genoconv.models.hyena import Block

_TOKENS = 512
"""Tokens of a piece of the MLP for each thread: the wide layer of most models then fits a second-level cache."""
LEAST = 1 << 15
"""Values of a sequence, N D, below which calls of operators for each of them take longer than what they compute."""


def serves(block: "Block", residual: Tensor) -> bool:
    """Whether :func:`run` computes what ``block`` does with this stream (B, N, D), and faster."""
    return residual[:1].numel() >= LEAST and allows(block, residual)


def allows(block: "Block", residual: Tensor) -> bool:
    """Whether the functions of this module compute what ``block`` does with values like these."""
    return (
        residual.device.type == "cpu"
        and residual.dtype == block.norm1.weight.dtype == block.mlp.fc1.bias.dtype == torch.float32
        and not (block.training or torch.is_grad_enabled())
        and untracked(residual)
        and not torch.is_autocast_enabled("cpu")
    )


def run(block: "Block", residual: Tensor, start: int = 0) -> Tensor:
    """The residual stream (B, N, D) after ``block``, (B, N - start, D) contiguous float32, from ``start`` on."""
    mixed = block.mixer.mix(normalised(residual, block.norm1))
    return finish(block, residual[:, start:].clone(memory_format=torch.contiguous_format), mixed[:, :, start:])


def finish(block: "Block", residual: Tensor, mixed: Tensor) -> Tensor:
    """The rest of the block, from the operator's ``mixed`` (B, D, N) on, in the memory of ``residual``."""
    projection = block.mixer.out_proj
    weight = projection.weight.T
    for row, y in zip(residual, mixed, strict=True):
        row.addmm_(y.T, weight)
    residual += projection.bias
    _add_mlp(block, residual.view(-1, residual.shape[-1]))
    return residual


def _add_mlp(block: "Block", rows: Tensor) -> None:
    """Add the MLP of the normalised rows (tokens, D) to them."""
    first, second = block.mlp.fc1, block.mlp.fc2
    up, down = first.weight.T, second.weight.T
    size = min(len(rows), _TOKENS * torch.get_num_threads())
    wide, scratch = (rows.new_empty(size, up.shape[1]) for _ in range(2))
    for piece in torch.split(rows, size):
        h = torch.addmm(first.bias, normalised(piece, block.norm2), up, out=wide[: len(piece)])
        piece.addmm_(gelu_(h, scratch[: len(piece)]), down)
        piece += second.bias


def normalised(x: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
    """Layer norm."""
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
