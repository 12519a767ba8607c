"""Which variants are alike: SNVs by the bases around them, insertions and deletions by their length.

Variants of one class are compared with each other by :mod:`genoconv.tasks.calibration`. An SNV and the same SNV read on
the other strand are one class: contexts are written with C or T in the middle. Four levels of SNV classes lie above
each other: by two bases on either side, by one, by none, and all SNVs as one. Classes are small integers, ``CLASSES``
of them; -1 stands for none.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from genoconv.tokens import UNK, A, T, Tokens
from genoconv.variants.reference import Reference

Ids = npt.NDArray[np.int32]

RADIUS = 2
"""Bases on either side of an SNV that its finest class knows."""
LENGTHS = ((1, 1), (2, 2), (3, 3), (4, 6), (7, 12), (13, 24), (25, 50))
"""Lengths of an inserted or deleted sequence that make a class, first and last."""

# Where the ids of each level begin; every context has a place for four alternatives.
_FIRST = (0, 4**5 * 4, 4**5 * 4 + 4**3 * 4)
_ANY_SNV = _FIRST[-1] + 4 * 4
INSERTION = _ANY_SNV + 1
DELETION = INSERTION + len(LENGTHS)
CLASSES = DELETION + len(LENGTHS)
LEVELS = RADIUS + 2
"""Classes that an SNV belongs to, the finest first."""


def snv_classes(tokens: Tokens) -> Ids:
    """Classes of every SNV of a stretch of sequence.

    Args:
        tokens: (n + 2 * RADIUS,): the n positions with ``RADIUS`` bases on either side; anything but A, C, G, T where
            the contig ends.

    Returns:
        (LEVELS, n, 4): for A, C, G, T as alternative, the finest level first; -1 at the reference, where the reference
        is not A, C, G or T, and where a level's context has an unknown base.
    """
    codes = tokens.astype(np.int32) - A
    known = (codes >= 0) & (codes <= T - A)
    count = len(tokens) - 2 * RADIUS
    ref = codes[RADIUS : RADIUS + count]
    alts = np.arange(4, dtype=np.int32)
    found = np.full((LEVELS, count, 4), -1, np.int32)
    flipped = (ref & 1 == 0)[:, None]  # A and G in the middle: taken from the other strand
    is_snv = known[RADIUS : RADIUS + count, None] & (ref[:, None] != alts)
    for level, radius in enumerate(range(RADIUS, -1, -1)):
        width = 2 * radius + 1
        columns = [slice(RADIUS - radius + at, RADIUS - radius + at + count) for at in range(width)]
        forward, reverse = np.zeros(count, np.int32), np.zeros(count, np.int32)
        complete = np.ones(count, np.bool_)
        for at, column in enumerate(columns):
            forward += codes[column] * 4 ** (width - 1 - at)
            reverse += (3 - codes[column]) * 4**at
            complete &= known[column]
        context = np.where(flipped[:, 0], reverse, forward)[:, None]
        ids = _FIRST[level] + context * 4 + np.where(flipped, 3 - alts, alts)
        found[level] = np.where(is_snv & complete[:, None], ids, -1)
    found[-1] = np.where(is_snv, _ANY_SNV, -1)
    return found


def indel_class(ref_bases: int, alt_bases: int) -> int:
    """Class of a trimmed insertion (``ref_bases`` 0) or deletion (``alt_bases`` 0); -1 for all else and beyond 50."""
    if (ref_bases == 0) == (alt_bases == 0):
        return -1
    length = max(ref_bases, alt_bases)
    first = INSERTION if ref_bases == 0 else DELETION
    return next((first + at for at, (least, most) in enumerate(LENGTHS) if least <= length <= most), -1)


@cache
def coarser() -> Ids:
    """(LEVELS, CLASSES): the class of each level that contains a class of the finest; the class itself for indels."""
    found = np.tile(np.arange(CLASSES, dtype=np.int32), (LEVELS, 1))
    ids = np.arange(_FIRST[1], dtype=np.int32)
    context, alt = ids // 4, ids % 4
    found[1, : _FIRST[1]] = _FIRST[1] + (context // 4 % 4**3) * 4 + alt
    found[2, : _FIRST[1]] = _FIRST[2] + (context // 4**2 % 4) * 4 + alt
    found[3, : _FIRST[1]] = _ANY_SNV
    return found


def surroundings(reference: Reference, contig: str, start: int, end: int) -> Tokens:
    """Tokens of ``[start, end)`` (0-based) and ``RADIUS`` bases on either side, unknown ones beyond a contig's ends."""
    found = np.full(end - start + 2 * RADIUS, UNK, np.uint8)
    first = max(start - RADIUS, 0)
    there = reference.tokens(contig, first, end + RADIUS)
    found[first - start + RADIUS :][: len(there)] = there
    return found
