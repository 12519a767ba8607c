"""Whether a run's minutes hold the least that a run does, found out on a CPU before it begins."""

import logging
import time
from collections.abc import Sequence

import torch

from genoconv.train.job import Job, stages
from genoconv.train.objectives.next_base import NextBase
from genoconv.train.settings import Stage
from genoconv.train.stream import Share, TrainingBatches

log = logging.getLogger(__name__)

_PROBED = 1_024
"""Bases that are timed."""
_FORWARD = 1 / 3
"""Share of a step's time that its forward pass takes."""
_SURE = 1.2
"""How far an estimate has to exceed the minutes: it is an extrapolation from few bases."""


def warn_of_short_minutes(job: Job, *, seconds: float) -> None:
    """Warn where one step, and a window of each held-out set, will take longer than ``seconds``.

    Only for language modelling. It takes two passes over a short stretch, so not for GPUs, which would compile first.
    """
    if not isinstance(job.objective, NextBase):
        return
    longest = job.longest
    first = stages(job.data, longest=longest, max_steps=job.settings.max_steps)[0].length
    batch = min(max(job.data.tokens_per_batch, min(first, longest)), int(job.train.lengths.sum()))
    windows: Sequence[float] = [float(reader.lengths.mean()) for reader in job.held_out.values()]
    needed = _seconds_per_base(job) * (batch * job.data.accumulate + _FORWARD * sum(windows))
    if needed > _SURE * seconds:
        log.warning(
            "one step and a window of each held-out set take about %.0f s here, more than the %.0f s of --max-minutes:"
            " choose a smaller preset, lower data.tokens_per_batch or --max-length, or raise --max-minutes",
            needed,
            seconds,
        )


def _seconds_per_base(job: Job) -> float:
    """Of a forward and a backward pass, without a trace in the model or in random numbers."""
    some = TrainingBatches(
        job.train,
        stages=[Stage(length=_PROBED)],
        tokens_per_batch=_PROBED,
        flips=False,
        seed=0,
        share=Share(0, 1, 0),
    )
    batch = next(iter(some))
    parameters = [p for p in job.model.parameters() if p.requires_grad]
    taken = 0.0
    with torch.random.fork_rng(devices=[]):
        for _ in range(2):  # the first time, memory is allocated and libraries are loaded
            began = time.perf_counter()
            sums = job.objective.sums(job.model, batch)
            torch.autograd.grad(sums[0] / sums[1].clamp(min=1.0), parameters, allow_unused=True)
            taken = time.perf_counter() - began
    return taken / batch.ids.numel()
