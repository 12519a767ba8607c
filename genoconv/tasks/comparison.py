"""Differences of log-likelihood between sequences that resemble each other, reading none of them twice."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genoconv.tasks.likelihood import CausalLikelihood, LogP, Pair, Tokens, scored

Span = tuple[int, int]
Advance = Callable[[float], object]

_SUMMED_AT_ONCE = 1 << 22


class Reduce(StrEnum):
    """Which bases of the two windows a score compares."""

    SUM = "sum"
    """All of them: the log-likelihood ratio in nats."""
    MEAN = "mean"
    """All of them, divided by the number of bases that count in the reference window: nats per base."""
    SITE = "site"
    """Only the variant's own: as many as the longer allele has, from the variant's first base on."""


class Comparison(NamedTuple):
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
        self._spans: list[tuple[int, Span]] = []
        self._substituted: dict[tuple[int, int, int], int] = {}
        self._sums: dict[tuple[int, Span], float] = {}

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
        # An indel moves what lies downstream of it, which comes before its site where the other strand is read.
        self._pairs.append(found.pair if first is None else Pair(ref_row, alt_row, min(first, found.pair.first)))
        self._spans += [(ref_row, found.ref_span), (alt_row, found.alt_span)]
        return found

    def add_substitutions(
        self, refs: Tokens, index: npt.NDArray[np.int64], places: npt.NDArray[np.int64], tokens: Tokens
    ) -> list[Comparison]:
        """As :meth:`add` for V single bases in U reference sequences of one length.

        Args:
            refs: (U, L).
            index: which of them each substitution is in, (V,).
            places: where in it, (V,).
            tokens: what stands there instead, (V,).
        """
        ref_rows = [self._row(ref) for ref in refs]
        alts = refs[index]
        alts[np.arange(len(alts)), places] = tokens
        found, length = [], refs.shape[1]
        for ref, place, token, alt in zip(index.tolist(), places.tolist(), tokens.tolist(), alts, strict=True):
            ref_row = ref_rows[ref]
            alt_row = self._substituted.setdefault((ref_row, place, token), len(self.sequences))
            if alt_row == len(self.sequences):
                self.sequences.append(alt)
            span = (place, place + 1 if self.reduce == Reduce.SITE else length)
            found.append(Comparison(ref_row, alt_row, span, span))
            self._pairs.append(Pair(ref_row, alt_row, place))
            self._spans += [(ref_row, span), (alt_row, span)]
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
        log_p = likelihood(self.sequences, self._pairs, advance=advance)
        self._sums = _sums(log_p, self._spans)

    def difference(self, comparison: Comparison) -> float:
        """ln P(alt) - ln P(ref) over the spans, in nats; per base of the reference with ``Reduce.MEAN``."""
        ref_row, alt_row, ref_span, alt_span = comparison
        if ref_row == alt_row:
            return 0.0
        difference = self._sums[alt_row, alt_span] - self._sums[ref_row, ref_span]
        if self.reduce == Reduce.MEAN:
            return difference / max(scored(self.sequences[ref_row]), 1)
        return difference


def _sums(log_p: Sequence[LogP], spans: Iterable[tuple[int, Span]]) -> dict[tuple[int, Span], float]:
    """The sum over each span of a row, in float64."""
    found: dict[tuple[int, Span], float] = {}
    wanted = list(dict.fromkeys(spans))
    filled = [(row, span) for row, span in wanted if span[0] < min(span[1], len(log_p[row]))]
    found.update(dict.fromkeys(wanted, 0.0))
    for some in _runs(filled):
        parts = [log_p[row][slice(*span)] for row, span in some]
        firsts = np.cumsum([0, *map(len, parts[:-1])])
        found.update(zip(some, np.add.reduceat(np.concatenate(parts), firsts, dtype=np.float64).tolist(), strict=True))
    return found


def _runs(spans: Iterable[tuple[int, Span]]) -> Iterator[list[tuple[int, Span]]]:
    """Runs that do not take much memory together."""
    run: list[tuple[int, Span]] = []
    size = 0
    for row, span in spans:
        run.append((row, span))
        size += span[1] - span[0]
        if size > _SUMMED_AT_ONCE:
            yield run
            run, size = [], 0
    if run:
        yield run


def first_difference(one: Tokens, two: Tokens) -> int | None:
    """Position of the first difference, which can be the end of the shorter; None where both are equal."""
    shared = min(len(one), len(two))
    differs = one[:shared] != two[:shared]
    first = int(differs.argmax()) if shared else 0
    if shared and differs[first]:
        return first
    return None if len(one) == len(two) else shared
