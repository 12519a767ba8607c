"""Decisions on which the processes of a run must agree."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    import pytorch_lightning as pl


class Agreement:
    """Numbers on which processes agree a step later: the largest that any of them has.

    An answer at once would let every GPU wait for the slowest, and then for its own process, in every step.
    """

    def __init__(self) -> None:
        self._asked: _Question | None = None

    def ask(self, trainer: "pl.Trainer", numbers: Sequence[int]) -> list[int]:
        """The answer to the numbers of the call before, zeros at first; all must ask. One process has them at once."""
        if trainer.world_size == 1:
            return [int(number) for number in numbers]
        before, self._asked = self._asked, _Question(numbers, trainer.strategy.root_device)
        return before.answer() if before is not None else [0] * len(numbers)


class _Question:
    def __init__(self, numbers: Sequence[int], device: torch.device) -> None:
        mine = torch.tensor([float(number) for number in numbers])
        on_gpu = device.type == "cuda"
        self._most = mine.pin_memory().to(device, non_blocking=True) if on_gpu else mine
        self._work: Any = dist.all_reduce(self._most, op=dist.ReduceOp.MAX, async_op=True)
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
