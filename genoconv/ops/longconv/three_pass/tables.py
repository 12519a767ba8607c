"""The matrices and twiddles of the column passes. Symbols and the derivation: `csrc/three_pass/README.md`."""

from functools import cache

import numpy as np

from genoconv.ops.longconv.fragments import Complex, Words, fragment, halves, roots_of_unity
from genoconv.ops.longconv.one_sm import tables as one_sm

SECOND = 16
"""Points of the second step of a column that has two."""


@cache
def columns(radix: int, every: int = 1, first: int = 0) -> tuple[Words, Words]:
    """The r1 x r1 matrix of the way in, and of the way back (transposed, re and -im).

    Fragments [tile of rows][tile of columns] x (re, im), zeros beyond r1. Of f1' only those that are kept, one of
    ``every`` from ``first`` on, here and below.
    """
    index, kept = np.arange(radix), np.arange(first, radix, every)
    tiles = -(-radix // 16)
    padded = np.zeros((16 * tiles, 16 * tiles), np.complex128)
    padded[: len(kept), :radix] = roots_of_unity(np.outer(kept + 0.25, index) / radix) / np.sqrt(radix)
    return _tiled(padded, tiles), _tiled(padded.T.conj(), tiles)


@cache
def second_step(radix: int, every: int = 1, first: int = 0) -> Words:
    """For each f1' of r1 the 16 x 16 matrix of the second step, and it transposed: [f1'][in, back] x (re, im)."""
    index = np.arange(SECOND)
    parts = []
    for f in range(first, radix, every):
        matrix = roots_of_unity(np.outer(index + (f + 0.25) / radix, index) / SECOND) / np.sqrt(SECOND)
        parts += [fragment(part) for m in (matrix, matrix.T) for part in (m.real, m.imag)]
    return np.concatenate([part.reshape(-1) for part in parts])


@cache
def twiddles(lines: int, points: int, every: int = 1, first: int = 0, eights: int = 4) -> Words:
    """exp(-2 pi i i (f1 + 1/4) / N) of columns i < 8 ``eights``: [f1][eight][re, im] -> words of two columns."""
    kept = np.arange(first, lines, every)
    w = roots_of_unity(np.outer(kept + 0.25, np.arange(8 * eights)) / (lines * points))
    parts = [halves(part[:, 0::2], part[:, 1::2]).reshape(len(kept), eights, 4) for part in (w.real, w.imag)]
    return np.stack(parts, 2)


@cache
def lines(radix: int, split: int) -> Words:
    """Tables of plain transforms of lines of 256 * radix * split points."""
    return one_sm.build(radix, split, 0.0)


def _tiled(m: Complex, tiles: int) -> Words:
    starts = range(0, 16 * tiles, 16)
    parts = [fragment(part[i : i + 16, j : j + 16]) for i in starts for j in starts for part in (m.real, m.imag)]
    return np.concatenate([part.reshape(-1) for part in parts])
