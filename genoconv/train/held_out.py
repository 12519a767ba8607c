"""Held-out windows: which of them are measured, always the same ones, and the measuring itself."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from genoconv.genome.windows.batches import batch_plan
from genoconv.train.agreement import summed
from genoconv.train.batch import Batch, collate, collate_packed
from genoconv.train.module import Learner
from genoconv.train.readers import Reader
from genoconv.train.stream import Share


def spread(lengths: Sequence[int], *, bases: int, parts: Sequence[int] = ()) -> list[int]:
    """Numbers of windows at equal distances through a table, about ``bases`` in all, at least one if there is one.

    ``parts`` are the rows of the tables that it was joined from; each of them has its share, and at least one.
    """
    if not len(lengths):
        return []
    return spaced(parts or [len(lengths)], round(len(lengths) * bases / max(1, sum(lengths))))


def spaced(parts: Sequence[int], count: int) -> list[int]:
    """``count`` row numbers of tables laid end to end, at equal distances in each: at least one each, at most all."""
    rows = np.array(parts, np.int64)
    filled = rows > 0
    count = max(int(filled.sum()), min(int(rows.sum()), count))
    spare = np.cumsum(np.where(filled, rows - 1, 0))
    share = (count - filled.sum()) / max(1, int(spare[-1]))
    each = np.diff((spare * share).round(), prepend=0).astype(np.int64) + filled
    return [
        int(number) + first
        for size, first, some in zip(rows, np.cumsum(rows) - rows, each, strict=True)
        for number in np.linspace(0, size - 1, some).round()
    ]


class HeldOut:
    """The windows of one held-out set that are measured; every process measures its share of them.

    Args:
        split: ``valid`` or ``test``.
        reader: all windows that may be measured.
        bases: about how many to measure.
        tokens_per_batch: bases in a batch, padding included.
        parts: windows of each source, in the order of ``reader``; empty where there is one.
        packed: windows lie end to end in one row, rather than padded.

    Attributes:
        windows: numbers of the windows in ``reader`` that are measured.
    """

    def __init__(
        self,
        split: str,
        reader: Reader,
        *,
        bases: int,
        tokens_per_batch: int,
        parts: Sequence[int] = (),
        packed: bool = False,
    ) -> None:
        self.split = split
        self.reader = reader
        self.packed = packed
        self.parts = parts or [len(reader)]
        self.tokens_per_batch = tokens_per_batch
        self.windows = spread(reader.lengths.tolist(), bases=bases, parts=self.parts)
        self._batches: list[Batch] | None = None

    @property
    def bases(self) -> int:
        """Bases in the windows that are measured, by all processes together."""
        return int(self.reader.lengths[self.windows].sum())

    def limit(self, bases: int) -> bool:
        """Measure about ``bases`` from now on, if that is fewer; returns whether it is."""
        fewer = spread(self.reader.lengths.tolist(), bases=bases, parts=self.parts)
        if len(fewer) >= len(self.windows):
            return False
        self.take(len(fewer))
        return True

    def take(self, count: int) -> None:
        """Measure ``count`` windows from now on, spread over all of them."""
        self.windows = spaced(self.parts, count)
        self._batches = None

    def batches(self, share: Share) -> list[Batch]:
        """Batches of this process's share; none where there are fewer windows than processes."""
        if self._batches is None:
            mine = self.windows[share.rank :: share.world]
            lengths = [int(self.reader.lengths[window]) for window in mine]
            limit = max(self.tokens_per_batch, *lengths, 0)
            plan = batch_plan(lengths, tokens_per_batch=limit, seed=0, epoch=0, packed=self.packed)
            joined = collate_packed if self.packed else collate
            self._batches = [joined([self.reader.read(mine[member]) for member in members]) for members in plan]
        return self._batches


def measure(
    trainer: pl.Trainer, learner: Learner, held_out: HeldOut, share: Share, *, in_a_hurry: Callable[[], bool]
) -> list[float] | None:
    """Sums of the objective over all held-out windows of all processes, each window counted once.

    Every process must call this. None where any of them was in a hurry, so that the rest was left out.
    """
    total: Tensor | None = None
    broken_off = False
    learner.model.eval()
    with torch.no_grad(), trainer.precision_plugin.val_step_context():
        for batch in _on_device(trainer, held_out.batches(share)):
            if in_a_hurry():
                broken_off = True
                break
            sums = learner.sums(batch).double()
            total = sums if total is None else total + sums
    learner.model.train()
    mine = torch.zeros(learner.objective.terms + 1, dtype=torch.float64, device=trainer.strategy.root_device)
    if total is not None:
        mine[:-1] = total
    mine[-1] = float(broken_off)
    *sums_of_all, broken = summed(trainer, mine).tolist()
    return None if broken else sums_of_all


def _on_device(trainer: pl.Trainer, batches: Sequence[Batch]) -> Iterator[Batch]:
    for batch in batches:
        yield trainer.strategy.batch_to_device(batch)
