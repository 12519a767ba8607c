"""Genes of annotations that have no gene rows: put together from transcripts, exons or coding sequences."""

import dataclasses
import itertools
import logging
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from genoconv.genome.annotation.gff import Row, is_rna

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gene:
    """A gene body, 0-based half-open."""

    contig: str
    start: int
    end: int
    strand: str
    gene_id: str
    name: str
    biotype: str

    def astuple(self) -> tuple[str, int, int, str, str, str, str]:
        """The fields in order."""
        return self.contig, self.start, self.end, self.strand, self.gene_id, self.name, self.biotype


# An id in quotes may hold a semicolon; other keys may end in the same letters.
_GENE = re.compile(r'(?:^|[\s;])gene_id\s+(?:"([^"]*)"|([^\s";]+))')
_TRANSCRIPT = re.compile(r'(?:^|[\s;])transcript_id\s+(?:"([^"]*)"|([^\s";]+))')


def gene_id_of(text: str) -> str | None:
    """``gene_id`` of the ninth column of a GTF row."""
    return _found(_GENE.search(text))


def _found(match: re.Match[str] | None) -> str | None:
    return match and (match[1] if match[1] is not None else match[2])


class TranscriptLoci:
    """GTF: the extent of each transcript, then of the overlapping transcripts of each ``gene_id``.

    UCSC tables repeat a gene_id at every locus where a transcript aligns; one span over all of them is not a gene.
    """

    def __init__(self) -> None:
        self._extents: dict[tuple[str, str, str | None, str | None], Gene] = {}

    def add(self, row: Row) -> None:
        """Take in a transcript, exon or CDS."""
        key = (row.contig, row.strand, gene_id_of(row.text), _found(_TRANSCRIPT.search(row.text)))
        old = self._extents.get(key)
        if old is None:
            get = row.attributes().get
            gene_id = get("gene_id", "")
            biotype = get("gene_biotype") or get("gene_type") or get("biotype") or ""
            name = get("gene_name") or get("gene") or gene_id
            self._extents[key] = Gene(row.contig, row.start, row.end, row.strand, gene_id, name, biotype)
        elif row.start < old.start or row.end > old.end:
            self._extents[key] = dataclasses.replace(old, start=min(old.start, row.start), end=max(old.end, row.end))

    def genes(self) -> list[Gene]:
        """One gene for every run of overlapping transcripts, in the order of their first rows."""
        return _loci(self._extents.values())


def _loci(extents: Iterable[Gene]) -> list[Gene]:
    """One gene for every run of overlapping extents of one ``gene_id``, in the order of the first of each gene_id."""
    loci: dict[tuple[str, str, str], list[Gene]] = defaultdict(list)
    for extent in extents:
        loci[extent.contig, extent.strand, extent.gene_id].append(extent)
    return [gene for same in loci.values() for gene in _merged(same)]


def _merged(extents: list[Gene]) -> list[Gene]:
    merged: list[Gene] = []
    for extent in sorted(extents, key=lambda gene: (gene.start, gene.end)):
        if merged and extent.start < merged[-1].end:
            merged[-1] = dataclasses.replace(merged[-1], end=max(merged[-1].end, extent.end))
        else:
            merged.append(extent)
    return merged


_BIOTYPES = {"CDS": "protein_coding", "mRNA": "", "transcript": "", "exon": ""}


def _biotype(row: Row) -> str:
    get = row.attributes().get
    return get("biotype") or get("gene_biotype") or _BIOTYPES.get(row.feature, row.feature)


class CodingLoci:
    """GFF3: top-level CDS, or transcripts where there is no such CDS, and RNAs; the parts of one ``ID`` are one gene.

    So are overlapping ones of one ``locus_tag`` or ``geneID``, and parts of one ``Parent`` that has no row.

    Args:
        circular: contigs marked circular -> length. There a gene whose parts touch both ends spans the origin.
    """

    def __init__(self, circular: Mapping[str, int]) -> None:
        self.circular = circular
        self._parts: dict[str, dict[tuple[str, str, str], list[Row]]] = {"CDS": {}, "transcript": {}, "RNA": {}}
        self._children: dict[tuple[str, str, str], Gene] = {}
        self._ids: set[str] = set()

    def add(self, row: Row) -> None:
        """Take in a CDS, a transcript or an RNA; rows with a parent and exons are part of something else."""
        attributes = row.attributes()
        if row.feature not in ("exon", "CDS"):
            self._ids.add(attributes.get("ID", ""))
        if parent := attributes.get("Parent"):
            self._add_child(row, parent.split(",")[0])
        if parent or attributes.get("Derives_from") or row.feature == "exon":
            return
        key = (row.contig, row.strand, attributes.get("ID") or f"line {row.line}")
        kind = "CDS" if row.feature == "CDS" else "RNA" if is_rna(row.feature) else "transcript"
        self._parts[kind].setdefault(key, []).append(row)

    def _add_child(self, row: Row, parent: str) -> None:
        key = (row.contig, row.strand, parent)
        old = self._children.get(key)
        if old is not None:
            start, end = min(old.start, row.start), max(old.end, row.end)
            self._children[key] = dataclasses.replace(old, start=start, end=end)
            return
        get = row.attributes().get
        identifier = parent.removeprefix("gene:").removeprefix("gene-")
        name, biotype = get("gene") or get("gene_name") or identifier, _biotype(row)
        self._children[key] = Gene(row.contig, row.start, row.end, row.strand, identifier, name, biotype)

    def genes(self, *, orphans: bool = False) -> list[Gene]:
        """The genes, in the order of their first rows; warns if most CDS lengths are not multiples of three.

        Args:
            orphans: after them what is put together from parts whose parent has no row.
        """
        coding = self._parts["CDS"]
        odd = sum(sum(row.end - row.start for row in rows) % 3 != 0 for rows in coding.values())
        if 2 * odd > len(coding):
            log.warning(
                "%d of %d CDS have a length that is not a multiple of 3: starts may be 0-based, as in BED",
                odd,
                len(coding),
            )
        found = [*(coding or self._parts["transcript"]).values(), *self._parts["RNA"].values()]
        genes = _loci(self._gene(rows) for rows in sorted(found, key=lambda rows: rows[0].line))
        if orphans:
            left = [gene for (*_, parent), gene in self._children.items() if parent not in self._ids]
            genes += outside(left, genes, {gene.gene_id for gene in genes})
        return genes

    def _gene(self, rows: list[Row]) -> Gene:
        first = rows[0]
        get = first.attributes().get
        start, end = self._span(rows)
        unnamed = f"{first.contig}:{start + 1}-{end}"
        # gffread writes the gene of a transcript as geneID.
        identifier = get("locus_tag") or get("geneID") or get("ID") or get("Name") or unnamed
        name = get("gene") or get("gene_name") or get("Name") or identifier
        return Gene(first.contig, start, end, first.strand, identifier, name, _biotype(first))

    def _span(self, rows: list[Row]) -> tuple[int, int]:
        parts = sorted((row.start, row.end) for row in rows)
        length = self.circular.get(rows[0].contig)
        if len(parts) > 1 and parts[0][0] == 0 and parts[-1][1] == length:
            # The widest gap between parts is what the gene does not cover; it runs from after it round to before it.
            gaps = [after[0] - before[1] for before, after in itertools.pairwise(parts)]
            cut = gaps.index(max(gaps)) + 1
            return parts[cut][0], length + max(end for _, end in parts[:cut])
        return parts[0][0], max(end for _, end in parts)


def outside(candidates: list[Gene], genes: list[Gene], named: set[str]) -> list[Gene]:
    """Those candidates that no gene of the same strand overlaps and that have the name of none.

    A CDS without a parent is often part of a gene all the same: of the one in whose row it lies.
    """
    if not candidates:
        return []
    spans: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for gene in genes:
        spans[gene.contig, gene.strand].append((gene.start, gene.end))
    reached = {place: _running_ends(sorted(rows)) for place, rows in spans.items()}

    def covered(gene: Gene) -> bool:
        starts, ends = reached.get((gene.contig, gene.strand), ([], []))
        before = bisect_left(starts, gene.end)
        return before > 0 and ends[before - 1] > gene.start

    return [gene for gene in candidates if gene.gene_id not in named and not covered(gene)]


def _running_ends(spans: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Starts, and the furthest end among each span and those before it."""
    return [start for start, _ in spans], list(itertools.accumulate((end for _, end in spans), max))
