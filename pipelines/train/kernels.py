"""The kernels that a run will need, compiled while its data is read."""

import os
from collections.abc import Iterable

from genoconv.gpu import cache
from genoconv.gpu.targets import local_card
from genoconv.models.config import ModelConfig
from genoconv.ops.longconv.regimes import choose_plan, reach
from genoconv.train.machine import Machine


def compile_ahead(lengths: Iterable[int], *, sizes: ModelConfig, machine: Machine) -> None:
    """Begin to compile the long convolutions of windows of these lengths, if the run is going to use kernels.

    Args:
        lengths: bases, the first needed first.
        sizes: of the model.
        machine: where the run computes.
    """
    backend = os.environ.get("GENOCONV_KERNELS", "auto")
    if machine.accelerator != "cuda" or machine.precision != "bf16" or backend == "torch" or not machine.is_first:
        return
    card = local_card(machine.device.index)
    # Rows longer than the filter run in chunks of other lengths.
    served = (n for n in dict.fromkeys(lengths) if n <= min(sizes.taps, reach(card)))
    kernels = dict.fromkeys(kernel for n in served for kernel in choose_plan(n, card=card).kernels())
    cache.compile_ahead(kernels, arch=card.arch)
