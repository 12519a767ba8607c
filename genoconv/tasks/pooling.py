"""How spans are cut into pieces that a model can read, and vectors of spans put together from those of their pieces."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from genoconv.tasks.spans import Numbers, Span, Spans
from genoconv.tokens import PAD, N, Tokens, reverse_complement

Vectors = npt.NDArray[np.float32]


class Pool(StrEnum):
    """How the states of a sequence become one vector: NONE keeps one vector per base."""

    MEAN = "mean"
    MAX = "max"
    LAST = "last"
    NONE = "none"


class Reading(StrEnum):
    """In which direction a sequence is read: that of its strand, or that and the opposite, averaged."""

    FORWARD = "forward"
    BOTH = "both"


@dataclass(frozen=True)
class Pieces:
    """P pieces of spans, those of a span one after another.

    Attributes:
        spans: all spans.
        span: number of the span of each piece, (P,).
        start, end: bases of the piece within its span, 0-based half-open, (P,).
        turned: whether it is read against the direction of its span, (P,).
        backwards: whether it is read as its reverse complement, (P,).
        together: how many pieces its span has, (P,).
    """

    spans: Spans
    span: Numbers
    start: Numbers
    end: Numbers
    turned: npt.NDArray[np.bool_]
    backwards: npt.NDArray[np.bool_]
    together: Numbers

    @classmethod
    def of(cls, spans: Sequence[Span], *, pool: Pool, reading: Reading, longest: int) -> Self:
        """The fewest pieces of at most ``longest`` bases, equal to within one base; of the LAST pool the last alone."""
        spans = Spans.of(spans)
        directions = 2 if reading == Reading.BOTH else 1
        lengths = spans.lengths
        parts = np.minimum(lengths, 1) if pool == Pool.LAST else -(-lengths // longest)
        together = parts * directions
        span = np.repeat(np.arange(len(spans)), together)
        nth = np.arange(len(span)) - np.repeat(np.cumsum(together) - together, together)
        length, part = lengths[span], parts[span]
        turned = nth >= part
        backwards = (spans.places.strand == b"-")[span] != turned
        if pool == Pool.LAST:
            whole = np.minimum(length, longest)
            start = np.where(backwards, 0, length - whole)
            end = start + whole
        else:
            nth %= part
            start, end = length * nth // part, length * (nth + 1) // part
        return cls(spans, span, start, end, turned, backwards, together[span])

    @cached_property
    def lengths(self) -> Numbers:
        """Bases of each, (P,)."""
        return self.end - self.start

    @cached_property
    def _first(self) -> Numbers:
        """Where among the tokens of all spans each begins, (P,)."""
        return self.spans.first[self.span] + self.start

    @cached_property
    def blank(self) -> npt.NDArray[np.bool_]:
        """Which are N and nothing else, (P,)."""
        found: npt.NDArray[np.bool_] = self.spans.tokens[self._first] == N
        for number in np.flatnonzero(found).tolist():
            found[number] = bool((self._forward(number) == N).all())
        return found

    def _forward(self, number: int) -> Tokens:
        first = int(self._first[number])
        return self.spans.tokens[first : first + int(self.lengths[number])]

    def tokens(self, numbers: Numbers) -> list[Tokens]:
        """Tokens of some pieces, as they are read."""
        found = map(self._forward, numbers.tolist())
        backwards = self.backwards[numbers].tolist()
        return [reverse_complement(part) if back else part for part, back in zip(found, backwards, strict=True)]

    def padded(self, numbers: Numbers, length: int) -> Tokens:
        """The same as rows of ``length`` tokens, padded on the right: (n, length), all pieces of a length at once."""
        first, lengths, backwards = self._first[numbers], self.lengths[numbers], self.backwards[numbers]
        if (lengths == length).all():
            return self._gathered(first, length, backwards)
        batch = np.full((len(numbers), length), PAD, np.uint8)
        for bases in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == bases)
            batch[rows, :bases] = self._gathered(first[rows], bases, backwards[rows])
        return batch

    def _gathered(self, first: Numbers, bases: int, backwards: npt.NDArray[np.bool_]) -> Tokens:
        found: Tokens = sliding_window_view(self.spans.tokens, bases)[first]
        if backwards.any():
            found[backwards] = reverse_complement(found[backwards])
        return found

    def bases(self, numbers: Numbers) -> float:
        """Bases of spans that are done with some pieces: a span read in two directions counts half for each."""
        return float((self.spans.lengths[self.span[numbers]] / self.together[numbers]).sum())


class Pooled:
    """One vector per span, put together from those of its pieces, which may come in any order.

    Over several pieces the mean weighs each base alike, and the maximum is that of all.
    """

    def __init__(self, pieces: Pieces, pool: Pool, width: int, *, directions: int) -> None:
        self._pieces = pieces
        self._pool = pool
        self._directions = directions
        shape = (len(pieces.spans), directions, width)
        self._held = np.full(shape, -np.inf if pool == Pool.MAX else 0, np.float32)
        self._lengths = pieces.spans.lengths

    def add(self, numbers: Numbers, values: Vectors) -> None:
        """Vectors (n, width) of n pieces, or one of all of them, (1, width)."""
        span, direction = self._pieces.span[numbers], self._pieces.turned[numbers].astype(np.int64)
        if self._pool == Pool.LAST:
            self._held[span, direction] = values
        elif (self._pieces.together[numbers] == self._directions).all():  # each has its own row: much faster
            self._held[span, direction] = values + np.float32(0) if self._pool == Pool.MEAN else values  # a sum's zeros
        elif self._pool == Pool.MEAN:
            values = values * (self._pieces.lengths[numbers] / self._lengths[span]).astype(np.float32)[:, None]
            np.add.at(self._held, (span, direction), values)
        else:
            np.maximum.at(self._held, (span, direction), values)

    def rows(self) -> list[Vectors]:
        """One array (spans, width); NaN for a span without bases."""
        found: Vectors = np.mean(self._held, axis=1)
        found[self._lengths == 0] = np.nan
        return [found]


class EachBase:
    """One vector per base of each span, the mean of the directions."""

    def __init__(self, pieces: Pieces, width: int, *, directions: int) -> None:
        self._pieces = pieces
        self._directions = directions
        self._held = [np.zeros((bases, width), np.float32) for bases in pieces.spans.lengths.tolist()]

    def add(self, number: int, values: Vectors) -> None:
        """Vectors of the bases of a piece, as it was read."""
        pieces = self._pieces
        held = self._held[pieces.span[number]][pieces.start[number] : pieces.end[number]]
        held += (values[::-1] if pieces.backwards[number] else values) / self._directions

    def rows(self) -> list[Vectors]:
        """An array (bases, width) for each span, in its own direction."""
        minus = (self._pieces.spans.places.strand == b"-").tolist()
        return [held[::-1] if back else held for held, back in zip(self._held, minus, strict=True)]
