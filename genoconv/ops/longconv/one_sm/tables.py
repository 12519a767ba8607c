"""The DFT matrices and twiddles of one plan, packed as the tensor cores and the kernels' lanes want them.

Lane l of a warp is g = l // 4, t = l % 4. The fragment of a 16 x 16 matrix M that a lane holds for
`mma.m16n8k16` is (M[g, 2t..], M[g+8, 2t..], M[g, 2t+8..], M[g+8, 2t+8..]), two fp16 values to a word.
Symbols R, S, a, b, c, d and the derivation: `csrc/README.md`.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]
Complex = NDArray[np.complex128]

_LANE = np.arange(32)
_G, _T = _LANE >> 2, _LANE & 3
_I = np.arange(16)
_AS_RIGHT_OPERAND = [0, 2, 1, 3]  # the same four words, regrouped as two right operands of k = 16


@cache
def build(radix: int, split: int) -> Words:
    """All tables of N = 256 * radix * split, flat uint32 words, in the order of `csrc/shape.cuh`."""
    length = 256 * radix * split
    parts = [_inner(radix, length), *_middle(), *_outer(radix, split)]
    if radix >= 16:
        parts += _turned(radix, length)
    if split > 1:
        parts += [*_lag_twists(radix, split), *_lag_twists_back(radix, split), *_branch_twist(radix, split)]
    words = np.concatenate([np.ascontiguousarray(p).reshape(-1) for p in parts]).astype(np.uint32)
    words.flags.writeable = False
    return words


def _turn(cycles: NDArray[np.float64]) -> Complex:
    """exp(-2 pi i cycles), its argument reduced first."""
    return np.exp(-2j * np.pi * np.mod(cycles, 1.0))


def _halves(low: NDArray[np.float64], high: NDArray[np.float64]) -> Words:
    def bits(x: NDArray[np.float64]) -> Words:
        return np.asarray(x, np.float16).view(np.uint16).astype(np.uint32)

    return bits(low) | (bits(high) << np.uint32(16))


def _singles(x: NDArray[np.float64]) -> Words:
    return np.asarray(x, np.float32).view(np.uint32)


def _fragment(m: NDArray[np.float64]) -> Words:
    """(32 lanes, 4 words) of a real 16 x 16 matrix."""
    corners = ((0, 0), (8, 0), (0, 8), (8, 8))
    return np.stack([_halves(m[_G + r, 2 * _T + c], m[_G + r, 2 * _T + c + 1]) for r, c in corners], -1)


def _inner(radix: int, length: int) -> Words:
    """Per a': E2, E3 (a right operand), E3 transposed, E2 transposed, each (re, im) x 32 lanes x 4 words."""
    out = []
    for a in range(radix):
        twist = (4 * a + 1) / (4 * length)
        e2 = _turn(np.outer(_I, _I) / 16 + 16 * _I[None, :] * twist) / 4  # [c'][c]
        e3 = _turn(np.outer(_I, _I) / 16 + _I[None, :] * twist) / 4  # [d'][d]
        for matrix, right in ((e2, False), (e3, True), (e3.T, False), (e2.T, False)):
            for part in (matrix.real, matrix.imag):
                fragment = _fragment(part)
                out.append(fragment[:, _AS_RIGHT_OPERAND] if right else fragment)
    return np.stack(out)


def _middle() -> list[Words]:
    """exp(-2 pi i c' d / 256): in fp32 at a lane's eight accumulator places, (n, comp) x 32 lanes x (r, e); in fp16."""
    w = _turn(np.outer(_I, _I) / 256)
    singles = []
    for n in range(2):
        places = np.stack([w[_G + 8 * r, 8 * n + 2 * _T + e] for r in range(2) for e in range(2)], -1)
        singles += [_singles(places.real), _singles(places.imag)]
    return [*singles, _pairs(w)]


def _pairs(w: Complex) -> Words:
    """Twiddles of 16 x 16 places in fp16: [n] x 32 lanes x (re, im of row g; of row g+8), pairs along columns."""
    words = [
        _halves(part[_G + 8 * r, 8 * n + 2 * _T], part[_G + 8 * r, 8 * n + 2 * _T + 1])
        for n in range(2)
        for r in range(2)
        for part in (w.real, w.imag)
    ]
    return np.stack(words).reshape(2, 4, 32).transpose(0, 2, 1)


def _turned(radix: int, length: int) -> list[Words]:
    """The middle twiddle times exp(-2 pi i R d / 2N), which turns a' into a' + R / 2: rows c', columns d; and back."""
    w = _turn(np.outer(_I, _I) / 256 + radix // 2 * _I[None, :] / length)  # [c'][d]
    return [_pairs(w), _pairs(w.T)]


def _outer(radix: int, split: int) -> list[Words]:
    """Stage a [a'][a] over sqrt(R S), and its transpose for the way back (re and -im).

    Block-diagonal over packed rows where R < 16; [row of tiles][column of tiles] x (re, im) fragments where R > 16.
    """
    index = np.arange(max(radix, 16))
    row, a = index // radix, index % radix
    stage = _turn(np.outer(4 * a + 1, a) / (4 * radix)) / np.sqrt(radix * split) * (row[:, None] == row[None, :])

    def tiles(re: NDArray[np.float64], im: NDArray[np.float64]) -> list[Words]:
        starts = range(0, len(index), 16)
        return [_fragment(m[i : i + 16, j : j + 16]) for i in starts for j in starts for m in (re, im)]

    return tiles(stage.real, stage.imag) + tiles(stage.T.real, -stage.T.imag)


def _branch_twist(radix: int, split: int) -> list[Words]:
    """exp(-2 pi i b (4a'+1) / 4RS), b > 0: in fp16 on the way in and back, then in fp32.

    [b][tile of a'] x 32 lanes: on the way in (re of rows g and g+8, im of both), on the way back a' as in right
    operands (re of 2t.. and 2t+8.., im of both; in fp32 these are two words of 16 bytes).
    """
    halves: tuple[list[Words], list[Words]] = ([], [])
    singles: tuple[list[Words], list[Words]] = ([], [])
    for b in range(1, split):
        for tile in range(radix // 16):
            w = _turn(b * (4 * (_I + 16 * tile) + 1) / (4 * radix * split))
            rows = [part[_G + 8 * r] for part in (w.real, w.imag) for r in range(2)]
            halves[0].append(np.stack([_halves(x, x) for x in rows], -1))
            singles[0].append(np.stack([_singles(x) for x in rows], -1))
            pairs = [[part[2 * _T + 8 * r + e] for e in range(2)] for part in (w.real, w.imag) for r in range(2)]
            halves[1].append(np.stack([_halves(*pair) for pair in pairs], -1))
            for r in range(2):
                singles[1].append(np.stack([_singles(x) for pair in pairs[r::2] for x in pair], -1))
    return [*halves[0], *halves[1], *singles[0], *singles[1]]


def _lags_twisted(radix: int, split: int) -> list[Complex]:
    """exp(-2 pi i m b' / 256 S) of 256 lags m = 16 c + d; for a' >= 16, times what that changes in stage c.

    For the first tile of a' b' = 1 ... (0 needs none), then for the second b' = 0 ...
    """
    lag = np.arange(256)
    turned = radix // 2 * 16 * (lag // 16) / (256 * radix * split)
    return [
        _turn(lag * b / (256 * split) + tile * turned) for tile in range(2) for b in range(split) if tile > 0 or b > 0
    ]


def _lag_twists(radix: int, split: int) -> list[Words]:
    """On the way in: each [chunk of 8 lags][pair of lags] -> (re, im) words."""
    return [
        np.stack([_halves(part[0::2], part[1::2]) for part in (w.real, w.imag)], -1)
        for w in _lags_twisted(radix, split)
    ]


def _lag_twists_back(radix: int, split: int) -> list[Words]:
    """On the way back: each of places (c, d)."""
    return [_pairs(w.reshape(16, 16)) for w in _lags_twisted(radix, split)]
