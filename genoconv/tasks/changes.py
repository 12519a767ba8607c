"""Insertions, deletions and other alleles of many records, planned together where their windows lie inside a contig."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genoconv.tasks.comparison import Comparisons
from genoconv.tasks.rows import Indices
from genoconv.tasks.substitutions import Windows, windows_around
from genoconv.tokens import encode, reverse_complement
from genoconv.variants.alleles import Allele
from genoconv.variants.reference import Reference


@dataclass(frozen=True)
class Changes:
    """V alleles on one contig.

    Attributes:
        records: number of the record of each, (V,).
        alts: which of its ALT each is, (V,).
        alleles: what changes.
    """

    records: Indices
    alts: Indices
    alleles: Sequence[Allele]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int, Allele]]) -> "Changes":
        """Of number of the record, number of the ALT, and allele."""
        records, alts, alleles = zip(*rows, strict=True)
        return cls(np.array(records, np.int64), np.array(alts, np.int64), alleles)

    def only(self, wanted: npt.NDArray[np.bool_]) -> "Changes":
        """Some of them."""
        alleles = [allele for allele, kept in zip(self.alleles, wanted.tolist(), strict=True) if kept]
        return Changes(self.records[wanted], self.alts[wanted], alleles)

    def around(self, *, contig: str, reference: Reference, width: int, grid: int) -> Windows:
        """The windows of one length, as of :func:`.grid_window`."""
        starts = np.array([allele.start for allele in self.alleles], np.int64)
        return windows_around(starts, contig=contig, reference=reference, width=width, grid=grid)

    def fits(self, windows: Windows, *, length: int, most_unknown: float) -> npt.NDArray[np.bool_]:
        """Which of them need no bases beyond the ends of the contig, and lie in windows that are known, (V,).

        Then :func:`.haplotypes` trims nothing, and the sites begin at the same base of both sequences.
        """
        starts, refs, alts = np.array(
            [(allele.start, len(allele.ref), len(allele.alt)) for allele in self.alleles], np.int64
        ).T
        offsets, width = windows.offsets, windows.bases.shape[1]
        ends = starts - offsets + width + np.maximum(refs - alts, 0)
        inside = (offsets >= 0) & (offsets + np.maximum(refs, alts) <= width) & (ends <= length)
        known: npt.NDArray[np.bool_] = windows.unknown <= most_unknown
        found: npt.NDArray[np.bool_] = inside & known[windows.member]
        return found

    def compared(
        self,
        windows: Windows,
        compared: Comparisons,
        *,
        contig: str,
        reference: Reference,
        forward: bool,
        reverse: bool,
    ) -> Indices:
        """Numbers of the comparisons of each, (strands, V), on the strands that are wanted; all must fit."""
        width = windows.bases.shape[1]
        places = list(zip(self.alleles, windows.offsets.tolist(), strict=True))
        alts = np.stack([_alternative(allele, offset, contig, reference, width) for allele, offset in places])
        starts = windows.offsets
        ends = np.array([min(offset + max(len(one.ref), len(one.alt)), width) for one, offset in places], np.int64)
        strands = []
        if forward:
            strands.append(compared.add_changes(windows.bases, windows.member, alts, starts, ends))
        if reverse:
            refs, alts = reverse_complement(windows.bases), reverse_complement(alts)
            strands.append(compared.add_changes(refs, windows.member, alts, width - ends, width - starts))
        return np.array(strands, np.int64)


def _alternative(allele: Allele, offset: int, contig: str, reference: Reference, width: int) -> npt.NDArray[np.uint8]:
    """The window of ``width`` bases with the allele at ``offset`` of it; a deletion reads beyond its end."""
    first, kept = allele.start - offset, width - offset - len(allele.alt)
    before = reference.tokens(contig, first, allele.start)
    return np.concatenate([before, encode(allele.alt), reference.tokens(contig, allele.end, allele.end + kept)])
