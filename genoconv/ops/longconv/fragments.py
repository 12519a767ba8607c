"""Matrices and twiddles packed as the tensor cores and the kernels' lanes want them.

Lane l of a warp is g = l // 4, t = l % 4. The fragment of a 16 x 16 matrix M that a lane holds for `mma.m16n8k16` is
(M[g, 2t..], M[g+8, 2t..], M[g, 2t+8..], M[g+8, 2t+8..]), two fp16 values to a word.
"""

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]
Complex = NDArray[np.complex128]

_LANE = np.arange(32)
G, T = _LANE >> 2, _LANE & 3
I = np.arange(16)  # noqa: E741


def roots_of_unity(cycles: NDArray[np.float64]) -> Complex:
    """exp(-2 pi i cycles), its argument reduced first."""
    return np.exp(-2j * np.pi * np.mod(cycles, 1.0))


def halves(low: NDArray[np.float64], high: NDArray[np.float64]) -> Words:
    def bits(x: NDArray[np.float64]) -> Words:
        return np.asarray(x, np.float16).view(np.uint16).astype(np.uint32)

    return bits(low) | (bits(high) << np.uint32(16))


def singles(x: NDArray[np.float64]) -> Words:
    return np.asarray(x, np.float32).view(np.uint32)


def fragment(m: NDArray[np.float64]) -> Words:
    """(32 lanes, 4 words) of a real 16 x 16 matrix."""
    corners = ((0, 0), (8, 0), (0, 8), (8, 8))
    return np.stack([halves(m[G + r, 2 * T + c], m[G + r, 2 * T + c + 1]) for r, c in corners], -1)
