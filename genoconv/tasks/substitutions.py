"""Single-base substitutions of many records, planned together: nearly all of a VCF, without a loop over windows."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genoconv.tasks.comparison import Comparisons
from genoconv.tasks.rows import Indices
from genoconv.tokens import A, C, G, T, Tokens, reverse_complement
from genoconv.variants.records import Record
from genoconv.variants.reference import Reference

_TOKENS = {"A": A, "C": C, "G": G, "T": T}


class Substitutions(NamedTuple):
    """V substitutions on one contig.

    Attributes:
        records: number of the record of each, (V,).
        alts: which of its ALT each is, (V,).
        starts: 0-based positions, (V,).
        refs, tokens: of REF and of ALT, (V,).
    """

    records: Indices
    alts: Indices
    starts: Indices
    refs: Tokens
    tokens: Tokens


class Windows(NamedTuple):
    """Windows of one length around substitutions.

    Attributes:
        bases: of the distinct windows, (U, L).
        member: window of each substitution, (V,).
        offsets: where it is in it, (V,).
    """

    bases: Tokens
    member: Indices
    offsets: Indices

    @property
    def unknown(self) -> npt.NDArray[np.float64]:
        """Fraction of the bases of each window that are not A, C, G or T, (U,)."""
        # Unsigned bytes wrap around below A, so one comparison does for both ends of the range.
        known = np.count_nonzero(self.bases - np.uint8(A) <= T - A, axis=1)
        fractions: npt.NDArray[np.float64] = 1.0 - known / self.bases.shape[1]
        return fractions

    @property
    def inside(self) -> bool:
        """Whether every substitution lies in its window."""
        return bool(((self.offsets >= 0) & (self.offsets < self.bases.shape[1])).all())

    def compared(self, tokens: Tokens, compared: Comparisons, *, forward: bool, reverse: bool) -> Indices:
        """Numbers of the comparisons of each substitution, (strands, V), on the strands that are wanted."""
        strands = []
        if forward:
            strands.append(compared.add_substitutions(self.bases, self.member, self.offsets, tokens))
        if reverse:
            offsets = self.bases.shape[1] - 1 - self.offsets
            other = (A + T - tokens).astype(np.uint8)
            strands.append(compared.add_substitutions(reverse_complement(self.bases), self.member, offsets, other))
        return np.array(strands, np.int64)


def windows_around(starts: Indices, *, contig: str, reference: Reference, width: int, grid: int) -> Windows:
    """:func:`.grid_window` for many positions."""
    length = reference.contigs[contig]
    centres = (starts + grid // 2) // grid * grid
    firsts = np.maximum(0, np.minimum(centres - width // 2, length - width))
    unique, index = np.unique(firsts, return_inverse=True)
    return Windows(reference.windows(contig, unique, min(width, length)), index, starts - firsts)


def find_substitutions(records: Sequence[Record], names: Mapping[str, str]) -> dict[str, Substitutions]:
    """Those of A, C, G, T by another of them, by contig of the FASTA; what the FASTA has there is not looked at."""
    found: dict[str, list[tuple[int, int, int, int, int]]] = {}
    for number, record in enumerate(records):
        if (ref := _TOKENS.get(record.ref)) is None or (target := names.get(record.contig)) is None:
            continue
        for nth, alt in enumerate(record.alts):
            token = _TOKENS.get(alt, ref)
            if token != ref:
                found.setdefault(target, []).append((number, nth, record.start, ref, token))
    return {contig: _substitutions(np.array(rows, np.int64)) for contig, rows in found.items()}


def _substitutions(columns: Indices) -> Substitutions:
    records, alts, starts, refs, tokens = np.ascontiguousarray(columns.T)
    return Substitutions(records, alts, starts, refs.astype(np.uint8), tokens.astype(np.uint8))


def fitting(some: Substitutions, *, contig: str, reference: Reference) -> Substitutions:
    """Those whose REF is what the FASTA has there."""
    kept = reference.bases_at(contig, some.starts) == some.refs
    return Substitutions(*(column[kept] for column in some))
