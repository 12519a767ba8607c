"""The kernels that a run will need, compiled while its data is read."""

import os
from collections.abc import Iterable, Iterator

import torch

from genoconv.gpu import cache
from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card, local_card
from genoconv.models.config import ModelConfig
from genoconv.ops import kernels
from genoconv.ops.embedding import fused as embedding
from genoconv.ops.filter import fused as filter_network
from genoconv.ops.gelu import fused as gelu
from genoconv.ops.longconv.regimes import choose_plan, reach
from genoconv.ops.loss import fused as loss
from genoconv.ops.norm import fused as norm
from genoconv.ops.short_conv import fused as short_conv
from genoconv.tokens import A, T
from genoconv.train.machine import Machine

_DTYPE = torch.bfloat16


def compile_ahead(lengths: Iterable[int], *, sizes: ModelConfig, machine: Machine) -> None:
    """Begin to compile the kernels of steps on windows of these lengths, if the run is going to use kernels.

    Args:
        lengths: bases, the first needed first.
        sizes: of the model.
        machine: where the run computes.
    """
    backend = os.environ.get("GENOCONV_KERNELS", "auto")
    if machine.accelerator != "cuda" or machine.precision != "bf16" or backend == "torch" or not machine.is_first:
        return
    card = local_card(machine.device.index)
    found = dict.fromkeys(kernel for n in dict.fromkeys(lengths) for kernel in step_kernels(n, sizes=sizes, card=card))
    cache.compile_ahead(found, arch=card.arch)


def step_kernels(length: int, *, sizes: ModelConfig, card: Card) -> Iterator[Kernel]:
    """The kernels of a training step on windows of ``length`` bases, in about the order of their first use.

    Sizes that no kernel serves add kernels that nobody asks for; those of rows longer than the filter, which run in
    pieces, and of odd lengths are left to their first use.
    """
    D, F, taps = sizes.d_model, sizes.filter_order, min(length, sizes.taps)
    yield from embedding.step_kernels(sizes.padded_vocab, D, torch.float32)
    yield from norm.step_kernels(D, _DTYPE)
    yield from short_conv.step_kernels(length, sizes.short_filter_order, _DTYPE)
    yield from filter_network.step_kernels(taps, sizes.emb_dim, F, sizes.num_inner_mlps + 1, card)
    yield from filter_network.step_kernels_of_taps(taps, D, F, decays=sizes.modulate)
    if length <= min(sizes.taps, reach(card)):
        yield from choose_plan(length, card=card).kernels()
    yield from gelu.step_kernels(sizes.d_inner, _DTYPE)
    yield from loss.step_kernels(sizes.padded_vocab, A, T - A + 1, _DTYPE)
    yield kernels.COLUMN_SUMS
