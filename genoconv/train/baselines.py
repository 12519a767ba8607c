"""Markov models of order 0 to 8: what a model has to beat to show that it sees further than a k-mer table.

They are made as good as they can be: each order backs off smoothly to the one below,

    P_k(b | c) = (n(c, b) + s_k P_{k-1}(b | c')) / (n(c) + s_k),        P_{-1} = 1/4

with c' the context without its oldest base, and s_k chosen to do best on a tenth of the training sequence kept aside.
The formula is the Dirichlet-smoothed back-off of MacKay and Peto 1995, "A hierarchical Dirichlet language model".
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from genoconv.genome.tokenizer import A, T, Tokens

ORDERS = range(9)
_STRENGTHS = (0.5, 2.0, 8.0, 32.0, 128.0, 512.0, 2048.0)

Contexts = list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]


def markov_perplexities(train: Sequence[Tokens], held_out: Sequence[Tokens]) -> list[float]:
    """Perplexity of every order on the held-out windows, at the positions where the network is measured too.

    Args:
        train: windows of tokens to count in.
        held_out: windows to predict; the first base of each has no context and is no target.

    Returns:
        One perplexity for each of :data:`ORDERS`. A position with fewer known bases before it than the order needs
        (after an N, at the start of a window) is predicted by the order that it has bases for.
    """
    if not held_out:
        return []
    tenth = max(1, len(train) // 10)
    counted = _contexts(train)
    fitted, tuned = (_contexts(train[tenth:]), _contexts(train[:tenth])) if len(train) > 1 else (counted, counted)
    strengths: list[float] = []
    for order in ORDERS:
        options = {s: _surprise(_tables(fitted, [*strengths, s]), tuned, order) for s in _STRENGTHS}
        strengths.append(min(options, key=options.__getitem__))
    tables = _tables(counted, strengths)
    asked = _contexts(held_out)
    return [math.exp(_surprise(tables, asked, order)) for order in ORDERS]


def _contexts(windows: Iterable[Tokens]) -> Contexts:
    """For every order the (context, base) pairs whose longest known context, up to that order, is that long."""
    found: list[list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]] = [[] for _ in ORDERS]
    for window in windows:
        code = window.astype(np.int64) - A
        known = (code >= 0) & (code <= T - A)
        since_gap = np.arange(len(code)) - np.maximum.accumulate(np.where(known, -1, np.arange(len(code)))) - 1
        context = np.zeros(len(code), np.int64)
        for back in range(ORDERS[-1], 0, -1):
            context[back:] = context[back:] * 4 + np.where(known[:-back], code[:-back], 0)
        target = known.copy()
        target[:1] = False
        reach = np.minimum(since_gap, ORDERS[-1])
        for order in ORDERS:
            here = np.flatnonzero(target & (reach == order))
            if here.size:
                found[order].append((context[here] % 4**order, code[here]))
    empty = np.empty(0, np.int64)
    return [
        (np.concatenate([c for c, _ in pairs]), np.concatenate([b for _, b in pairs])) if pairs else (empty, empty)
        for pairs in found
    ]


def _tables(counted: Contexts, strengths: Sequence[float]) -> list[npt.NDArray[np.float64]]:
    """Smoothed probabilities (4^order, 4) of orders 0 to ``len(strengths) - 1``."""
    below = np.full((1, 4), 0.25)
    tables = []
    for order, strength in enumerate(strengths):
        counts = np.zeros((4**order, 4))
        for longer in range(order, len(counted)):
            context, base = counted[longer]
            flat = (context % 4**order) * 4 + base
            counts += np.bincount(flat, minlength=counts.size).reshape(counts.shape)
        prior = below[np.arange(4**order) % len(below)]
        below = (counts + strength * prior) / (counts.sum(axis=1, keepdims=True) + strength)
        tables.append(below)
    return tables


def _surprise(tables: Sequence[npt.NDArray[np.float64]], asked: Contexts, order: int) -> float:
    """Mean negative log-likelihood, in nats, of the asked pairs under a model of ``order``."""
    total, count = 0.0, 0
    for reach, (context, base) in enumerate(asked):
        used = min(order, reach)
        total -= float(np.log(tables[used][context % 4**used, base]).sum())
        count += len(base)
    return total / max(1, count)
