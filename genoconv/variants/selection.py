"""Which records of a VCF to write and score: regions and FILTER."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from genoconv.contigs import ContigFinder
from genoconv.variants.header import contig_lengths
from genoconv.variants.records import Record, VariantFile

FAR = 2**62
"""Beyond the end of any contig."""


@dataclass(slots=True)
class Selection:
    """Records that overlap a region (by REF's bases) and, if asked for, pass all filters; everything by default."""

    pass_only: bool = False
    regions: dict[str, list[tuple[int, int]]] | None = None
    """Sorted, disjoint spans by contig, 0-based half-open; None for all."""
    _starts: dict[str, list[int]] = field(default_factory=dict)

    def keeps(self, record: Record) -> bool:
        """Whether ``record`` is selected."""
        if self.regions is not None and not self._overlaps(record):
            return False
        return not self.pass_only or record.columns[6] == "PASS"

    def _overlaps(self, record: Record) -> bool:
        spans = (self.regions or {}).get(record.contig)
        if not spans:
            return False
        starts = self._starts.setdefault(record.contig, [start for start, _ in spans])
        before = bisect_right(starts, max(record.end, record.start + 1) - 1)
        return before > 0 and spans[before - 1][1] > record.start

    def of(self, records: Iterable[Record]) -> Iterator[Record]:
        """The selected ones among ``records``, in order."""
        return filter(self.keeps, records)


class VcfContigs:
    """The contigs of a VCF, by whatever name they are asked for: ``chr1``, ``1``, ``NC_000001.11``.

    Those of the header are enough where they answer; else the records are read once to see which they use.
    """

    def __init__(self, source: VariantFile) -> None:
        # The contigs of a BCF are all in its header.
        self._source: VariantFile | None = None if source.is_bcf else source
        self.names: dict[str, int] = {name: length or 0 for name, length in contig_lengths(source.header).items()}
        self._finder = ContigFinder(self.names)

    def find(self, name: str) -> str | None:
        """What the VCF calls this contig; None where it has none such."""
        found = self._finder.find(name)
        if found is None and self._look_at_records():
            found = self._finder.find(name)
        return found

    def has(self, name: str) -> bool:
        """Whether the VCF has a contig of exactly this name."""
        return name in self.names or (self._look_at_records() and name in self.names)

    def _look_at_records(self) -> bool:
        """Add the contigs that records use and the header does not declare; False where that has been done."""
        if self._source is None:
            return False
        self.names |= {record.contig: 0 for record in self._source.records() if record.contig not in self.names}
        self._source = None
        self._finder = ContigFinder(self.names)
        return True


def merged(spans: Iterable[tuple[str, int, int]]) -> dict[str, list[tuple[int, int]]]:
    """Join overlapping and touching spans (0-based half-open), by contig, in ascending order."""
    regions: dict[str, list[tuple[int, int]]] = {}
    for contig, start, end in sorted(spans):
        joined = regions.setdefault(contig, [])
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return regions
