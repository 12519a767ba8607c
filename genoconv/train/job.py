"""What a training run has to do, and how it ended."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import nn

from genoconv.train.metrics import Row
from genoconv.train.objectives import Objective
from genoconv.train.packing import Packing, packs
from genoconv.train.readers import Reader
from genoconv.train.settings import DataSettings, OptimSettings, RunSettings, Stage

_WARM_UP_FROM = 8_192
_FIRST_LENGTH, _STAGE_STEPS = 1_024, 100


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be learned, from what, and how.

    Attributes:
        model: on the CPU; Lightning moves it. It is trained in place.
        objective: what it learns.
        train: windows to learn from.
        held_out: ``valid`` and, if it is to be measured at the end, ``test``.
        flips: read a random half of the training windows on the other strand; for all, or for each, (windows,).
        data, optim, settings: see :mod:`.settings`.
        often: how often each training window is read, relative to the others, (windows,); None reads all alike.
        noise: share of the bases of training windows that are replaced by random ones each time they are read.
        keep_best: end with the weights of the best validation rather than the last ones.
        patience: with ``keep_best``, validations without improvement after which the run ends.
        recompute: keep only each block's input for the backward pass and compute the rest again.
        packing: whether windows are packed end to end rather than padded, for objectives of sequence alone; ``auto``
            as :func:`.packs` decides for each stage and each held-out set.
        at_once: tokens of a batch that are computed at a time; None computes batches whole.
    """

    model: nn.Module
    objective: Objective
    train: Reader
    held_out: dict[str, Reader]
    flips: bool | npt.NDArray[np.bool_]
    data: DataSettings
    optim: OptimSettings
    settings: RunSettings
    often: npt.NDArray[np.float64] | None = None
    noise: float = 0.0
    keep_best: bool = False
    patience: int | None = None
    recompute: bool = False
    packing: Packing = False
    at_once: int | None = None

    @property
    def longest(self) -> int:
        """Bases in the longest training window."""
        return int(self.train.lengths.max())

    def packs(self, reader: Reader, *, longest: int) -> bool:
        """Whether windows of ``reader``, cut to ``longest`` bases, are packed."""
        return packs(self.packing, reader.lengths, longest=longest, tokens_per_batch=self.data.tokens_per_batch)


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        step, tokens, seconds: done in all, interruptions included.
        rows: all measurements.
        signal: the signal that ended it early, or None.
        measured: numbers of the windows of each held-out set that were measured.
        best_step: whose weights the model has, where the best are kept.
        stopped_early: whether validations that no longer improved ended it.
    """

    step: int
    tokens: int
    seconds: float
    rows: list[Row]
    signal: int | None
    measured: dict[str, list[int]] = field(default_factory=dict)
    best_step: int | None = None
    stopped_early: bool = False


def stages(settings: DataSettings, *, longest: int, max_steps: int | None) -> tuple[Stage, ...]:
    """The lengths of a run: those asked for, or a warm-up towards windows of ``longest`` bases."""
    if settings.stages:
        return settings.stages
    lengths = []
    length = _FIRST_LENGTH if longest >= _WARM_UP_FROM else max(1, longest // 16)
    wanted = {"always": True, "never": False, "auto": longest >= _WARM_UP_FROM}[settings.length_warmup]
    while wanted and length < longest:
        lengths.append(length)
        length *= 4
    steps = min(_STAGE_STEPS, max(1, max_steps // (4 * len(lengths)))) if max_steps and lengths else _STAGE_STEPS
    return (*(Stage(length=length, steps=steps) for length in lengths), Stage(length=longest))
