"""Tiles of a genome, positions that are read together, and their bases as a model reads them; see :mod:`.scan`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genoconv.tasks.batching import sent
from genoconv.tokens import PAD, A, T, Tokens, reverse_complement
from genoconv.variants.reference import Reference

Numbers = npt.NDArray[np.int64]


class Tile(NamedTuple):
    """Positions that are read together: ``[start, end)`` of a contig, 0-based half-open.

    The forward pass reads ``[before, end)``, the reverse pass ``[start, after)``.
    """

    contig: str
    start: int
    end: int
    before: int
    after: int


@dataclass(frozen=True, eq=False)
class Tiles(Sequence[Tile]):
    """T tiles in arrays: many cost little more than one.

    Attributes:
        contigs: names.
        contig: number of each tile's contig, (T,).
        places: start, end, before and after of each, (T, 4).
    """

    contigs: Sequence[str]
    contig: Numbers
    places: Numbers

    @classmethod
    def of(cls, some: Sequence[Tile]) -> "Tiles":
        """At least one tile, in any order."""
        return some if isinstance(some, Tiles) else cls.joined([cls._one(*tile) for tile in some])

    @classmethod
    def _one(cls, contig: str, *place: int) -> "Tiles":
        return cls([contig], np.zeros(1, np.int64), np.array([place], np.int64))

    @classmethod
    def joined(cls, parts: Sequence["Tiles"]) -> "Tiles":
        """All tiles of at least one part, one after another."""
        if len(parts) == 1:
            return parts[0]
        numbers: dict[str, int] = {}
        contig = [
            np.array([numbers.setdefault(name, len(numbers)) for name in part.contigs])[part.contig] for part in parts
        ]
        return cls(list(numbers), np.concatenate(contig), np.concatenate([part.places for part in parts]))

    @property
    def positions(self) -> int:
        """How many there are in all tiles."""
        return int((self.places[:, 1] - self.places[:, 0]).sum())

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, number: int) -> Tile: ...
    @overload
    def __getitem__(self, number: slice) -> "Tiles": ...
    def __getitem__(self, number: int | slice) -> "Tile | Tiles":
        if isinstance(number, slice):
            return Tiles(self.contigs, self.contig[number], self.places[number])
        return Tile(self.contigs[self.contig[number]], *self.places[number].tolist())


def tiles(contig: str, start: int, end: int, *, length: int, context: int, step: int) -> Tiles:
    """The tiles of ``[start, end)``, in order; their contexts are those of the whole contig's tiles.

    Args:
        contig: name, for the tiles.
        start, end: positions that are wanted, 0-based half-open, inside the contig.
        length: bases of the contig.
        context: bases on either side of a tile.
        step: positions of a whole tile, an even number.
    """
    half = step // 2
    centres = np.arange((start + half) // step * step, end + half, step)
    around = np.stack([centres - half, centres + half, centres - half - context, centres + half + context], axis=1)
    places = around.clip([start, start, 0, 0], [end, end, length, length])
    places = places[places[:, 0] < places[:, 1]]
    return Tiles([contig], np.zeros(len(places), np.int64), places)


class Pass(NamedTuple):
    """Tokens (B, N) int64 of one strand, and of each of P positions the row and the column of the base before it.

    The column is -1 where there is none; ``first`` is not greater than any other.
    """

    ids: Tensor
    rows: Tensor
    columns: Tensor
    first: int = 0


@dataclass(frozen=True)
class Laid:
    """T tiles whose bases lie one after another.

    Attributes:
        bases: of all tiles and their contexts, each stretch of the genome once, (L,) uint8.
        places: start, end, before and after of each tile in ``bases``, (T, 4).
    """

    bases: Tokens
    places: Numbers

    @classmethod
    def of(cls, some: Sequence[Tile], reference: Reference) -> Self:
        """At least one tile, in any order."""
        tiles = Tiles.of(some)
        places = tiles.places.copy()
        before, after = tiles.places[:, 2], tiles.places[:, 3]
        apart = np.diff(tiles.contig) != 0
        firsts = np.flatnonzero(np.r_[True, apart | (before[1:] > after[:-1]) | (before[1:] < before[:-1])]).tolist()
        stretches = []
        size = 0
        for first, last in zip(firsts, [*firsts[1:], len(tiles)], strict=True):
            origin = int(before[first])
            stretches.append(reference.tokens(tiles[first].contig, origin, int(after[first:last].max())))
            places[first:last] += size - origin
            size += len(stretches[-1])
        return cls(np.concatenate(stretches) if len(stretches) > 1 else stretches[0], places)

    @cached_property
    def unknown(self) -> npt.NDArray[np.float64]:
        """Fraction of each tile and its context that is not A, C, G or T, (T,)."""
        letters = (self.bases >= A) & (self.bases <= T)
        if letters.all():
            return np.zeros(len(self.places))
        known = np.cumsum(np.r_[False, letters], dtype=np.int64)
        before, after = self.places[:, 2], self.places[:, 3]
        fractions: npt.NDArray[np.float64] = 1.0 - (known[after] - known[before]) / (after - before)
        return fractions

    def only(self, wanted: npt.NDArray[np.bool_]) -> "Laid":
        """Some of the tiles, with all bases."""
        return Laid(self.bases, self.places[wanted])

    def on(self, device: torch.device) -> "LaidOnDevice":
        """The same, where a model reads it."""
        start, end, before, after = self.places.T
        contexts = int((start - before).min()), int((after - end).min())
        return LaidOnDevice(
            sent(self.bases, device), sent(self.places.T.copy(), device), int((end - start).sum()), contexts
        )


class LaidOnDevice:
    """T tiles of P positions together.

    Args:
        bases, places: as of :class:`Laid`.
        positions: P.
        contexts: bases before the tile that has the fewest, and behind the tile that has the fewest.

    Attributes:
        tile: which tile each position is in, (P,).
        ref: tokens of the reference at each position, (P,) uint8.
    """

    def __init__(self, bases: Tensor, places: Tensor, positions: int, contexts: tuple[int, int]) -> None:
        self._bases = bases
        self._firsts = [max(0, context - 1) for context in contexts]
        self._start, self._end, self._before, self._after = places
        sizes = self._end - self._start
        numbers = torch.arange(len(sizes), device=bases.device)
        self.tile = torch.repeat_interleave(numbers, sizes, output_size=positions)
        self._offset = torch.arange(positions, device=bases.device) - (sizes.cumsum(0) - sizes)[self.tile]
        self.ref = bases[self._start[self.tile] + self._offset]

    def forward(self, width: int) -> Pass:
        """What is read forwards, padded on the right to ``width`` tokens."""
        place = self._before[:, None] + torch.arange(width, device=self._bases.device)
        ids = self._read(place, place < self._end[:, None])
        return Pass(ids, self.tile, (self._start - self._before)[self.tile] + self._offset - 1, self._firsts[0])

    def backward(self, width: int) -> Pass:
        """What is read on the other strand, padded likewise."""
        place = self._after[:, None] - 1 - torch.arange(width, device=self._bases.device)
        ids = self._complement[self._read(place, place >= self._start[:, None])]
        return Pass(ids, self.tile, (self._after - self._start)[self.tile] - self._offset - 2, self._firsts[1])

    def _read(self, place: Tensor, inside: Tensor) -> Tensor:
        return torch.where(inside, self._bases[place.clamp(0, len(self._bases) - 1)], PAD).long()

    @cached_property
    def _complement(self) -> Tensor:
        """Token -> token of the opposite strand."""
        every = reverse_complement(np.arange(256, dtype=np.uint8)[::-1])
        return sent(every, self._bases.device).long()
