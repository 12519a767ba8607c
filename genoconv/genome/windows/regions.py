"""Which region each base of a genome lies in, and what the regions of a window weigh."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genoconv.contigs import match_contigs
from genoconv.errors import DataError
from genoconv.genome.annotation.features import Stretches, covered, merged
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.intervals import bed_rows
from genoconv.lines import shortened


class RegionMap:
    """Regions of a genome, of which a base belongs to the first in the list that covers it. 0-based half-open.

    Args:
        contigs: name -> length in bases.
        regions: for each, contig -> disjoint ascending stretches inside the contig, shape (number, 2).

    Attributes:
        count: number of regions; the label of a base in none of them.
        bases: bases of each region, and last of what is in none, shape (count + 1,).
    """

    def __init__(self, contigs: Mapping[str, int], regions: Sequence[Stretches]) -> None:
        self.count = len(regions)
        self.bases = np.zeros(self.count + 1, np.int64)
        self._pieces: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]] = {}
        for contig, length in contigs.items():
            own = [region.get(contig, np.empty((0, 2), np.int64)) for region in regions]
            edges = np.unique(np.concatenate([[0, length], *(spans.ravel() for spans in own)]))
            labels = np.full(len(edges) - 1, self.count, np.uint8)
            for number, spans in reversed(list(enumerate(own))):
                labels[covered(spans, edges)] = number
            self._pieces[contig] = edges, labels
            self.bases += np.bincount(labels, weights=np.diff(edges), minlength=self.count + 1).astype(np.int64)

    def labels(self, contig: str, start: int, end: int) -> npt.NDArray[np.uint8]:
        """Number of the region of each base, shape (end - start,)."""
        edges, labels = self._pieces[contig]
        first = int(np.searchsorted(edges, start, side="right")) - 1
        last = int(np.searchsorted(edges, end, side="left"))
        inside = np.clip(edges[first : last + 1], start, end)
        return np.repeat(labels[first:last], np.diff(inside))

    def means(
        self,
        contig: str,
        starts: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
        values: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """Mean over each window of what its bases weigh, from the value of each label; shape of ``starts``."""
        edges, labels = self._pieces[contig]
        total = np.concatenate([[0.0], np.cumsum(np.diff(edges) * values[labels])])
        sums: npt.NDArray[np.float64] = np.interp(ends, edges, total) - np.interp(starts, edges, total)
        return sums / (ends - starts)

    def digest(self) -> str:
        """SHA-256 of which bases are in which region, hexadecimal."""
        sha = hashlib.sha256()
        for contig, (edges, labels) in self._pieces.items():
            sha.update(f"{contig}\n".encode() + edges.astype("<i8").tobytes() + labels.tobytes())
        return sha.hexdigest()


def bed_stretches(path: Path, fasta: Fasta, *, aliases: Mapping[str, str]) -> Stretches:
    """The intervals of a BED file under the FASTA's contig names; strands are merged.

    Raises:
        DataError: a row that is not BED, on a contig that the FASTA lacks, or past its end; the line is named.
    """
    numbered = list(bed_rows(path))
    names = match_contigs(dict.fromkeys(row[0] for _, row in numbered), fasta.contigs, aliases=aliases, each=True)
    spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for line, (contig, start, end, *_) in numbered:
        if contig not in names:
            some = ", ".join(shortened(name) for name in list(fasta.contigs)[:5])
            raise DataError(f"{path}: line {line}: no contig {shortened(contig)} in {fasta.path}; it has {some}")
        length = fasta.contigs[names[contig]]
        if end > length:
            raise DataError(
                f"{path}: line {line}: the interval ends at {end:,}, but {shortened(contig)} has only {length:,} bases"
            )
        spans[names[contig]].append((start, end))
    return {contig: merged(some) for contig, some in spans.items()}
