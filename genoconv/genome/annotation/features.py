"""Features of an annotation as stretches of a genome: coding sequence, UTRs, exons, promoters, introns, intergenic.

What counts as what (0-based half-open, strands merged):

* ``cds``: CDS rows, and the start and stop codons that GTF leaves out of them;
* ``utr``: rows of UTRs, and exons of a transcript that has a CDS, outside of its CDS;
* ``exon``: exon rows, coding or not, with what is ``cds`` or ``utr``;
* ``promoter``: the bases from TSS - n to TSS + n of every transcript, or gene without one. The TSS is the first base on
  the ``+`` strand and the last one on the ``-`` strand; what has no strand has no promoter;
* ``intron``: bases of a gene's body that are in no exon;
* ``intergenic``: bases in no gene's body, contigs without genes included.

They overlap: a base may be an exon of one transcript and a promoter of another.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from genoconv.contigs import ContigFinder
from genoconv.errors import DataError
from genoconv.formats import open_binary
from genoconv.genome.annotation.genes import read_genes
from genoconv.genome.annotation.gff import Kind, Row, RowReader, kind_of

if TYPE_CHECKING:
    from genoconv.genome.fasta.access import Fasta

Feature = Literal["cds", "utr", "exon", "promoter", "intron", "intergenic"]

Span = tuple[int, int]
# Contig -> starts and ends, disjoint and ascending.
Stretches = dict[str, npt.NDArray[np.int64]]


def merged(spans: Iterable[Span]) -> npt.NDArray[np.int64]:
    """Spans as disjoint ascending ones that cover the same bases, shape (number, 2)."""
    table = np.array(sorted(spans), np.int64).reshape(-1, 2)
    if not len(table):
        return table
    reached = np.maximum.accumulate(table[:, 1])
    first = np.concatenate([[True], table[1:, 0] > reached[:-1]])
    last = np.concatenate([first[1:], [True]])
    return np.stack([table[first, 0], reached[last]], axis=1)


def without(spans: npt.NDArray[np.int64], holes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The bases of disjoint ascending ``spans`` that no hole covers, (number, 2) each."""
    edges = np.unique(np.concatenate([spans.ravel(), holes.ravel()]))
    if len(edges) < 2:
        return spans
    inside = covered(spans, edges) & ~covered(holes, edges)
    pieces = np.stack([edges[:-1], edges[1:]], axis=1)[inside]
    return merged(map(tuple, pieces.tolist()))


def covered(spans: npt.NDArray[np.int64], edges: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of the pieces between ``edges``, ascending and holding all ends of ``spans``, lie in a span."""
    depth = np.zeros(len(edges), np.int64)
    np.add.at(depth, np.searchsorted(edges, spans[:, 0]), 1)
    np.add.at(depth, np.searchsorted(edges, spans[:, 1]), -1)
    return np.cumsum(depth)[:-1] > 0


@dataclass
class _Transcript:
    contig: str
    strand: str
    start: int
    end: int
    exons: list[Span] = field(default_factory=list)
    coding: list[Span] = field(default_factory=list)


class Features:
    """The features of an annotation, under the FASTA's contig names.

    Args:
        fasta: what the annotation describes.
        annotation: GTF or GFF3.
        aliases: further names of the contigs.

    Raises:
        DataError: as :func:`.genes.read_genes`.
    """

    def __init__(self, fasta: "Fasta", annotation: Path, *, aliases: Mapping[str, str]) -> None:
        self.annotation = annotation
        self.contigs = fasta.contigs
        genes = read_genes(annotation, contigs=fasta.contigs, aliases=aliases, fasta=fasta.path)
        self._parts = _Parts(fasta.contigs, aliases)
        with open_binary(annotation, table=True) as stream:
            for row in RowReader(stream, source=str(annotation), kinds=_kind):
                self._parts.add(row)
        self._bodies: dict[str, list[Span]] = defaultdict(list)
        columns = (genes[name].tolist() for name in ("contig", "start", "end", "strand"))
        for contig, start, end, strand in zip(*columns, strict=True):
            self._bodies[contig] += wrapped(start, end, fasta.contigs[contig])
            self._parts.genes.append((contig, start, end, strand))

    def stretches(self, feature: Feature, *, around: int = 1_000) -> Stretches:
        """Where a feature is; ``around`` is n of the promoters, in bases.

        Raises:
            DataError: no base is of this feature.
        """
        found = self._stretches(feature, around=around)
        if not any(len(spans) for spans in found.values()):
            raise DataError(f"{self.annotation}: no base is annotated as {feature}; drop that region")
        return found

    def _stretches(self, feature: Feature, *, around: int) -> Stretches:
        parts, bodies = self._parts, self._bodies
        if feature == "intron":
            exons = parts.exons()
            return {contig: without(merged(spans), merged(exons.get(contig, []))) for contig, spans in bodies.items()}
        if feature == "intergenic":
            whole = {contig: np.array([[0, length]], np.int64) for contig, length in self.contigs.items()}
            return {contig: without(spans, merged(bodies.get(contig, []))) for contig, spans in whole.items()}
        if feature == "promoter":
            spans = parts.promoters(around)
        else:
            spans = {"cds": parts.coding, "utr": parts.untranslated, "exon": parts.exons}[feature]()
        return {contig: merged(some) for contig, some in spans.items()}


def wrapped(start: int, end: int, length: int) -> list[Span]:
    """A stretch that may run through the origin of a circular contig of ``length`` bases, as stretches inside it."""
    return [(start, end)] if end <= length else [(start, length), (0, min(end - length, start))]


def _kind(feature: str) -> Kind:
    usual = kind_of(feature)
    if usual == "gene" or feature in ("stop_codon", "start_codon") or "UTR" in feature:
        return "" if usual == "gene" else "part"
    return "part" if _is_transcript(feature) else usual


def _is_transcript(feature: str) -> bool:
    return feature in ("transcript", "primary_transcript") or feature.endswith(("RNA", "_transcript"))


class _Parts:
    """Transcripts with their exons and coding stretches, put together from rows in any order."""

    def __init__(self, contigs: Mapping[str, int], aliases: Mapping[str, str]) -> None:
        self.contigs = contigs
        self.transcripts: dict[tuple[str, str], _Transcript] = {}
        self.genes: list[tuple[str, int, int, str]] = []
        self.utrs: dict[str, list[Span]] = defaultdict(list)
        self.circular: set[str] = set()
        self._finder = ContigFinder(contigs, aliases=aliases)

    def add(self, row: Row) -> None:
        """Take in a row; one on an unknown contig, or past the end of one that is not circular, is left out."""
        contig = self._finder.find(row.contig)
        if contig is None:
            return
        if kind_of(row.feature) == "whole":
            if row.attributes().get("Is_circular") == "true":
                self.circular.add(contig)
            return
        length = self.contigs[contig]
        if row.end > length and (contig not in self.circular or row.start >= length or row.end - row.start > length):
            return
        spans = wrapped(row.start, row.end, length)
        if "UTR" in row.feature:
            if "intron" not in row.feature:
                self.utrs[contig] += spans
            return
        for key in self._keys(row):
            known = self.transcripts.setdefault(
                (contig, key), _Transcript(contig, row.strand, row.start, min(row.end, length))
            )
            known.start, known.end = min(known.start, row.start), max(known.end, min(row.end, length))
            if row.feature == "exon":
                known.exons += spans
            elif not _is_transcript(row.feature):
                known.coding += spans

    def _keys(self, row: Row) -> list[str]:
        attributes = row.attributes()
        if row.gtf:
            return [attributes.get("transcript_id") or attributes.get("gene_id") or f"line {row.line}"]
        if _is_transcript(row.feature):
            return [attributes.get("ID") or f"line {row.line}"]
        return (attributes.get("Parent") or attributes.get("ID") or f"line {row.line}").split(",")

    def coding(self) -> dict[str, list[Span]]:
        """Contig -> coding stretches."""
        return self._each(lambda transcript: transcript.coding)

    def untranslated(self) -> dict[str, list[Span]]:
        """Contig -> UTRs."""

        def outside(transcript: _Transcript) -> list[Span]:
            if not transcript.coding or not transcript.exons:
                return []
            rest = without(merged(transcript.exons), merged(transcript.coding))
            return [(start, end) for start, end in rest.tolist()]

        found = self._each(outside)
        for contig, spans in self.utrs.items():
            found[contig] = found.get(contig, []) + spans
        return found

    def exons(self) -> dict[str, list[Span]]:
        """Contig -> exons, of which coding sequence and UTRs are parts."""
        found = self._each(lambda transcript: transcript.exons + transcript.coding)
        for contig, spans in self.utrs.items():
            found[contig] = found.get(contig, []) + spans
        return found

    def promoters(self, around: int) -> dict[str, list[Span]]:
        """Contig -> stretches around transcription start sites."""
        starts = [(t.contig, t.start, t.end, t.strand) for t in self.transcripts.values()]
        reached: dict[tuple[str, str], list[Span]] = defaultdict(list)
        for contig, start, end, strand in starts:
            reached[contig, strand].append((start, end))
        spans = {place: merged(some) for place, some in reached.items()}
        starts += [gene for gene in self.genes if not _overlaps(spans.get((gene[0], gene[3])), *gene[1:3])]
        found: dict[str, list[Span]] = defaultdict(list)
        for contig, start, end, strand in starts:
            if strand in ("+", "-"):
                length = self.contigs[contig]
                site = (start if strand == "+" else end - 1) % length  # an end beyond the origin of a circular contig
                found[contig].append((max(0, site - around), min(site + around + 1, length)))
        return found

    def _each(self, of: Callable[[_Transcript], list[Span]]) -> dict[str, list[Span]]:
        found: dict[str, list[Span]] = defaultdict(list)
        for transcript in self.transcripts.values():
            found[transcript.contig] += of(transcript)
        return found


def _overlaps(spans: npt.NDArray[np.int64] | None, start: int, end: int) -> bool:
    if spans is None or not len(spans):
        return False
    before = int(np.searchsorted(spans[:, 0], end)) - 1
    return before >= 0 and bool(spans[before, 1] > start)
