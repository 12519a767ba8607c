"""What a causal model says about every position of a genome: all three SNVs of each base from one pass per strand.

Let C be the context and S the step, a multiple of 2. Positions are tiled by a grid: the tile of centre c, a multiple
of S, holds positions c - S/2 to c + S/2 - 1. Forwards, a tile is read from C bases before it to its end, and backwards
from C bases behind it to its start, so each of its positions has C to C + S - 1 bases of context on either strand, or
all that the contig has. With P over A, C, G and T alone,

    forward(b) = ln P(b | bases before) - ln P(ref | bases before)

for each other base b, backwards the same with complements, and the score is the mean of both. This is what scoring the
SNV at its own base gives (``reduce=site``) in windows of 2 C + S bases on a grid of S, except near a contig's ends,
where those windows are moved inwards and see more.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from genoconv.errors import ModelError
from genoconv.genome.windows.batches import pad_batch
from genoconv.models.hyena import HyenaDNA
from genoconv.models.suffix import base_logits
from genoconv.tasks.batching import computing, cut, fitting_rows, halving
from genoconv.tokens import A, T, Tokens, reverse_complement
from genoconv.variants.reference import Reference
from genoconv.variants.windows import unknown_fraction

Places = npt.NDArray[np.int64]

Taken = TypeVar("Taken")

N_RICH = 0.5
"""A tile is left out where a greater fraction of it and its context is not A, C, G or T."""


class Tile(NamedTuple):
    """Positions that are read together: ``[start, end)`` of a contig, 0-based half-open.

    The forward pass reads ``[before, end)``, the reverse pass ``[start, after)``.
    """

    contig: str
    start: int
    end: int
    before: int
    after: int


def tiles(contig: str, start: int, end: int, *, length: int, context: int, step: int) -> Iterator[Tile]:
    """The tiles of ``[start, end)``, in order; their contexts are those of the whole contig's tiles.

    Args:
        contig: name, for the tiles.
        start, end: positions that are wanted, 0-based half-open, inside the contig.
        length: bases of the contig.
        context: bases on either side of a tile.
        step: positions of a whole tile, an even number.
    """
    half = step // 2
    for centre in range((start + half) // step * step, end + half, step):
        first, last = max(centre - half, 0), min(centre + half, length)
        kept = max(first, start), min(last, end)
        if kept[0] < kept[1]:
            yield Tile(contig, *kept, max(0, centre - half - context), min(length, centre + half + context))


@dataclass(frozen=True)
class Prediction:
    """What was read of tiles that have P positions together, in their order; tensors are where the model is.

    Attributes:
        tiles: which.
        ref: tokens of the reference, (P,) uint8.
        forward, reverse: ln P of A, C, G, T on the forward strand at each position given the bases before it, and given
            those behind it, (P, 4) float32; NaN where a strand has no context (the ends of a contig), and everywhere
            in a tile that is mostly N.
    """

    tiles: Sequence[Tile]
    ref: Tensor
    forward: Tensor
    reverse: Tensor

    @cached_property
    def known(self) -> Tensor:
        """Where the reference is A, C, G or T, (P,) bool."""
        return (self.ref >= A) & (self.ref <= T)

    @cached_property
    def _ref_column(self) -> Tensor:
        return torch.where(self.known, self.ref, A).long()[:, None] - A

    def ratios(self, log_p: Tensor) -> Tensor:
        """ln P(base) - ln P(reference) of ``forward`` or ``reverse``, (P, 4); 0 at the reference, NaN where it is N."""
        return log_p - self._of_ref(log_p)[:, None]

    def _of_ref(self, log_p: Tensor) -> Tensor:
        return torch.where(self.known, log_p.gather(1, self._ref_column)[:, 0], torch.nan)

    @cached_property
    def scores(self) -> Tensor:
        """Mean of both strands' ratios, or the one there is, (P, 4)."""
        return _mean(self.ratios(self.forward), self.ratios(self.reverse))

    @cached_property
    def others(self) -> Tensor:
        """:attr:`scores` of the three alternatives, (P, 4); NaN at the reference."""
        return self.scores.scatter(1, self._ref_column, torch.nan)

    @cached_property
    def ref_log_p(self) -> Tensor:
        """ln P of the reference base, mean of both strands, (P,)."""
        return _mean(self._of_ref(self.forward), self._of_ref(self.reverse))

    @cached_property
    def entropy(self) -> Tensor:
        """Entropy of the prediction in bits, 0 to 2, mean of both strands, (P,); NaN where the reference is N."""
        return torch.where(self.known, _mean(_entropy(self.forward), _entropy(self.reverse)), torch.nan)


def _mean(one: Tensor, two: Tensor) -> Tensor:
    """Mean of two tensors; where one is NaN, the other."""
    return torch.where(one.isnan(), two, torch.where(two.isnan(), one, (one + two) * 0.5))


def _entropy(log_p: Tensor) -> Tensor:
    return -(log_p.exp() * log_p).sum(dim=-1) / math.log(2)


class Scanner:
    """Reads tiles with a model.

    Args:
        model: causal, ``model(ids (B, N)) -> logits (B, N, V)``.
        reference: the genome.
        context, step: as of :func:`tiles`; no more than ``context + step`` bases are read at once.
        device: where the model is.
        batch_size: windows read at once; by memory if None.

    Attributes:
        tokens: how many tokens the model has read so far.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        reference: Reference,
        context: int,
        step: int,
        device: torch.device | str = "cpu",
        batch_size: int | None = None,
    ) -> None:
        self.model = model.eval()
        self.reference = reference
        self.context = context
        self.step = step
        self.window = context + step
        self.device = torch.device(device)
        self.batch_size = batch_size
        self.tokens = 0

    def tiles(self, contig: str, start: int, end: int) -> Iterator[Tile]:
        """:func:`tiles` of a part of a contig, 0-based half-open."""
        length = self.reference.contigs[contig]
        return tiles(contig, start, end, length=length, context=self.context, step=self.step)

    def read(
        self,
        some: Sequence[Tile],
        *,
        take: Callable[[Prediction], Taken],
        advance: Callable[[int], object] | None = None,
    ) -> list[Taken]:
        """What ``take`` makes of the predictions of tiles, in order, a batch at a time.

        What is predicted for a tile depends on it alone, up to rounding.

        Args:
            some: any tiles.
            take: called with each batch while no other thread computes; takes from the device what is wanted.
            advance: called with the number of positions just read, each counted when both strands are done.

        Raises:
            ModelError: one window alone does not fit into the memory of the device, or the model predicts NaN.
        """
        found: list[Taken] = []

        def work(batch: list[Tile]) -> None:
            found.append(self._predict(batch, take))
            if advance is not None:
                advance(sum(tile.end - tile.start for tile in batch))

        for batch in cut(list(some), self._rows if some else 1):
            halving(work, batch, device=self.device)
        return found

    @torch.inference_mode()
    def _predict(self, some: Sequence[Tile], take: Callable[[Prediction], Taken]) -> Taken:
        """One batch; tiles that are mostly unknown are not read."""
        around = [self.reference.tokens(tile.contig, tile.before, tile.after) for tile in some]
        ref = np.concatenate(
            [
                tokens[tile.start - tile.before : tile.end - tile.before]
                for tile, tokens in zip(some, around, strict=True)
            ]
        )
        read = np.array([unknown_fraction(tokens) <= N_RICH for tokens in around])
        members = np.flatnonzero(read).tolist()
        forwards, backwards = self._inputs([some[n] for n in members], [around[n] for n in members])
        with computing():
            forward, reverse = (torch.full((len(ref), 4), torch.nan, device=self.device) for _ in range(2))
            if members:
                at = self._on_device(np.flatnonzero(np.repeat(read, [tile.end - tile.start for tile in some])))
                forward[at] = self._log_p(forwards)
                # On the other strand A, C, G, T is T, G, C, A.
                reverse[at] = self._log_p(backwards).flip(1)
            found = Prediction(some, self._on_device(ref), forward, reverse)
            _check_finite(found)
            return take(found)

    def _inputs(self, some: Sequence[Tile], around: Sequence[Tokens]) -> "tuple[_Input, _Input]":
        """What is read forwards and backwards; ``around`` is ``[before, after)`` of each tile."""
        start, end, before, after = np.array([tile[1:] for tile in some], np.int64).reshape(-1, 4).T
        sizes = end - start
        row = np.repeat(np.arange(len(some)), sizes)
        offset = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        pairs = list(zip(some, around, strict=True))
        forward = pad_batch([bases[: tile.end - tile.before] for tile, bases in pairs], length=self.window)
        reverse = pad_batch(
            [reverse_complement(bases[tile.start - tile.before :]) for tile, bases in pairs], length=self.window
        )
        return (
            _Input(forward, row, (start - before)[row] + offset - 1),
            _Input(reverse, row, (after - start)[row] - offset - 2),
        )

    def _log_p(self, wanted: "_Input") -> Tensor:
        """ln P of A, C, G, T at each of P positions, (P, 4); NaN at the first of a row, infinite where it is lost."""
        ids, rows, columns = (self._on_device(part) for part in wanted)
        self.tokens += ids.numel()
        logits = self._logits(ids.long(), rows, columns)
        log_p = torch.log_softmax(logits.float(), dim=-1)
        log_p = torch.where(log_p.isnan(), torch.inf, log_p)
        return torch.where(columns[:, None] < 0, torch.nan, log_p)

    def _logits(self, ids: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        if isinstance(self.model, HyenaDNA):
            return base_logits(self.model, self.model.hidden(ids, layer=-1)[rows, columns])
        logits: Tensor = self.model(ids)[rows, columns, A : T + 1]
        return logits

    def _on_device(self, values: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self.device)

    @cached_property
    def _rows(self) -> int:
        """Windows that are read at once; filters are made before."""
        with computing(), torch.inference_mode():
            prepare = getattr(self.model, "prepare", None)
            if prepare is not None:
                prepare(self.window)
            if self.batch_size:
                return self.batch_size
            every = torch.arange(self.window, device=self.device)
            return fitting_rows(
                lambda ids: self._logits(ids, torch.zeros_like(every), every), length=self.window, device=self.device
            )


class _Input(NamedTuple):
    """Tokens (B, N) uint8, and of each of P positions the row and the column of the base before it, or -1."""

    ids: Tokens
    row: Places
    last: Places


def _check_finite(one: Prediction) -> None:
    """Refuse what :meth:`Scanner._log_p` marks as lost: it is not to be taken for a strand without context.

    Raises:
        ModelError: a prediction is not a number.
    """
    lost = (one.forward == torch.inf).any(1) | (one.reverse == torch.inf).any(1)
    if not bool(lost.any()):
        return
    position = int(lost.int().argmax())
    for tile in one.tiles:
        if position < tile.end - tile.start:
            raise ModelError(
                f"predictions are not finite (first in {tile.contig}:{tile.start + 1:,}-{tile.end:,}); its weights"
                " are out of range for this precision, or it was damaged in training"
            )
        position -= tile.end - tile.start
