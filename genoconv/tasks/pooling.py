"""How spans are cut into pieces that a model can read, and vectors of spans put together from those of their pieces."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from genoconv.tasks.spans import Span
from genoconv.tokens import N, Tokens, reverse_complement

Numbers = npt.NDArray[np.int64]
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

    spans: Sequence[Span]
    span: Numbers
    start: Numbers
    end: Numbers
    turned: npt.NDArray[np.bool_]
    backwards: npt.NDArray[np.bool_]
    together: Numbers

    @classmethod
    def of(cls, spans: Sequence[Span], *, pool: Pool, reading: Reading, longest: int) -> Self:
        """The fewest pieces of at most ``longest`` bases, equal to within one base; of the LAST pool the last alone."""
        directions = 2 if reading == Reading.BOTH else 1
        lengths = np.array([len(span.tokens) for span in spans], np.int64)
        parts = np.minimum(lengths, 1) if pool == Pool.LAST else -(-lengths // longest)
        together = parts * directions
        span = np.repeat(np.arange(len(spans)), together)
        nth = np.arange(len(span)) - np.repeat(np.cumsum(together) - together, together)
        length, part = lengths[span], parts[span]
        turned = nth >= part
        minus = np.array([one.strand == "-" for one in spans], np.bool_)[span]
        backwards = minus != turned
        if pool == Pool.LAST:
            whole = np.minimum(length, longest)
            start = np.where(backwards, 0, length - whole)
            end = start + whole
        else:
            nth %= part
            start, end = length * nth // part, length * (nth + 1) // part
        return cls(spans, span, start, end, turned, backwards, together[span])

    @property
    def lengths(self) -> Numbers:
        """Bases of each, (P,)."""
        return self.end - self.start

    @property
    def blank(self) -> npt.NDArray[np.bool_]:
        """Which are N and nothing else, (P,)."""
        first = [self.spans[span].tokens.item(start) for span, start in zip(*self._places(), strict=True)]
        found: npt.NDArray[np.bool_] = np.array(first, np.uint8) == N
        for number in np.flatnonzero(found).tolist():
            found[number] = bool((self._forward(number) == N).all())
        return found

    def _places(self) -> tuple[list[int], list[int]]:
        return self.span.tolist(), self.start.tolist()

    def _forward(self, number: int) -> Tokens:
        tokens: Tokens = self.spans[self.span[number]].tokens
        return tokens[self.start[number] : self.end[number]]

    def tokens(self, numbers: Sequence[int]) -> list[Tokens]:
        """Tokens of some pieces, as they are read."""
        which = list(numbers)
        columns = (self.span[which], self.start[which], self.end[which], self.backwards[which])
        return [
            reverse_complement(self.spans[span].tokens[start:end]) if back else self.spans[span].tokens[start:end]
            for span, start, end, back in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def bases(self, numbers: Sequence[int]) -> float:
        """Bases of spans that are done with some pieces: a span read in two directions counts half for each."""
        which = list(numbers)
        return float((self._span_lengths[which] / self.together[which]).sum())

    @cached_property
    def _span_lengths(self) -> Numbers:
        return np.array([len(span.tokens) for span in self.spans], np.int64)[self.span]


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
        self._lengths = np.array([len(span.tokens) for span in pieces.spans], np.int64)

    def add(self, numbers: Sequence[int], values: Vectors) -> None:
        """Vectors (n, width) of n pieces, or one of all of them, (1, width)."""
        which = list(numbers)
        span, direction = self._pieces.span[which], self._pieces.turned[which].astype(np.int64)
        if self._pool == Pool.LAST:
            self._held[span, direction] = values
            return
        join = np.maximum if self._pool == Pool.MAX else np.add
        if self._pool == Pool.MEAN:
            values = values * (self._pieces.lengths[which] / self._lengths[span]).astype(np.float32)[:, None]
        if (self._pieces.together[which] == self._directions).all():  # each has a row of its own, which is much faster
            self._held[span, direction] = join(self._held[span, direction], values)
        else:
            join.at(self._held, (span, direction), values)

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
        self._held = [np.zeros((len(span.tokens), width), np.float32) for span in pieces.spans]

    def add(self, number: int, values: Vectors) -> None:
        """Vectors of the bases of a piece, as it was read."""
        pieces = self._pieces
        held = self._held[pieces.span[number]][pieces.start[number] : pieces.end[number]]
        held += (values[::-1] if pieces.backwards[number] else values) / self._directions

    def rows(self) -> list[Vectors]:
        """An array (bases, width) for each span, in its own direction."""
        pairs = zip(self._held, self._pieces.spans, strict=True)
        return [held[::-1] if span.strand == "-" else held for held, span in pairs]
