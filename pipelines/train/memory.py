"""How a run's batches fit into memory: how much of one is computed at a time, and whether activations are kept."""

from dataclasses import dataclass, replace

from genoconv.models.config import ModelConfig
from genoconv.pipelines.plan.cards import GIB
from genoconv.pipelines.plan.costs import SAFE, peak_memory, workload
from genoconv.train.machine import Machine
from genoconv.train.settings import DataSettings, RunSettings

_ON_A_CPU_FROM = 65_536
"""Bases of a window: nothing predicts what a step takes there."""


@dataclass(frozen=True)
class Fit:
    """The decision.

    Attributes:
        recompute: compute activations again in the backward pass.
        at_once: tokens of a batch that are computed at a time; None where batches are computed whole.
        reason: for ``recompute``, in words for the log; None where the settings decide.
    """

    recompute: bool
    at_once: int | None = None
    reason: str | None = None


def fit(settings: RunSettings, data: DataSettings, *, sizes: ModelConfig, longest: int, machine: Machine) -> Fit:
    """Decide it for a run: batches in parts before activations that are computed again, which takes longer.

    Args:
        settings: what is not ``auto`` there is obeyed.
        data: how many tokens a batch has.
        sizes: of the model.
        longest: bases of the longest window.
        machine: where the run computes; a GPU's memory is that which is free now.
    """
    given = None if settings.tokens_at_once == "auto" else settings.tokens_at_once
    wanted = settings.activation_checkpointing
    if machine.accelerator != "cuda":
        return Fit(longest >= _ON_A_CPU_FROM if wanted == "auto" else wanted, given)
    import torch

    from genoconv.gpu.targets import local_card

    free, _ = torch.cuda.mem_get_info(machine.device)
    card, room = local_card(machine.device.index), SAFE * free
    rows = max(1, (given or data.tokens_per_batch) // longest)
    work = workload(sizes, length=longest, batch=rows, train=True, bf16=machine.precision == "bf16")

    def rows_that_fit(checkpointing: bool) -> int:
        """Rows at a time, as few parts of a batch as possible; 0 if not even one fits."""
        some = rows
        while some and peak_memory(replace(work, batch=some, checkpointing=checkpointing), card) > room:
            some = -(-some // 2) if some > 1 else 0
        return some

    plain = 0 if wanted is True else rows_that_fit(False)
    recompute = plain == 0 if wanted == "auto" else wanted
    some = plain or (rows_that_fit(True) if recompute else 0) or 1
    needed = peak_memory(replace(work, batch=1), card)
    reason = f"a window takes about {needed / GIB:.1f} GiB without, {free / GIB:.1f} GiB are free"
    return Fit(recompute, given or (some * longest if some < rows else None), None if wanted != "auto" else reason)
