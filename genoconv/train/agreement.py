"""Decisions on which the processes of a run must agree, and sums over all of them.

Lightning has both (``strategy.reduce``), but lets all processes wait in a barrier first, in which each waits for all
that its GPU has been given to do. A GPU then has nothing to do until its process has launched the next step.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    import pytorch_lightning as pl


class Agreement:
    """Numbers on which processes agree a step later: the largest that any of them has.

    An answer at once would let every process wait for the slowest in every step.
    """

    def __init__(self) -> None:
        self._asked: _Question | None = None

    def ask(self, trainer: "pl.Trainer", numbers: Sequence[int]) -> list[int]:
        """The answer to the numbers of the call before, zeros at first; all must ask. One process has them at once."""
        if trainer.world_size == 1:
            return [int(number) for number in numbers]
        before, self._asked = self._asked, _Question(numbers, trainer)
        return before.answer() if before is not None else [0] * len(numbers)


def largest(trainer: "pl.Trainer", numbers: Sequence[int]) -> list[int]:
    """Each number as the process has it that has most; all must ask. True is 1."""
    if trainer.world_size == 1:
        return [int(number) for number in numbers]
    return _Question(numbers, trainer).answer()


def summed(trainer: "pl.Trainer", numbers: Tensor) -> Tensor:
    """The sums over all processes, in the place of ``numbers``; only what reads them waits for a GPU."""
    if trainer.world_size > 1:
        dist.all_reduce(numbers)
    return numbers


class _Question:
    """On its way through the group for questions, on the CPU; if there is none, through the GPU, behind its work."""

    def __init__(self, numbers: Sequence[int], trainer: "pl.Trainer") -> None:
        group, device = getattr(trainer.strategy, "asking", None), trainer.strategy.root_device
        on_gpu = device.type == "cuda" and group is None
        mine = torch.tensor([float(number) for number in numbers])
        self._most = mine.pin_memory().to(device, non_blocking=True) if on_gpu else mine
        self._work: Any = dist.all_reduce(self._most, op=dist.ReduceOp.MAX, group=group, async_op=True)
        self._there = None
        if on_gpu:
            self._work.wait()  # on the GPU only
            self._most = self._most.to("cpu", non_blocking=True)
            self._there = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._there.record(torch.cuda.current_stream(device))

    def answer(self) -> list[int]:
        """Wait for it."""
        if self._there is None:
            self._work.wait()
        else:
            self._there.synchronize()
        return [int(number) for number in self._most.tolist()]
