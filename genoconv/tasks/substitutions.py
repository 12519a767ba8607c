"""Single-base substitutions of many records, planned together: nearly all of a VCF, without a loop over windows."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genoconv.tasks.comparison import Comparison, Comparisons
from genoconv.tokens import A, C, G, T, Tokens, reverse_complement
from genoconv.variants.records import Record
from genoconv.variants.reference import Reference

_TOKENS = {"A": A, "C": C, "G": G, "T": T}

Numbers = npt.NDArray[np.int64]
Place = tuple[int, int]
"""Number of a record, and of one of its ALT."""


class Substitutions(NamedTuple):
    """V substitutions on one contig that fit their record: REF is what the FASTA has.

    Attributes:
        places: where each is in the file.
        starts: 0-based positions, (V,).
        tokens: of ALT, (V,).
    """

    places: list[Place]
    starts: Numbers
    tokens: Tokens


class Windows(NamedTuple):
    """Windows of one length around substitutions.

    Attributes:
        bases: of the distinct windows, (U, L).
        member: window of each substitution, (V,).
        offsets: where it is in it, (V,).
    """

    bases: Tokens
    member: Numbers
    offsets: Numbers

    @property
    def unknown(self) -> npt.NDArray[np.float64]:
        """Fraction of the bases of each window that are not A, C, G or T, (U,)."""
        known = np.count_nonzero((self.bases >= A) & (self.bases <= T), axis=1)
        fractions: npt.NDArray[np.float64] = 1.0 - known / self.bases.shape[1]
        return fractions

    @property
    def inside(self) -> bool:
        """Whether every substitution lies in its window."""
        return bool(((self.offsets >= 0) & (self.offsets < self.bases.shape[1])).all())

    def compared(
        self, tokens: Tokens, compared: Comparisons, *, forward: bool, reverse: bool
    ) -> list[tuple[Comparison, ...]]:
        """What to compare for each substitution, on the strands that are wanted."""
        strands = []
        if forward:
            strands.append(compared.add_substitutions(self.bases, self.member, self.offsets, tokens))
        if reverse:
            offsets = self.bases.shape[1] - 1 - self.offsets
            strands.append(
                compared.add_substitutions(
                    reverse_complement(self.bases), self.member, offsets, (A + T - tokens).astype(np.uint8)
                )
            )
        return list(zip(*strands, strict=True))


def windows_around(starts: Numbers, *, contig: str, reference: Reference, width: int, grid: int) -> Windows:
    """:func:`.grid_window` for many positions."""
    length = reference.contigs[contig]
    centres = (starts + grid // 2) // grid * grid
    firsts = np.maximum(0, np.minimum(centres - width // 2, length - width))
    unique, index = np.unique(firsts, return_inverse=True)
    bases = np.stack([reference.tokens(contig, first, first + width) for first in unique.tolist()])
    return Windows(bases, index, starts - firsts)


def find_substitutions(records: Sequence[Record], names: Mapping[str, str]) -> dict[str, Substitutions]:
    """Those of A, C, G, T by another of them, by contig of the FASTA; what the FASTA has there is not looked at."""
    found: dict[str, list[tuple[int, int, int, int]]] = {}
    for number, record in enumerate(records):
        target = names.get(record.contig) if record.ref in _TOKENS else None
        if target is None:
            continue
        for nth, alt in enumerate(record.alts):
            if alt in _TOKENS and alt != record.ref:
                found.setdefault(target, []).append((number, nth, record.start, _TOKENS[alt]))
    return {
        contig: Substitutions(
            [row[:2] for row in rows],
            np.array([row[2] for row in rows], np.int64),
            np.array([row[3] for row in rows], np.uint8),
        )
        for contig, rows in found.items()
    }


def fitting(some: Substitutions, records: Sequence[Record], *, contig: str, reference: Reference) -> Substitutions:
    """Those whose REF is what the FASTA has there."""
    wanted = [_TOKENS[records[number].ref] for number, _ in some.places]
    here = [reference.tokens(contig, start, start + 1) for start in some.starts.tolist()]
    kept = [n for n, (token, base) in enumerate(zip(wanted, here, strict=True)) if len(base) and base[0] == token]
    return Substitutions([some.places[n] for n in kept], some.starts[kept], some.tokens[kept])
