"""Batches of windows: which ones, in which order, a function of the seed and a counter alone.

Because batch ``i`` does not depend on how one came to ``i``, a run that was killed resumes with exactly the data that
an uninterrupted run would have seen, whatever the number of reading processes.
"""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.batches import batch_plan, drawn_windows, pad_batch
from genoconv.genome.windows.regions import RegionMap
from genoconv.tokens import A, T, Tokens, reverse_complement
from genoconv.train.settings import Stage

if TYPE_CHECKING:
    import pandas as pd


_NONE = torch.empty(0, dtype=torch.uint8)
NO_STRATUM = 255
"""The stratum of padding."""


class Batch(NamedTuple):
    """Windows of one batch, right-padded.

    Attributes:
        ids: (B, L) uint8 tokens.
        weights: (B, L) float32 weight of each base in the loss; shape (0,) where all are one.
        tokens: how many of ``ids`` are not padding.
        targets: what is to be predicted of each window, shape (B, C), or of each base, shape (B, L, C), with NaN where
            that is unknown and for padding; shape (0,) where it is the sequence.
        strata: (B, L) uint8, the part of the data that each base belongs to, :data:`NO_STRATUM` for padding; shape
            (0,) where there is one part.
        features: (B, D) vectors computed beforehand, which stand for the model's own; shape (0,) where there are none.
    """

    ids: Tensor
    weights: Tensor
    tokens: int
    targets: Tensor
    strata: Tensor = _NONE
    features: Tensor = _NONE


class Parcel:
    """A batch on its way from a reading process: as arrays, which cross as bytes; each tensor would open a socket."""

    def __init__(self, batch: Batch) -> None:
        self._tokens = batch.tokens
        self._arrays = {name: value.numpy() for name, value in batch._asdict().items() if isinstance(value, Tensor)}

    def open(self) -> Batch:
        """The batch."""
        return Batch(tokens=self._tokens, **{name: torch.from_numpy(array) for name, array in self._arrays.items()})

    def pin_memory(self) -> Batch:
        """The batch in memory that a GPU copies from by itself; a thread of the loader calls this."""
        batch = self.open()
        return batch._replace(**{name: getattr(batch, name).pin_memory() for name in self._arrays})


class Item(NamedTuple):
    """One window: its tokens (L,), and what is given with them.

    That is the weight of each in the loss, what is to be predicted of the window (C,) or of its tokens (L, C), the
    strata of the tokens, and the vector (D,) that stands for the model's own.
    """

    tokens: Tokens
    weights: npt.NDArray[np.float32] | None = None
    target: npt.NDArray[np.float32] | None = None
    strata: npt.NDArray[np.uint8] | None = None
    features: npt.NDArray[np.float32] | None = None


class Reader(Protocol):
    """Windows by number, with their lengths in bases."""

    lengths: npt.NDArray[np.int64]

    def __len__(self) -> int: ...

    def read(self, index: int, *, crop: tuple[int, int] | None = None, flip: bool = False) -> Item:
        """One window or part of it, on its own strand or, flipped, on the other."""
        ...


@dataclass(frozen=True)
class RegionWeights:
    """What the regions of a genome are to a reader of its windows.

    Attributes:
        map: the label of each base.
        parts: of each label, the part of the data, (labels,).
        loss: of each label, the weight in the loss, (labels,); None where all are one.
    """

    map: RegionMap
    parts: npt.NDArray[np.uint8]
    loss: npt.NDArray[np.float32] | None = None


class WindowReader:
    """The tokens of a table of windows, each in the direction of its strand.

    Args:
        fasta: where from.
        windows: table with contig, start, end (0-based half-open) and strand.
        masked_weight: weight of soft-masked bases in the loss; None reads no mask.
        stratum: the part of the data that its bases belong to, or with ``regions`` the first of their parts; None where
            there is one part.
        regions: which region each base is in, with the part of each, counted from ``stratum``, and what it weighs in
            the loss; None where there are none.

    Attributes:
        lengths: bases of every window, shape (number of windows,).
    """

    def __init__(
        self,
        fasta: Fasta,
        windows: "pd.DataFrame",
        *,
        masked_weight: float | None = None,
        stratum: int | None = None,
        regions: RegionWeights | None = None,
    ) -> None:
        self.fasta = fasta
        self.contigs: list[str] = windows["contig"].tolist()
        self.starts = windows["start"].to_numpy(np.int64)
        self.ends = windows["end"].to_numpy(np.int64)
        self.lengths: npt.NDArray[np.int64] = self.ends - self.starts
        self.reverse = (windows["strand"] == "-").to_numpy(np.bool_)
        self.masked_weight = masked_weight
        self.stratum = stratum
        self.regions = regions

    def __len__(self) -> int:
        return len(self.contigs)

    def __getitem__(self, index: int) -> Tokens:
        """Tokens of one window."""
        return self.read(index).tokens

    def read(self, index: int, *, crop: tuple[int, int] | None = None, flip: bool = False) -> Item:
        """Tokens and loss weights of one window.

        Args:
            index: row of the table.
            crop: part of the window, 0-based half-open within it along the contig; None is all.
            flip: read the other strand instead.
        """
        first, last = crop or (0, int(self.lengths[index]))
        start = int(self.starts[index]) + first
        where = (self.contigs[index], start, start + last - first)
        weights: npt.NDArray[np.float32] | None = None
        if self.masked_weight is None:
            ids = self.fasta.tokens(*where)
        else:
            ids, mask = self.fasta.tokens_and_mask(*where)
            weights = np.where(mask, np.float32(self.masked_weight), np.float32(1))
        strata = None if self.stratum is None else np.full(len(ids), self.stratum, np.uint8)
        if self.regions is not None:
            labels = self.regions.map.labels(*where)
            strata = self.regions.parts[labels] + np.uint8(self.stratum or 0)
            if self.regions.loss is not None:
                weights = self.regions.loss[labels] if weights is None else weights * self.regions.loss[labels]
        if bool(self.reverse[index]) != flip:
            weights = None if weights is None else weights[::-1]
            strata = None if strata is None else strata[::-1]
            return Item(reverse_complement(ids), weights, None, strata)
        return Item(ids, weights, None, strata)


def collate(items: Sequence[Item]) -> Batch:
    """Pad windows on the right to the longest of them."""
    ids = pad_batch([item.tokens for item in items])
    weighted = any(item.weights is not None for item in items)
    weights = np.ones(ids.shape, np.float32) if weighted else np.empty(0, np.float32)
    targets = [item.target for item in items if item.target is not None]
    divided = any(item.strata is not None for item in items)
    strata = np.full(ids.shape, NO_STRATUM, np.uint8) if divided else np.empty(0, np.uint8)
    features = [item.features for item in items if item.features is not None]
    for row, item in enumerate(items):
        if item.weights is not None:
            weights[row, : len(item.tokens)] = item.weights
        if item.strata is not None:
            strata[row, : len(item.tokens)] = item.strata
    return Batch(
        ids=torch.from_numpy(ids),
        weights=torch.from_numpy(weights),
        tokens=sum(len(item.tokens) for item in items),
        targets=torch.from_numpy(_stacked(targets, ids.shape[1])),
        strata=torch.from_numpy(strata),
        features=torch.from_numpy(np.stack(features) if features else np.empty(0, np.float32)),
    )


def _stacked(targets: Sequence[npt.NDArray[np.float32]], length: int) -> npt.NDArray[np.float32]:
    """Targets of windows (C,), or of their bases (window, C), which are padded with NaN to ``length``."""
    if not targets or targets[0].ndim == 1:
        return np.stack(targets) if targets else np.empty(0, np.float32)
    found = np.full((len(targets), length, targets[0].shape[1]), np.nan, np.float32)
    for row, target in zip(found, targets, strict=True):
        row[: len(target)] = target
    return found


def leave_signals_to_parent(worker: int) -> None:
    """For reading processes: Ctrl-C and SIGTERM reach the whole group, and the run still needs its last batches."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


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
        tokens_per_batch: bases in a batch, padding included; a longer window is a batch by itself.
        flips: read a random half of the windows on the other strand; for all, or for each window, shape (windows,).
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
    ) -> None:
        self.noise = noise
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
        return collate(items)

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
            plan = batch_plan(chosen.tolist(), tokens_per_batch=tokens, seed=seed, epoch=epoch)
            if drawn is not None:
                plan = [drawn[members].tolist() for members in plan]
            self._current = (stage, epoch), plan
        return self._current[1]
