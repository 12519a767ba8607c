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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from genoconv.errors import ModelError
from genoconv.models.hyena import HyenaDNA
from genoconv.models.suffix import base_logits
from genoconv.tasks.batching import cut, fitting_rows, halving, stack
from genoconv.tokens import A, T, Tokens, reverse_complement
from genoconv.variants.reference import Reference
from genoconv.variants.windows import unknown_fraction

Values = npt.NDArray[np.float32]

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
    """What was read of one tile of n positions.

    Attributes:
        tile: which.
        ref: tokens of the reference, (n,).
        forward, reverse: ln P of A, C, G, T on the forward strand at each position given the bases before it, and given
            those behind it, (n, 4) float32; NaN where a strand has no context (the ends of a contig), and everywhere
            in a tile that is mostly N.
    """

    tile: Tile
    ref: Tokens
    forward: Values
    reverse: Values

    @cached_property
    def known(self) -> npt.NDArray[np.bool_]:
        """Where the reference is A, C, G or T, (n,)."""
        return (self.ref >= A) & (self.ref <= T)

    def ratios(self, log_p: Values) -> Values:
        """ln P(base) - ln P(reference) of ``forward`` or ``reverse``, (n, 4); 0 at the reference, NaN where it is N."""
        ratio: Values = log_p - self._of_ref(log_p)[:, None]
        return ratio

    def _of_ref(self, log_p: Values) -> Values:
        column = np.where(self.known, self.ref, A).astype(np.int64) - A
        chosen: Values = np.take_along_axis(log_p, column[:, None], axis=1)[:, 0]
        return np.where(self.known, chosen, np.float32(np.nan))

    @cached_property
    def scores(self) -> Values:
        """Mean of both strands' ratios, or the one there is, (n, 4)."""
        return _mean(self.ratios(self.forward), self.ratios(self.reverse))

    @cached_property
    def ref_log_p(self) -> Values:
        """ln P of the reference base, mean of both strands, (n,)."""
        return _mean(self._of_ref(self.forward), self._of_ref(self.reverse))

    @cached_property
    def entropy(self) -> Values:
        """Entropy of the prediction in bits, 0 to 2, mean of both strands, (n,); NaN where the reference is N."""
        bits = _mean(_entropy(self.forward), _entropy(self.reverse))
        return np.where(self.known, bits, np.float32(np.nan))


def _mean(one: Values, two: Values) -> Values:
    """Mean of two arrays; where one is NaN, the other."""
    both: Values = np.where(np.isnan(one), two, np.where(np.isnan(two), one, (one + two) * np.float32(0.5)))
    return both


def _entropy(log_p: Values) -> Values:
    bits: Values = -(np.exp(log_p) * log_p).sum(axis=-1) / np.float32(np.log(2))
    return bits


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

    @torch.inference_mode()
    def read(self, some: Sequence[Tile], *, advance: Callable[[int], object] | None = None) -> list[Prediction]:
        """Predictions of tiles, in order; each depends on its tile alone, up to rounding.

        Args:
            some: any tiles.
            advance: called with the number of positions just read, each counted when both strands are done.

        Raises:
            ModelError: one window alone does not fit into the memory of the device, or the model predicts NaN.
        """
        found = [self._empty(tile) for tile in some]
        work = [number for number, tile in enumerate(some) if not self._mostly_unknown(tile)]
        if advance is not None:
            advance(sum(tile.end - tile.start for tile in some) - sum(some[i].end - some[i].start for i in work))

        def both(members: list[int]) -> None:
            self._read_forward([some[i] for i in members], [found[i] for i in members])
            self._read_reverse([some[i] for i in members], [found[i] for i in members])
            if advance is not None:
                advance(sum(some[i].end - some[i].start for i in members))

        for batch in cut(work, self._rows if work else 1):
            halving(both, batch, device=self.device)
        return found

    def _empty(self, tile: Tile) -> Prediction:
        ref = self.reference.tokens(tile.contig, tile.start, tile.end)
        forward, reverse = (np.full((len(ref), 4), np.nan, np.float32) for _ in range(2))
        return Prediction(tile, ref, forward, reverse)

    def _mostly_unknown(self, tile: Tile) -> bool:
        return unknown_fraction(self.reference.tokens(tile.contig, tile.before, tile.after)) > N_RICH

    def _read_forward(self, some: list[Tile], into: list[Prediction]) -> None:
        windows = [self.reference.tokens(tile.contig, tile.before, tile.end) for tile in some]
        for tile, result, log_p in zip(some, into, self._log_p(windows, some), strict=True):
            result.forward[:] = log_p[tile.start - tile.before : tile.end - tile.before]

    def _read_reverse(self, some: list[Tile], into: list[Prediction]) -> None:
        windows = [reverse_complement(self.reference.tokens(tile.contig, tile.start, tile.after)) for tile in some]
        for tile, result, log_p in zip(some, into, self._log_p(windows, some), strict=True):
            # Back to the forward strand: positions reversed, and A, C, G, T is T, G, C, A reversed.
            result.reverse[:] = log_p[tile.after - tile.end : tile.after - tile.start][::-1, ::-1]

    def _log_p(self, windows: list[Tokens], tiles: list[Tile]) -> Values:
        """ln P of A, C, G, T at each position given those before it, (B, N, 4); NaN at the first."""
        ids = stack(windows, self.window).to(self.device)
        self.tokens += ids.numel()
        log_p = torch.log_softmax(self._logits(ids)[:, :-1].float(), dim=-1)
        lost = log_p.isnan().flatten(1).any(dim=1)
        if bool(lost.any()):  # not to be taken for a strand without context
            first = tiles[int(lost.int().argmax())]
            raise ModelError(
                f"predictions are not finite (first in {first.contig}:{first.start + 1:,}-{first.end:,}); its weights"
                " are out of range for this precision, or it was damaged in training"
            )
        values: Values = nn.functional.pad(log_p, (0, 0, 1, 0), value=float("nan")).cpu().numpy()
        return values

    def _logits(self, ids: Tensor) -> Tensor:
        if isinstance(self.model, HyenaDNA):
            return base_logits(self.model, self.model.hidden(ids, layer=-1))
        logits: Tensor = self.model(ids)[..., A : T + 1]
        return logits

    @cached_property
    def _rows(self) -> int:
        """Windows that are read at once; filters are made before."""
        prepare = getattr(self.model, "prepare", None)
        if prepare is not None:
            prepare(self.window)
        if self.batch_size:
            return self.batch_size
        return fitting_rows(self._logits, length=self.window, device=self.device)
