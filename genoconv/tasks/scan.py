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
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from genoconv.errors import ModelError
from genoconv.models.hyena import HyenaDNA
from genoconv.tasks.batching import computing, cut, fetching, fitting_rows, halving
from genoconv.tasks.tiling import Laid, LaidOnDevice, Pass, Tile, Tiles, tiles
from genoconv.tokens import A, T
from genoconv.variants.reference import Reference

Taken = TypeVar("Taken")

N_RICH = 0.5
"""A tile is left out where a greater fraction of it and its context is not A, C, G or T."""


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


class NotFiniteError(ModelError):
    """A model predicts what is not a number."""


@contextmanager
def numbers_of(model: Path) -> Iterator[None]:
    """Say of which model it is that numbers are not finite.

    Raises:
        ModelError: in place of :class:`NotFiniteError`.
    """
    try:
        yield
    except NotFiniteError as error:
        raise ModelError(f"{model}: its {error}") from error


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

    def tiles(self, contig: str, start: int, end: int) -> Tiles:
        """:func:`tiles` of a part of a contig, 0-based half-open."""
        length = self.reference.contigs[contig]
        return tiles(contig, start, end, length=length, context=self.context, step=self.step)

    def read(
        self,
        some: Sequence[Tile],
        *,
        take: Callable[[Prediction], Callable[[], Taken]],
        advance: Callable[[int], object] | None = None,
    ) -> list[Taken]:
        """What ``take`` makes of the predictions of tiles, in order, a batch at a time.

        What is predicted for a tile depends on it alone, up to rounding.

        Args:
            some: any tiles.
            take: called with each batch while no other thread computes. What it returns, such as
                :func:`.batching.fetching` of what is wanted, is called when others may compute again.
            advance: called with the number of positions just read, each counted when both strands are done.

        Raises:
            NotFiniteError: the model predicts NaN.
            ModelError: one window alone does not fit into the memory of the device.
        """
        found: list[Taken] = []
        if not some:
            return found
        every = Tiles.of(some)

        def work(numbers: list[int]) -> None:
            batch = every[numbers[0] : numbers[-1] + 1]
            found.append(self._predict(batch, take))
            if advance is not None:
                advance(batch.positions)

        for numbers in cut(list(range(len(every))), self._rows):
            halving(work, numbers, device=self.device)
        return found

    @torch.inference_mode()
    def _predict(self, some: Tiles, take: Callable[[Prediction], Callable[[], Taken]]) -> Taken:
        """One batch; tiles that are mostly unknown are not read."""
        laid = Laid.of(some, self.reference)
        read = laid.unknown <= N_RICH
        with computing():
            every = laid.on(self.device)
            if read.all():
                forward, reverse = self._both(every)
            else:
                forward, reverse = (torch.full((len(every.ref), 4), torch.nan, device=self.device) for _ in range(2))
                if read.any():
                    at = torch.from_numpy(read).to(self.device)[every.tile]
                    forward[at], reverse[at] = self._both(laid.only(read).on(self.device))
            found = Prediction(some, every.ref, forward, reverse)
            lost = _lost(found)
            any_lost, taken = fetching(lost.any()), take(found)
        if any_lost():
            raise _not_finite(some, int(lost.int().argmax()))
        return taken()

    def _both(self, laid: LaidOnDevice) -> tuple[Tensor, Tensor]:
        """ln P of A, C, G, T of the forward strand at each position, read forwards and backwards, (P, 4) each."""
        forward = self._log_p(laid.forward(self.window))
        # On the other strand A, C, G, T is T, G, C, A.
        return forward, self._log_p(laid.backward(self.window)).flip(1)

    def _log_p(self, wanted: Pass) -> Tensor:
        """ln P of A, C, G, T at each of P positions, (P, 4); NaN at the first of a row, infinite where it is lost."""
        self.tokens += wanted.ids.numel()
        log_p = torch.log_softmax(self._logits(wanted).float(), dim=-1)
        log_p = torch.where(log_p.isnan(), torch.inf, log_p)
        return torch.where(wanted.columns[:, None] < 0, torch.nan, log_p)

    def _logits(self, wanted: Pass) -> Tensor:
        ids, rows, columns, first = wanted
        if isinstance(self.model, HyenaDNA):
            return self.model.base_logits(ids, start=first)[rows, columns - first]
        logits: Tensor = self.model(ids)[rows, columns, A : T + 1]
        return logits

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
                lambda ids: self._logits(Pass(ids, torch.zeros_like(every), every)),
                length=self.window,
                device=self.device,
            )


def _lost(one: Prediction) -> Tensor:
    """Where :meth:`Scanner._log_p` marks a prediction as lost, (P,): not to be taken for a strand without context."""
    return (one.forward == torch.inf).any(1) | (one.reverse == torch.inf).any(1)


def _not_finite(some: Sequence[Tile], position: int) -> NotFiniteError:
    """That the prediction is not a number at that one of the positions of tiles."""
    for tile in some:
        if position < tile.end - tile.start:
            break
        position -= tile.end - tile.start
    return NotFiniteError(
        f"predictions are not finite (first in {tile.contig}:{tile.start + 1:,}-{tile.end:,}); its weights"
        " are out of range for this precision, or it was damaged in training"
    )
