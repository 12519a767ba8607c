"""Differences of log-likelihood between sequences that resemble each other, reading none of them twice."""

from collections.abc import Callable
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from genoconv.tasks.likelihood import CausalLikelihood, Tokens, scored
from genoconv.tasks.rows import Indices, Rows

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


class Comparisons:
    """Many comparisons that are read at once: each distinct reference, and under it each alternative, one time.

    A comparison is a number, in the order in which they were added. It is between two rows: the sequences, also by
    number.
    """

    def __init__(self, reduce: Reduce) -> None:
        self.reduce = reduce
        self._blocks: list[Tokens] = []
        self._count = 0
        self._index: dict[tuple[int | None, bytes], int] = {}
        self._substituted: dict[tuple[int, int, int], int] = {}
        self._added: list[Indices] = []
        self._number = 0
        self._differences = np.empty(0, np.float64)

    @cached_property
    def sequences(self) -> Rows[np.uint8]:
        """The distinct sequences, tokens; of those that were added before this was first asked for."""
        return Rows.of(self._blocks, dtype=np.uint8)

    @cached_property
    def rows(self) -> Indices:
        """(C, 2) the reference and the alternative of each comparison."""
        return self._columns[:, :2]

    @cached_property
    def _columns(self) -> Indices:
        """(C, 7) rows of reference and alternative, a half-open span of each, and the first position that matters."""
        return np.concatenate([np.empty((0, 7), np.int64), *self._added])

    def add(self, ref: Tokens, alt: Tokens, ref_site: Span, alt_site: Span) -> int:
        """Compare two sequences of one strand.

        Args:
            ref, alt: tokens, uint8, each (L,), of one length or not.
            ref_site, alt_site: half-open spans of the variant's own bases in each.
        """
        first = first_difference(ref, alt)
        ref_row = self._row(ref)
        alt_row = self._row(alt, of=ref_row) if first is not None else ref_row
        if self.reduce != Reduce.SITE:
            # Up to the first difference both are the same function of the same bases; leaving that part out of the
            # sums keeps its rounding errors out of the score.
            ref_site, alt_site = (first or 0, len(ref)), (first or 0, len(alt))
        # An indel moves what lies downstream of it, which comes before its site where the other strand is read.
        matters = min(ref_site[0], alt_site[0], *(() if first is None else (first,)))
        [number] = self._append(np.array([[ref_row, alt_row, *ref_site, *alt_site, matters]]))
        return number

    def add_substitutions(self, refs: Tokens, index: Indices, places: Indices, tokens: Tokens) -> range:
        """As :meth:`add` for V single bases in U reference sequences of one length.

        Args:
            refs: (U, L).
            index: which of them each substitution is in, (V,).
            places: where in it, (V,).
            tokens: what stands there instead, (V,).
        """
        ref_rows = self._ref_rows(refs)[index]
        keys = zip(ref_rows.tolist(), places.tolist(), tokens.tolist(), strict=True)
        alt_rows, fresh = [], []
        for number, key in enumerate(keys):
            row = self._substituted.setdefault(key, self._count)
            if row == self._count:
                self._count += 1
                fresh.append(number)
            alt_rows.append(row)
        alts = refs[index[fresh]]
        alts[np.arange(len(fresh)), places[fresh]] = tokens[fresh]
        self._blocks.append(alts)
        ends = places + 1 if self.reduce == Reduce.SITE else np.full_like(places, refs.shape[1])
        columns = [ref_rows, np.array(alt_rows, np.int64), places, ends, places, ends, places]
        return self._append(np.stack(columns, axis=1))

    def add_changes(self, refs: Tokens, index: Indices, alts: Tokens, starts: Indices, ends: Indices) -> range:
        """As :meth:`add` for V alternatives of U reference sequences, all of one length.

        Args:
            refs: (U, L).
            index: of which of them each is an alternative, (V,).
            alts: (V, L).
            starts, ends: half-open spans of the variant's own bases, in both sequences, (V,).
        """
        ref_rows = self._ref_rows(refs)[index]
        differs = alts != refs[index]
        first, alike = differs.argmax(1), ~differs.any(1)
        matters = np.where(alike, starts, np.minimum(starts, first))
        if self.reduce != Reduce.SITE:
            starts = matters = first  # 0 where both are alike
            ends = np.full_like(first, refs.shape[1])
        rows = zip(alts, ref_rows.tolist(), alike.tolist(), strict=True)
        alt_rows = [ref_row if same else self._row(alt, of=ref_row) for alt, ref_row, same in rows]
        columns = [ref_rows, np.array(alt_rows, np.int64), starts, ends, starts, ends, matters]
        return self._append(np.stack(columns, axis=1))

    def _append(self, columns: Indices) -> range:
        self._added.append(columns)
        self._number += len(columns)
        return range(self._number - len(columns), self._number)

    def _ref_rows(self, refs: Tokens) -> Indices:
        """:meth:`_row` of each of (U, L)."""
        rows, fresh = [], []
        for number, ref in enumerate(refs):
            row = self._index.setdefault((None, ref.tobytes()), self._count)
            if row == self._count:
                self._count += 1
                fresh.append(number)
            rows.append(row)
        self._blocks.append(refs[fresh])
        return np.array(rows, np.int64)

    def _row(self, tokens: Tokens, *, of: int | None = None) -> int:
        """Where ``tokens`` are; ``of`` is the row of the reference that they are an alternative of."""
        row = self._index.setdefault((of, tokens.tobytes()), self._count)
        if row == self._count:
            self._count += 1
            self._blocks.append(tokens)
        return row

    def read(self, likelihood: CausalLikelihood, *, advance: Advance | None = None) -> None:
        """Read what was added; ``advance`` is called with the number of sequences just read."""
        refs, alts, *spans, first = self._columns.T
        log_p = likelihood.read(self.sequences, np.stack([refs, alts, first], axis=1), advance=advance)
        differences = _sums(log_p, alts, spans[2], spans[3]) - _sums(log_p, refs, spans[0], spans[1])
        differences[refs == alts] = 0
        if self.reduce == Reduce.MEAN:
            distinct, index = np.unique(refs, return_inverse=True)
            bases = np.array([max(scored(self.sequences[row]), 1) for row in distinct.tolist()], np.int64)
            differences /= bases[index]
        self._differences = differences

    def differences(self) -> npt.NDArray[np.float64]:
        """ln P(alt) - ln P(ref) over the spans, in nats; per base of the reference with ``Reduce.MEAN``; (C,)."""
        return self._differences


def _sums(log_p: Rows[np.float32], rows: Indices, starts: Indices, ends: Indices) -> npt.NDArray[np.float64]:
    """The sum over a half-open span of each row, in float64; the same for a span whatever the others are."""
    offsets, lengths = log_p.offsets[rows], log_p.lengths[rows]
    sizes = np.minimum(ends, lengths) - np.minimum(starts, lengths)
    sums = np.zeros(len(rows), np.float64)
    filled = np.flatnonzero(sizes > 0)
    # Runs that do not take much memory together.
    runs = np.searchsorted(np.cumsum(sizes[filled]), np.arange(0, sizes[filled].sum(), _SUMMED_AT_ONCE))
    for some in np.split(filled, runs[1:]):
        if len(some):
            firsts = offsets[some] + starts[some]
            spans = zip(firsts.tolist(), (firsts + sizes[some]).tolist(), strict=True)
            values = np.concatenate([log_p.values[first:last] for first, last in spans], dtype=np.float64)
            sums[some] = np.add.reduceat(values, np.cumsum(sizes[some]) - sizes[some])
    return sums


def first_difference(one: Tokens, two: Tokens) -> int | None:
    """Position of the first difference, which can be the end of the shorter; None where both are equal."""
    shared = min(len(one), len(two))
    differs = one[:shared] != two[:shared]
    first = int(differs.argmax()) if shared else 0
    if shared and differs[first]:
        return first
    return None if len(one) == len(two) else shared
