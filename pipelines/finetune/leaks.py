"""Records of one split that are, or nearly are, in another: what is measured would have been learned."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genoconv.tokens import A, T, Tokens, reverse_complement

K = 16
_NEAR = 0.5
"""Share of a record's sampled k-mers that another must have to be called nearly the same."""
_SAMPLED = 512
"""k-mers of a record that are compared on average; all where it has fewer."""
_REPEATED = 64
"""Records that share a k-mer beyond which it is a repeat of the genome, which says nothing."""

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Leaks:
    """Training records that come again in the records held out.

    Attributes:
        exact: numbers of training records with the sequence, or its reverse complement, of a held-out record.
        near: of further ones that share at least half of the k-mers of a held-out record, or the other way round.
        held_out: how many held-out records they are like.
    """

    exact: Numbers
    near: Numbers
    held_out: int

    @property
    def records(self) -> Numbers:
        """All training records concerned."""
        return np.union1d(self.exact, self.near)


def find_leaks(sequences: Sequence[Tokens], train: npt.NDArray[np.bool_]) -> Leaks:
    """Compare the records for training with all others, on both strands.

    Args:
        sequences: tokens of each record.
        train: which records are learned from; the others are held out.
    """
    keys = np.array([hash(min(s.tobytes(), reverse_complement(s).tobytes())) for s in sequences], np.int64)
    same = np.isin(keys, keys[~train]) & train
    touched = np.isin(keys, keys[same]) & ~train
    near, theirs = _near(sequences, train)
    near[same] = False
    touched |= theirs
    return Leaks(np.flatnonzero(same), np.flatnonzero(near), int(touched.sum()))


def _near(sequences: Sequence[Tokens], train: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], ...]:
    """Which training and which held-out records have a near duplicate on the other side."""
    bases = sum(map(len, sequences)) / max(1, len(sequences))
    most = np.uint64(min(1.0, _SAMPLED / max(1.0, bases)) * float(2**64 - 2**12))
    sketches = [_sketch(sequence, most) for sequence in sequences]
    sizes = np.array([len(sketch) for sketch in sketches], np.int64)
    hashes, owners = np.concatenate(sketches), np.repeat(np.arange(len(sequences)), sizes)
    order = np.argsort(hashes, kind="stable")
    hashes, owners = hashes[order], owners[order]
    bounds = np.flatnonzero(np.r_[True, hashes[1:] != hashes[:-1], True]) if len(hashes) else np.zeros(1, np.int64)
    pairs = []
    for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if 1 < last - first <= _REPEATED:
            some = owners[first:last]
            ours, theirs = some[train[some]], some[~train[some]]
            if len(ours) and len(theirs):
                pairs.append(np.stack([np.repeat(ours, len(theirs)), np.tile(theirs, len(ours))]))
    found = np.zeros((2, len(sequences)), np.bool_)
    if pairs:
        whole, counts = np.unique(np.concatenate(pairs, axis=1), axis=1, return_counts=True)
        alike = whole[:, counts >= _NEAR * np.minimum(sizes[whole[0]], sizes[whole[1]])]
        found[0, alike[0]] = True
        found[1, alike[1]] = True
    return found[0], found[1]


def _sketch(sequence: Tokens, most: np.uint64) -> npt.NDArray[np.uint64]:
    """Hashes, up to ``most``, of the distinct canonical k-mers of A, C, G, T."""
    if len(sequence) < K:
        return np.empty(0, np.uint64)
    digits = (sequence - A).astype(np.uint64)
    known = (sequence >= A) & (sequence <= T)
    forward, backward = (np.zeros(len(digits) - K + 1, np.uint64) for _ in range(2))
    for offset in range(K):
        part = digits[offset : len(digits) - K + 1 + offset]
        forward = forward * np.uint64(4) + part
        backward += (np.uint64(3) - part) << np.uint64(2 * offset)
    whole = np.convolve(known, np.ones(K, np.int64), mode="valid") == K
    mers = np.minimum(forward, backward)[whole]
    mixed = (mers ^ (mers >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.unique(mixed[mixed <= most])
