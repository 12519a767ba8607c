"""Whether a run computes activations again in the backward pass, from the memory that a step is predicted to take."""

from dataclasses import dataclass

from genoconv.models.config import ModelConfig
from genoconv.pipelines.plan.cards import GIB
from genoconv.pipelines.plan.costs import SAFE, peak_memory, workload
from genoconv.train.machine import Machine
from genoconv.train.settings import DataSettings, RunSettings

_ON_A_CPU_FROM = 65_536
"""Bases of a window: nothing predicts what a step takes there."""


@dataclass(frozen=True)
class Recompute:
    """The decision, and why, in words for the log; None where the settings decide."""

    wanted: bool
    reason: str | None = None


def recompute(
    settings: RunSettings, data: DataSettings, *, sizes: ModelConfig, longest: int, machine: Machine
) -> Recompute:
    """Decide it for a run.

    Args:
        settings: ``activation_checkpointing`` that is not ``auto`` is obeyed.
        data: how many tokens a batch has.
        sizes: of the model.
        longest: bases of the longest window.
        machine: where the run computes; a GPU's memory is that which is free now.
    """
    if settings.activation_checkpointing != "auto":
        return Recompute(settings.activation_checkpointing)
    if machine.accelerator != "cuda":
        return Recompute(longest >= _ON_A_CPU_FROM)
    import torch

    from genoconv.gpu.targets import local_card

    free, _ = torch.cuda.mem_get_info(machine.device)
    bf16 = machine.precision == "bf16"
    work = workload(sizes, length=longest, batch=max(1, data.tokens_per_batch // longest), train=True, bf16=bf16)
    needed = peak_memory(work, local_card(machine.device.index))
    takes = f"a step takes about {needed / GIB:.1f} GiB without, {free / GIB:.1f} GiB are free"
    return Recompute(needed > SAFE * free, takes)
