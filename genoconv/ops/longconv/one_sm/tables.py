"""The DFT matrices and twiddles of one plan, packed as the tensor cores and the kernels' lanes want them.

Symbols R, S, a, b, c, d and the derivation: `csrc/README.md`.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from genoconv.ops.longconv.fragments import (
    Complex,
    G,
    I,
    T,
    Words,
    fragment,
    halves,
    roots_of_unity,
    singles,
)

_AS_RIGHT_OPERAND = [0, 2, 1, 3]  # the same four words, regrouped as two right operands of k = 16


@cache
def build(radix: int, split: int, twist: float = 0.25) -> Words:
    """All tables of N = 256 * radix * split, flat uint32 words, in the order of `csrc/one_sm/shape.cuh`.

    twist: what is added to every frequency, in bins; 0 makes plain transforms of lines.
    """
    length = 256 * radix * split
    parts = [_inner(radix, length, twist), *_middle(), *_outer(radix, split, twist)]
    if radix >= 16:
        parts += _half_shift(radix, length)
    if split > 1:
        parts += [*_lag_twists(radix, split), *_lag_twists_back(radix, split), *_branch_twist(radix, split, twist)]
    words = np.concatenate([np.ascontiguousarray(p).reshape(-1) for p in parts]).astype(np.uint32)
    words.flags.writeable = False
    return words


def _inner(radix: int, length: int, twist: float) -> Words:
    """Per a': E2, E3 (a right operand), E3 transposed, E2 transposed, each (re, im) x 32 lanes x 4 words."""
    out = []
    for a in range(radix):
        bin = (a + twist) / length
        e2 = roots_of_unity(np.outer(I, I) / 16 + 16 * I[None, :] * bin) / 4  # [c'][c]
        e3 = roots_of_unity(np.outer(I, I) / 16 + I[None, :] * bin) / 4  # [d'][d]
        for matrix, right in ((e2, False), (e3, True), (e3.T, False), (e2.T, False)):
            for part in (matrix.real, matrix.imag):
                words = fragment(part)
                out.append(words[:, _AS_RIGHT_OPERAND] if right else words)
    return np.stack(out)


def _middle() -> list[Words]:
    """exp(-2 pi i c' d / 256): in fp32 at a lane's eight accumulator places, (n, comp) x 32 lanes x (r, e); in fp16."""
    w = roots_of_unity(np.outer(I, I) / 256)
    parts = []
    for n in range(2):
        places = np.stack([w[G + 8 * r, 8 * n + 2 * T + e] for r in range(2) for e in range(2)], -1)
        parts += [singles(places.real), singles(places.imag)]
    return [*parts, _pairs(w)]


def _pairs(w: Complex) -> Words:
    """Twiddles of 16 x 16 places in fp16: [n] x 32 lanes x (re, im of row g; of row g+8), pairs along columns."""
    words = [
        halves(part[G + 8 * r, 8 * n + 2 * T], part[G + 8 * r, 8 * n + 2 * T + 1])
        for n in range(2)
        for r in range(2)
        for part in (w.real, w.imag)
    ]
    return np.stack(words).reshape(2, 4, 32).transpose(0, 2, 1)


def _half_shift(radix: int, length: int) -> list[Words]:
    """The middle twiddle times exp(-2 pi i R d / 2N); it leads from a' to a' + R / 2: rows c', columns d; and back."""
    w = roots_of_unity(np.outer(I, I) / 256 + radix // 2 * I[None, :] / length)  # [c'][d]
    return [_pairs(w), _pairs(w.T)]


def _outer(radix: int, split: int, twist: float) -> list[Words]:
    """Stage a [a'][a] over sqrt(R S), and its transpose for the way back (re and -im).

    Block-diagonal over packed rows where R < 16; [row of tiles][column of tiles] x (re, im) fragments where R > 16.
    """
    index = np.arange(max(radix, 16))
    row, a = index // radix, index % radix
    stage = roots_of_unity(np.outer(a + twist, a) / radix) / np.sqrt(radix * split) * (row[:, None] == row[None, :])

    def tiles(re: NDArray[np.float64], im: NDArray[np.float64]) -> list[Words]:
        starts = range(0, len(index), 16)
        return [fragment(m[i : i + 16, j : j + 16]) for i in starts for j in starts for m in (re, im)]

    return tiles(stage.real, stage.imag) + tiles(stage.T.real, -stage.T.imag)


def _branch_twist(radix: int, split: int, twist: float) -> list[Words]:
    """exp(-2 pi i b (4a'+1) / 4RS), b > 0: in fp16 on the way in and back, then in fp32.

    [b][tile of a'] x 32 lanes: on the way in (re of rows g and g+8, im of both), on the way back a' as in right
    operands (re of 2t.. and 2t+8.., im of both; in fp32 these are two words of 16 bytes).
    """
    in_half: tuple[list[Words], list[Words]] = ([], [])
    in_single: tuple[list[Words], list[Words]] = ([], [])
    for b in range(1, split):
        for tile in range(radix // 16):
            w = roots_of_unity(b * (I + 16 * tile + twist) / (radix * split))
            rows = [part[G + 8 * r] for part in (w.real, w.imag) for r in range(2)]
            in_half[0].append(np.stack([halves(x, x) for x in rows], -1))
            in_single[0].append(np.stack([singles(x) for x in rows], -1))
            pairs = [[part[2 * T + 8 * r + e] for e in range(2)] for part in (w.real, w.imag) for r in range(2)]
            in_half[1].append(np.stack([halves(*pair) for pair in pairs], -1))
            for r in range(2):
                in_single[1].append(np.stack([singles(x) for pair in pairs[r::2] for x in pair], -1))
    return [*in_half[0], *in_half[1], *in_single[0], *in_single[1]]


def _lags_twisted(radix: int, split: int) -> list[Complex]:
    """exp(-2 pi i m b' / 256 S) of 256 lags m = 16 c + d; for a' >= 16, times what that changes in stage c.

    For the first tile of a' b' = 1 ... (0 needs none), then for the second b' = 0 ...
    """
    lag = np.arange(256)
    turned = radix // 2 * 16 * (lag // 16) / (256 * radix * split)
    return [
        roots_of_unity(lag * b / (256 * split) + tile * turned)
        for tile in range(2)
        for b in range(split)
        if tile > 0 or b > 0
    ]


def _lag_twists(radix: int, split: int) -> list[Words]:
    """On the way in: each [chunk of 8 lags][pair of lags] -> (re, im) words."""
    return [
        np.stack([halves(part[0::2], part[1::2]) for part in (w.real, w.imag)], -1) for w in _lags_twisted(radix, split)
    ]


def _lag_twists_back(radix: int, split: int) -> list[Words]:
    """On the way back: each of places (c, d)."""
    return [_pairs(w.reshape(16, 16)) for w in _lags_twisted(radix, split)]
