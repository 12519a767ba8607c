"""Markov models of order 0 to 8: what a model has to beat to show that it sees further than a k-mer table.

They are made as good as they can be: each order backs off smoothly to the one below,

    P_k(b | c) = (n(c, b) + s_k P_{k-1}(b | c')) / (n(c) + s_k),        P_{-1} = 1/4

with c' the context without its oldest base, and s_k chosen to do best on a tenth of the training sequence kept aside.
The formula is the Dirichlet-smoothed back-off of MacKay and Peto 1995, "A hierarchical Dirichlet language model".

Fitting and measuring need nothing of a sequence but how often each base follows each context, so every window is read
once and memory does not grow with their number.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol

import numpy as np
import numpy.typing as npt

from genoconv.tokens import A, N, T, Tokens, reverse_complement

ORDERS = range(9)
_STRENGTHS = (0.5, 2.0, 8.0, 32.0, 128.0, 512.0, 2048.0)
_CHUNK = 1 << 20

Table = npt.NDArray[np.float64]
# counts[k][c, b]: how often base b follows context c where exactly k known bases stand before it (k or more for the
# last order); shapes (4^k, 4).
Counts = list[npt.NDArray[np.int64]]


class Windows(Protocol):
    """Tokens of windows by number, read when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tokens: ...


class MarkovModels:
    """Models of every order of :data:`ORDERS`, counted once and good for any held-out windows.

    Args:
        train: windows of tokens to count in.
        both_strands: count in the reverse complement of the training windows too.
    """

    def __init__(self, train: Windows, *, both_strands: bool) -> None:
        tenth = max(1, len(train) // 10)
        parts = (range(tenth), range(tenth, len(train)))
        aside, fitted = (_count(_read(train, part, both_strands=both_strands)) for part in parts)
        counted = [one + other for one, other in zip(aside, fitted, strict=True)]
        strengths = _strengths(fitted if _size(fitted) else counted, aside if _size(aside) else counted)
        self._tables: list[Table] = []
        for order, strength in enumerate(strengths):
            self._tables.append(_smoothed(counted, order, below=self._tables[-1:], strength=strength))

    def table(self, order: int) -> Table:
        """Probabilities of A, C, G, T after each context, whose newest base is its last digit; shape (4^order, 4)."""
        return self._tables[order]

    def perplexities(self, held_out: Windows) -> list[float]:
        """Perplexity of every order on held-out windows, at the positions where the network is measured too.

        The first base of a window has no context and is not a target. A position with fewer known bases before it than
        the order needs (after an N, at the start of a window) is predicted by the order that it has bases for.

        Returns:
            One perplexity per order; none at all where ``held_out`` has nothing to predict.
        """
        asked = _count(_read(held_out, range(len(held_out))))
        if not _size(asked):
            return []
        return [math.exp(_surprise(self._tables[: order + 1], asked)) for order in ORDERS]


def _read(windows: Windows, which: Iterable[int], *, both_strands: bool = False) -> Iterator[Tokens]:
    for index in which:
        tokens = windows[index]
        yield tokens
        if both_strands:
            yield reverse_complement(tokens)


def _count(windows: Iterable[Tokens]) -> Counts:
    """Count in windows, a megabase of them at a time, with an N between two."""
    counts: Counts = [np.zeros((4**order, 4), np.int64) for order in ORDERS]
    gap = np.array([N], np.uint8)
    pieces: list[Tokens] = []
    size = 0
    for window in chain(windows, [None]):
        if pieces and (window is None or size + len(window) > _CHUNK):
            _add(counts, np.concatenate(pieces), np.cumsum([0, *map(len, pieces)])[1:-1:2])
            pieces, size = [], 0
        if window is not None:
            pieces += [gap, window]
            size += len(window)
    return counts


def _add(counts: Counts, tokens: Tokens, firsts: npt.NDArray[np.int64]) -> None:
    """Add what stands in ``tokens``, (n,), except as targets the places ``firsts``."""
    code = tokens.astype(np.int64) - A
    known = (code >= 0) & (code <= T - A)
    place = np.arange(len(code))
    reach = np.minimum(place - np.maximum.accumulate(np.where(known, -1, place)) - 1, ORDERS[-1])
    context = np.zeros(len(code), np.int64)
    for back in range(ORDERS[-1], 0, -1):
        context[back:] = context[back:] * 4 + np.where(known[:-back], code[:-back], 0)
    target = known.copy()
    target[firsts] = False
    for order in ORDERS:
        here = np.flatnonzero(target & (reach == order))
        flat = (context[here] % 4**order) * 4 + code[here]
        counts[order] += np.bincount(flat, minlength=4 ** (order + 1)).reshape(-1, 4)


def _size(counts: Counts) -> int:
    return sum(int(table.sum()) for table in counts)


def _strengths(fitted: Counts, aside: Counts) -> list[float]:
    """For each order the smoothing that predicts ``aside`` best, those below being chosen already."""
    strengths: list[float] = []
    tables: list[Table] = []
    for order in ORDERS:
        options = {s: _smoothed(fitted, order, below=tables[-1:], strength=s) for s in _STRENGTHS}
        best = min(options, key=lambda s: _surprise([*tables, options[s]], aside))
        strengths.append(best)
        tables.append(options[best])
    return strengths


def _smoothed(counts: Counts, order: int, *, below: Sequence[Table], strength: float) -> Table:
    """Probabilities (4^order, 4), given those of the order below, if there is one."""
    here = _at(counts, order)
    prior = np.tile(below[0], (4, 1)) if below else np.full((1, 4), 0.25)
    table: Table = (here + strength * prior) / (here.sum(axis=1, keepdims=True) + strength)
    return table


def _at(counts: Counts, order: int) -> npt.NDArray[np.int64]:
    """Counts (4^order, 4) after the last ``order`` bases, wherever so many are known."""
    # The newest base of a context is its last digit, so shorter contexts are sums over the leading digits.
    found = np.zeros((4**order, 4), np.int64)
    for longer in counts[order:]:
        found += longer.reshape(-1, 4**order, 4).sum(axis=0)
    return found


def _surprise(tables: Sequence[Table], asked: Counts) -> float:
    """Mean negative log-likelihood, in nats, of what was counted under a model of order ``len(tables) - 1``."""
    last = len(tables) - 1
    parts = [*asked[:last], _at(asked, last)]
    total = sum(float((counts * np.log(table)).sum()) for counts, table in zip(parts, tables, strict=True))
    return -total / max(1, _size(asked))
