"""Differences of log-likelihood between sequences that resemble each other, reading none of them twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from genoconv.tasks.likelihood import CausalLikelihood, LogP, Pair, Tokens, scored

Span = tuple[int, int]
Advance = Callable[[float], object]


class Reduce(StrEnum):
    """Which bases of the two windows a score compares."""

    SUM = "sum"
    """All of them: the log-likelihood ratio in nats."""
    MEAN = "mean"
    """All of them, divided by the number of bases that count in the reference window: nats per base."""
    SITE = "site"
    """Only the variant's own: as many as the longer allele has, from the variant's first base on."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which sequences to compare, by number, and over which half-open spans of them."""

    ref_row: int
    alt_row: int
    ref_span: Span
    alt_span: Span

    @property
    def pair(self) -> Pair:
        """What the likelihood has to know: nothing before the spans matters."""
        return Pair(self.ref_row, self.alt_row, min(self.ref_span[0], self.alt_span[0]))


class Comparisons:
    """Many comparisons that are read at once: each distinct reference, and under it each alternative, one time.

    Attributes:
        sequences: the distinct sequences, tokens.
    """

    def __init__(self, reduce: Reduce) -> None:
        self.reduce = reduce
        self.sequences: list[Tokens] = []
        self._index: dict[tuple[int | None, bytes], int] = {}
        self._pairs: list[Pair] = []
        self._log_p: Sequence[LogP] = ()

    def add(self, ref: Tokens, alt: Tokens, ref_site: Span, alt_site: Span) -> Comparison:
        """Compare two sequences of one strand.

        Args:
            ref, alt: tokens, uint8, each (L,), of one length or not.
            ref_site, alt_site: half-open spans of the variant's own bases in each.
        """
        first = first_difference(ref, alt)
        ref_row = self._row(ref)
        alt_row = self._row(alt, of=ref_row) if first is not None else ref_row
        if self.reduce == Reduce.SITE:
            found = Comparison(ref_row, alt_row, ref_site, alt_site)
        else:
            # Up to the first difference both are the same function of the same bases; leaving that part out of the
            # sums keeps its rounding errors out of the score.
            found = Comparison(ref_row, alt_row, (first or 0, len(ref)), (first or 0, len(alt)))
        self._pairs.append(found.pair)
        return found

    def _row(self, tokens: Tokens, *, of: int | None = None) -> int:
        """Where ``tokens`` are; ``of`` is the row of the reference that they are an alternative of."""
        key = of, tokens.tobytes()
        if key not in self._index:
            self._index[key] = len(self.sequences)
            self.sequences.append(tokens)
        return self._index[key]

    def read(self, likelihood: CausalLikelihood, *, advance: Advance | None = None) -> None:
        """Read what was added; ``advance`` is called with the number of sequences just read."""
        self._log_p = likelihood(self.sequences, self._pairs, advance=advance)

    def difference(self, comparison: Comparison) -> float:
        """ln P(alt) - ln P(ref) over the spans, in nats; per base of the reference with ``Reduce.MEAN``."""
        if comparison.ref_row == comparison.alt_row:
            return 0.0
        alt = self._log_p[comparison.alt_row][slice(*comparison.alt_span)].sum(dtype=np.float64)
        ref = self._log_p[comparison.ref_row][slice(*comparison.ref_span)].sum(dtype=np.float64)
        bases = scored(self.sequences[comparison.ref_row]) if self.reduce == Reduce.MEAN else 1
        return float(alt - ref) / max(bases, 1)


def first_difference(one: Tokens, two: Tokens) -> int | None:
    """Position of the first difference, which can be the end of the shorter; None where both are equal."""
    shared = min(len(one), len(two))
    differs = one[:shared] != two[:shared]
    first = int(differs.argmax()) if shared else 0
    if shared and differs[first]:
        return first
    return None if len(one) == len(two) else shared
