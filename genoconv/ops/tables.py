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
    """All tables of N = 256 * radix * split, flat uint32 words, in the order of `csrc/tables.cuh`."""
    length = 256 * radix * split
    parts = [_inner(radix, length), _middle(), *_outer(radix)]
    if split > 1:
        parts += [*_branch(split), *_branch_twist(radix, split), _lag_twist(split), _lag_twist_back(split)]
    if radix == 16:
        parts += _turned(length)
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


def _middle() -> Words:
    """fp32 exp(-2 pi i c' d / 256) at a lane's eight accumulator places: (n, comp) x 32 lanes x (r, e)."""
    out = []
    for n in range(2):
        w = np.stack([_turn((_G + 8 * r) * (8 * n + 2 * _T + e) / 256) for r in range(2) for e in range(2)], -1)
        out += [_singles(w.real), _singles(w.imag)]
    return np.stack(out)


def _turned(length: int) -> list[Words]:
    """The middle twiddle times exp(-2 pi i 8 d / N), which turns a' into a' + 8.

    Rows c', columns d; then rows d, columns c'. [n] x 32 lanes x (re, im of row g; of row g+8), pairs along columns.
    """

    def packed(w: Complex) -> Words:
        words = [
            _halves(part[_G + 8 * r, 8 * n + 2 * _T], part[_G + 8 * r, 8 * n + 2 * _T + 1])
            for n in range(2)
            for r in range(2)
            for part in (w.real, w.imag)
        ]
        return np.stack(words).reshape(2, 4, 32).transpose(0, 2, 1)

    w = _turn(np.outer(_I, _I) / 256 + 8 * _I[None, :] / length)  # [c'][d]
    return [packed(w), packed(w.T)]


def _outer(radix: int) -> list[Words]:
    """First stage [a'][a], block-diagonal over packed rows, and its transpose for the way back (re and -im)."""
    row, a = _I // radix, _I % radix
    stage = _turn(np.outer(4 * a + 1, a) / (4 * radix)) / np.sqrt(radix) * (row[:, None] == row[None, :])
    forward = [_fragment(stage.real), _fragment(stage.imag)]
    # Both shapes of the way back load these words: a left operand where S = 1, a right one where S > 1.
    back = [_fragment(stage.T.real), _fragment(-stage.T.imag)]
    return forward + back


def _branch(split: int) -> list[Words]:
    """Stage b: on the way in a right operand of depth 8 (re, -im | im, re); back a left one [[re, -im], [im, re]]."""
    i = np.arange(8)
    width = 8 // split
    b, lag = i // width, i % width
    stage = _turn(np.outer(b, b) / split) / np.sqrt(split) * (lag[:, None] == lag[None, :])
    re = _halves(stage.real[_G, 2 * _T], stage.real[_G, 2 * _T + 1])
    im = _halves(stage.imag[_G, 2 * _T], stage.imag[_G, 2 * _T + 1])
    forward = np.stack([re, im ^ np.uint32(0x80008000), im, re], -1)
    b, chunk = i % split, i // split
    stage = _turn(np.outer(b, b) / split) / np.sqrt(split) * (chunk[:, None] == chunk[None, :])
    back = _fragment(np.block([[stage.real, -stage.imag], [stage.imag, stage.real]]))
    return [forward, back]


def _branch_twist(radix: int, split: int) -> list[Words]:
    """fp32 exp(-2 pi i b (4a'+1) / 4RS) at a lane's places: rows a', columns b; and back, rows b, columns a'."""

    def twist(b: NDArray[np.int64], a: NDArray[np.int64]) -> Complex:
        return _turn(b * (4 * a + 1) / (4 * radix * split))

    width = 8 // split
    rows = np.stack([twist((2 * _T + e) // width, _G + 8 * r) for r in range(2) for e in range(2)], -1)
    columns = np.stack([twist(_G % split, 8 * n + 2 * _T + e) for n in range(2) for e in range(2)], -1)
    return [_singles(x) for w in (rows, columns) for x in (w.real, w.imag)]


def _lag_twist(split: int) -> Words:
    """exp(-2 pi i m b' / 256 S) on the way in: [chunk of 8 lags][tile i][pair of columns] -> (re, im) words."""
    chunk, i, column = np.ogrid[:32, :split, :8]
    width = 8 // split
    lag = {8: i + 0 * column, 4: 2 * i + column % 2, 2: 4 * (column // 2 % 2) + 2 * i + column % 2}[split]
    w = _turn((8 * chunk + lag) * (column // width) / (256 * split))
    return np.stack([_halves(part[..., 0::2], part[..., 1::2]) for part in (w.real, w.imag)], -1)


def _lag_twist_back(split: int) -> Words:
    """The same on the way back: [b'][n] x 32 lanes x (re, im of row g; re, im of row g+8), pairs along columns."""
    out = []
    for b in range(split):
        for n in range(2):
            words = []
            for r in range(2):
                lag = 16 * (_G + 8 * r) + 8 * n + 2 * _T
                w = [_turn((lag + e) * b / (256 * split)) for e in range(2)]
                words += [_halves(w[0].real, w[1].real), _halves(w[0].imag, w[1].imag)]
            out.append(np.stack(words, -1))
    return np.stack(out)
