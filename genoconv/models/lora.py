"""LoRA: low-rank updates of projections, learned in place of the projections themselves, and merged into them.

W becomes W + (alpha / r) B A with B (out, r) and A (r, in). The layers of HyenaDNA read ``layer.weight`` themselves
rather than call the layer, so the update is a parametrisation of the weight: whoever reads it gets the sum.

Reference:
    Hu et al. 2021, LoRA, https://arxiv.org/abs/2106.09685
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from genoconv.errors import UsageError
from genoconv.models.hyena import HyenaDNA
from genoconv.ops.precision import full_precision
from genoconv.wording import did_you_mean

TARGETS = ("in_proj", "out_proj", "fc1", "fc2")
"""Every projection of a block: into and out of the convolution, and the two of the MLP."""


class LowRank(nn.Module):
    """The update of one weight (out, in); nothing at first, because B is zero.

    Args:
        weight: decides the sizes.
        rank: r.
        alpha: the update is scaled by alpha / r.
    """

    def __init__(self, weight: Tensor, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.A = nn.Parameter(weight.new_empty(rank, weight.shape[1]))
        self.B = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """(out, in) -> (out, in)."""
        with full_precision(weight):
            return torch.addmm(weight, self.B, self.A, alpha=self.scale)


def _projections(model: HyenaDNA, targets: Sequence[str]) -> list[nn.Linear]:
    unknown = next((name for name in targets if name not in TARGETS), None)
    if unknown is not None:
        raise UsageError(f"LoRA target {unknown}: expected {', '.join(TARGETS)}{did_you_mean(unknown, TARGETS)}")
    return [
        layer
        for name, layer in model.backbone.named_modules()
        if isinstance(layer, nn.Linear) and name.rpartition(".")[2] in targets
    ]


def add_lora(model: HyenaDNA, *, rank: int, alpha: float, targets: Sequence[str] = TARGETS) -> int:
    """Freeze the backbone and give its projections low-rank updates, which are trained instead.

    Args:
        model: changed in place; what it computes stays the same until the updates are trained.
        rank, alpha: see :class:`LowRank`.
        targets: names of :data:`TARGETS`.

    Returns:
        How many weights have an update.

    Raises:
        UsageError: an unknown target, or none.
    """
    layers = _projections(model, targets)
    if not layers:
        raise UsageError(f"LoRA has no target; expected some of {', '.join(TARGETS)}")
    model.backbone.requires_grad_(False)
    model.lm_head.requires_grad_(False)
    for layer in layers:
        update = LowRank(layer.weight, rank=rank, alpha=alpha)
        parametrize.register_parametrization(layer, "weight", update)
        layer.parametrizations.weight.original.requires_grad_(False)  # type: ignore[union-attr]
    return len(layers)


def merge_lora(model: HyenaDNA) -> None:
    """Put the updates into the weights: the model computes the same, and has the parameters that it had before."""
    for layer in model.backbone.modules():
        if isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
