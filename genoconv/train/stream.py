"""The stream of batches: which windows, in which order, a function of the seed and a counter alone.

Because batch ``i`` does not depend on how one came to ``i``, a run that was killed resumes with exactly the data that
an uninterrupted run would have seen, whatever the number of reading processes.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.utils.data import IterableDataset, get_worker_info

from genoconv.genome.windows.batches import batch_plan, drawn_windows
from genoconv.tokens import A, T, Tokens
from genoconv.train.batch import Batch, collate, collate_packed
from genoconv.train.readers import Reader
from genoconv.train.settings import Stage


def begin_reading(worker: int) -> None:
    """For reading processes: Ctrl-C and SIGTERM reach the whole group, and the run still needs its last batches.

    A run that is killed takes them with it. By themselves they would wait for ever for somebody to read their batches.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def with_noise(tokens: Tokens, share: float, random: np.random.Generator) -> Tokens:
    """A copy of ``tokens`` (L,) in which about this share is replaced by A, C, G or T, whatever stood there."""
    replaced = random.random(len(tokens), dtype=np.float32) < share
    return np.where(replaced, random.integers(A, T + 1, len(tokens), dtype=np.uint8), tokens)


@dataclass(frozen=True, slots=True)
class Share:
    """Which batches are whose: this process takes ``rank`` of every ``world``, beginning with its ``first``-th."""

    rank: int = 0
    world: int = 1
    first: int = 0


class TrainingBatches(IterableDataset[Batch]):
    """An endless stream of batches.

    Args:
        reader: the training windows.
        stages: lengths to cut windows to, and for how many of *this process's* batches (None: for ever).
        tokens_per_batch: bases in a batch, padding included; a longer window raises it to its own length.
        flips: read a random half of the windows on the other strand; for all, or for each window, shape (windows,).
        packed: of each stage, whether windows lie end to end in one row; none where they are padded to a length.
        noise: share of the bases that are replaced by random ones, others each time that a window is read.
        seed: decides order, cuts, flips and noise.
        share: of several processes.
        often: how often each window is read, relative to the others, shape (windows,); None reads all alike, once in
            every epoch. Otherwise an epoch has as many windows, each as often as it weighs, rounded up or down so that
            epochs add up to it.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        stages: Sequence[Stage],
        tokens_per_batch: int,
        flips: bool | npt.NDArray[np.bool_],
        seed: int,
        share: Share,
        often: npt.NDArray[np.float64] | None = None,
        noise: float = 0.0,
        packed: Sequence[bool] = (),
    ) -> None:
        self.noise = noise
        self.packed = packed or [False] * len(stages)
        self.reader = reader
        self.stages = stages
        self.tokens_per_batch = tokens_per_batch
        self.flips = np.broadcast_to(np.asarray(flips), (len(reader),))
        self.seed = seed
        self.share = share
        self.often = often
        self._sizes: dict[tuple[int, int], int] = {}
        self._current: tuple[tuple[int, int], list[list[int]]] = (-1, -1), []

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        index = self.share.first + number
        while True:
            yield self.batch(index)
            index += count

    def batch(self, index: int) -> Batch:
        """The ``index``-th batch of this process."""
        stage, offset = self._stage(index)
        limit = self.stages[stage].length
        rng = np.random.default_rng([self.seed, self.share.rank, index])
        items = []
        for window in self._members(stage, offset * self.share.world + self.share.rank):
            length = int(self.reader.lengths[window])
            crop = None
            if length > limit:
                start = int(rng.integers(length - limit + 1))
                crop = (start, start + limit)
            item = self.reader.read(window, crop=crop, flip=bool(self.flips[window]) and bool(rng.integers(2)))
            items.append(item._replace(tokens=with_noise(item.tokens, self.noise, rng)) if self.noise else item)
        return collate_packed(items) if self.packed[stage] else collate(items)

    def _stage(self, index: int) -> tuple[int, int]:
        """The stage of a batch, and how many batches of that stage come before it."""
        for number, stage in enumerate(self.stages):
            if stage.steps is None or index < stage.steps:
                return number, index
            index -= stage.steps
        raise AssertionError("the last stage has no end")

    def _members(self, stage: int, position: int) -> list[int]:
        """Windows of a stage's batch at ``position``, counted over all processes and through all epochs."""
        epoch = 0
        while position >= (size := self._size(stage, epoch)):
            position -= size
            epoch += 1
        return self._plan(stage, epoch)[position]

    def _size(self, stage: int, epoch: int) -> int:
        """Batches of an epoch; remembered, because every batch counts the epochs before its own."""
        if (stage, epoch) not in self._sizes:
            self._sizes[stage, epoch] = len(self._plan(stage, epoch))
        return self._sizes[stage, epoch]

    def _plan(self, stage: int, epoch: int) -> list[list[int]]:
        if self._current[0] != (stage, epoch):
            lengths, seed = np.minimum(self.reader.lengths, self.stages[stage].length), self.seed + stage
            drawn = None if self.often is None else drawn_windows(self.often, seed=seed, epoch=epoch)
            chosen = lengths if drawn is None else lengths[drawn]
            tokens = max(self.tokens_per_batch, int(lengths.max(initial=0)))
            packed = self.packed[stage]
            plan = batch_plan(chosen.tolist(), tokens_per_batch=tokens, seed=seed, epoch=epoch, packed=packed)
            if drawn is not None:
                plan = [drawn[members].tolist() for members in plan]
            self._current = (stage, epoch), plan
        return self._current[1]
