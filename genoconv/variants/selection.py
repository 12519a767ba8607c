"""Which records of a VCF to write and score: regions and FILTER."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from genoconv.contigs import match_contigs
from genoconv.errors import UsageError
from genoconv.variants.header import contig_lengths
from genoconv.variants.records import Record, VariantFile
from genoconv.wording import listed

_SPAN = re.compile(r"([0-9,]{1,24})(?:(-)([0-9,]{0,24}))?$")
_FAR = 2**62


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
        self._found: dict[str, str | None] = {}

    def find(self, name: str) -> str | None:
        """What the VCF calls this contig; None where it has none such."""
        if name not in self._found:
            self._found[name] = match_contigs({name: None}, self.names).get(name)
        if self._found[name] is None and self._look_at_records():
            return self.find(name)
        return self._found[name]

    def has(self, name: str) -> bool:
        """Whether the VCF has a contig of exactly this name."""
        return name in self.names or (self._look_at_records() and name in self.names)

    def _look_at_records(self) -> bool:
        """Add the contigs that records use and the header does not declare; False where that has been done."""
        if self._source is None:
            return False
        self.names |= {record.contig: 0 for record in self._source.records() if record.contig not in self.names}
        self._source = None
        self._found.clear()
        return True


def parse_region(text: str, *, contigs: VcfContigs) -> tuple[str, int, int]:
    """Read ``chr``, ``chr:pos``, ``chr:from-`` or ``chr:from-to`` (1-based, closed; commas allowed in numbers).

    A name with colons in it (HLA alleles) is recognised by being one of ``contigs``, whether or not the header
    declares it; ``{name}:from-to`` leaves no doubt where the name ends, as in bcftools.

    Returns:
        Contig as the VCF names it, start, end: 0-based half-open.

    Raises:
        UsageError: no such contig, or not a region.
    """
    if (":" in text or text in contigs.names) and contigs.has(text):
        return text, 0, _FAR
    braced = re.fullmatch(r"\{(.+)\}(?::(.*))?", text)
    name, span = (braced[1], braced[2] or "") if braced else text.rpartition(":")[::2]
    match = _SPAN.match(span) if name else None
    if braced and not span:
        text = name
    contig = contigs.find(name if match else text)
    if contig is None:
        some = listed(contigs.names) or "none"
        raise UsageError(
            f"--region {text}: neither a contig nor contig:from-to with 1-based positions; the VCF has {some}"
        )
    if match is None:
        return contig, 0, _FAR
    first = int(match[1].replace(",", "") or 0)
    last_text = (match[3] or "").replace(",", "")
    last = int(last_text) if last_text else (_FAR if match[2] else first)
    if first < 1 or last < first:
        raise UsageError(f"--region {text}: positions are 1-based and the first must not exceed the last")
    return contig, first - 1, last


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
