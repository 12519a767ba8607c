"""Which sequences are read together: a reference, and alternatives that equal it up to a position."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genoconv.tasks.rows import Indices, spread


class Families(NamedTuple):
    """Alternatives that are read from their reference's suffix on: those of one reference together, in order.

    Attributes:
        refs, alts: rows of each reference and alternative, (A,), ascending by reference.
        firsts: of each alternative the first position that matters, (A,).
        whole: whether a row is a reference that has to be known from its beginning, (R,).
        members: whether a row is in any family, (R,).
    """

    refs: Indices
    alts: Indices
    firsts: Indices
    whole: npt.NDArray[np.bool_]
    members: npt.NDArray[np.bool_]

    @classmethod
    def of_pairs(cls, pairs: Indices, *, lengths: Indices, starts: Mapping[int, int]) -> "Families":
        """The families of references with a suffix that is read by itself.

        Args:
            pairs: (P, 3) as of :class:`.Pair`.
            lengths: of each row, (R,).
            starts: length of a reference -> where its suffix starts; 0, or no entry: there is none.
        """
        refs, alts, firsts = pairs.T
        # One alternative can be spelled by several variants, whose sites differ: all of them have to be in the suffix.
        first = np.full(len(lengths), np.iinfo(np.int64).max)
        np.minimum.at(first, alts, firsts)
        windows, index = np.unique(lengths[refs], return_inverse=True)
        start = np.array([starts.get(length, 0) for length in windows.tolist()], np.int64)[index]
        together = (alts != refs) & (start > 0) & (start < first[alts])
        found, order = np.unique(alts[together], return_index=True)
        owners = refs[together][order]
        by_ref = np.lexsort((order, owners))
        members = np.zeros(len(lengths), np.bool_)
        members[found] = members[owners] = True
        whole = np.zeros(len(lengths), np.bool_)
        # A reference that is compared with others, too, has to be known from its beginning.
        whole[refs[~members[alts]]] = True
        return cls(owners[by_ref], found[by_ref], first[found][by_ref], whole, members)

    def of(self, refs: Indices) -> tuple[Indices, Indices, Indices]:
        """Members of ascending ``refs``: for each alternative, which of ``refs`` it is of, its row, what matters."""
        lows, highs = np.searchsorted(self.refs, refs), np.searchsorted(self.refs, refs, side="right")
        some = spread(lows, highs)
        return np.repeat(np.arange(len(refs)), highs - lows), self.alts[some], self.firsts[some]
