"""Genes of an annotation: GTF (GENCODE, Ensembl, RefSeq, UCSC) or GFF3 (Ensembl, NCBI, SGD, bacterial)."""

import dataclasses
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from genoconv.contigs import require_contigs
from genoconv.errors import DataError
from genoconv.formats import open_binary
from genoconv.genome.annotation.gff import Row, RowReader, is_rna, kind_of
from genoconv.genome.annotation.loci import CodingLoci, Gene, TranscriptLoci, gene_id_of, outside
from genoconv.wording import count, listed, printable

if TYPE_CHECKING:
    import pandas as pd

    from genoconv.genome.fasta.access import Fasta

log = logging.getLogger(__name__)

COLUMNS = ("contig", "start", "end", "strand", "gene_id", "name", "biotype")
_NO_ALIASES: Mapping[str, str] = {}


def read_genes(
    path: str | Path,
    *,
    contigs: Mapping[str, int] | None = None,
    aliases: Mapping[str, str] = _NO_ALIASES,
    fasta: object = "the FASTA",
) -> "pd.DataFrame":
    """Gene bodies of a GTF or GFF3 file; plain, gzip or bgzip.

    Rows of ``gene``, ``pseudogene`` and ``..._gene`` features are taken. What has no such row is put together from its
    parts and comes after them: a GTF's transcripts or exons by ``gene_id`` (overlapping ones: copies at other loci are
    genes of their own), a GFF3's top-level RNAs, CDS or transcripts by their ``ID``, where they lie in no gene's row.
    In a GFF3 without any gene row, parts whose ``Parent`` has no row either are put together by it.

    Args:
        path: annotation file.
        contigs: name -> length of the FASTA's contigs. With it the genes get the FASTA's names, and genes that lie on
            none of them or reach past a contig's end are left out with a warning. A gene that spans the origin of a
            contig marked ``Is_circular=true`` stays, with an end larger than the contig's length.
        aliases: further names of contigs, as for :func:`.contigs.match_contigs`.
        fasta: what to call the FASTA in messages.

    Returns:
        One row per gene, in file order; columns contig, start, end (0-based half-open), strand (``+``, ``-``, ``.``),
        gene_id, name, biotype (``""`` where unknown).

    Raises:
        DataError: a damaged row (named by line), no gene at all, no contig in common with the FASTA.
        OSError: the file cannot be read.
    """
    import pandas as pd

    source = str(path)
    circular: dict[str, int] = {}
    with open_binary(Path(path), table=True) as stream:
        reader = RowReader(stream, source=source)
        genes = _collect(reader, circular)
    if not genes:
        seen = ", ".join(printable(name)[:40] for name, _ in reader.features.most_common(6))
        found = f"its features are {seen}" if seen else "it has no rows"
        raise DataError(f"{source}: no genes: no rows of gene, transcript or CDS features; {found}")
    if contigs is not None:
        lengths = {gene.contig: reader.lengths.get(gene.contig) for gene in genes}
        names = require_contigs(lengths, contigs, query_source=source, target_source=fasta, aliases=aliases)
        genes = _placed(genes, names=names, contigs=contigs, circular=circular, source=source, fasta=fasta)
    return pd.DataFrame([gene.astuple() for gene in genes], columns=list(COLUMNS)).astype(
        {"start": "int64", "end": "int64"}
    )


def genes_on(
    fasta: "Fasta", annotation: Path, *, aliases: Mapping[str, str] = _NO_ALIASES, biotypes: Collection[str] = ()
) -> "pd.DataFrame":
    """:func:`read_genes` that lie whole on the contigs of a FASTA, of some biotypes alone where any are named.

    Raises:
        DataError: none is left, or as :func:`read_genes`.
    """
    genes = read_genes(annotation, contigs=fasta.contigs, aliases=aliases, fasta=fasta.path)
    if genes.empty:
        raise DataError(f"{annotation}: none of its genes lies completely on a contig of {fasta.path}")
    if not biotypes:
        return genes
    kept = genes[genes["biotype"].isin(list(biotypes))]
    if kept.empty:
        have = listed((name or "(none)" for name in genes["biotype"].value_counts().index), limit=8)
        raise DataError(f"{annotation}: no gene has biotype {' or '.join(biotypes)}; its genes have {have}")
    return kept


def _collect(rows: RowReader, circular: dict[str, int]) -> list[Gene]:
    """Genes of the gene rows, and of the parts of those that have none."""
    genes: list[Gene] = []
    named: set[str] = set()
    transcripts, coding = TranscriptLoci(), CodingLoci(circular)
    for row in rows:
        kind = kind_of(row.feature)
        if kind == "gene":
            genes.append(_gene(row))
            named.add(genes[-1].gene_id)
            rows.skip = _mark(genes[-1].gene_id) if row.gtf else b"Parent="
        elif kind == "whole":
            if row.attributes().get("Is_circular") == "true":
                circular[row.contig] = row.end
        elif not row.gtf:
            coding.add(row)
        elif is_rna(row.feature):
            continue  # its exons have its gene_id, too
        elif not genes:
            if not row.is_bare:  # the exons or the CDS of such a transcript have its gene_id
                transcripts.add(row)
        elif gene_id := gene_id_of(row.text):
            if gene_id in named:
                rows.skip = _mark(gene_id)
            else:
                transcripts.add(row)
    if not genes:
        return transcripts.genes() or coding.genes(orphans=True)
    genes = _closed(genes, circular)
    more = [gene for gene in transcripts.genes() if gene.gene_id not in named]
    more += outside(coding.genes(), genes, named)
    if more:
        some = listed(gene.gene_id for gene in more)
        log.info(
            "%s: %s without a gene feature, assembled from their parts: %s", rows.source, count(len(more), "gene"), some
        )
    return genes + more


def _mark(gene_id: str) -> bytes:
    """What the parts of a gene of a GTF hold."""
    return f'gene_id "{gene_id}"'.encode()


def _gene(row: Row) -> Gene:
    get = row.attributes().get
    identifier = get("gene_id") or get("locus_tag") or get("ID", "").removeprefix("gene:").removeprefix("gene-")
    name = get("Name") or get("gene_name") or get("gene") or get("gene_symbol") or identifier
    biotype = get("gene_biotype") or get("gene_type") or get("biotype") or get("locus_type")
    if not biotype:
        biotype = row.feature if row.feature != "gene" else "pseudogene" if get("pseudo") == "true" else ""
    unnamed = f"{row.contig}:{row.start + 1}-{row.end}"
    return Gene(row.contig, row.start, row.end, row.strand, identifier or name or unnamed, name or unnamed, biotype)


def _closed(genes: list[Gene], circular: Mapping[str, int]) -> list[Gene]:
    """Genes whose two rows of one name touch both ends of a circular contig become one that spans its origin."""
    heads = {(g.contig, g.strand, g.gene_id): g for g in genes if g.contig in circular and g.start == 0}
    whole: list[Gene] = []
    tails = set()
    for gene in genes:
        head = heads.get((gene.contig, gene.strand, gene.gene_id))
        if head and head is not gene and gene.end == circular[gene.contig]:
            whole.append(dataclasses.replace(gene, end=gene.end + head.end))
            tails.add(id(head))
        else:
            whole.append(gene)
    return [gene for gene in whole if id(gene) not in tails]


def _placed(
    genes: list[Gene],
    *,
    names: Mapping[str, str],
    contigs: Mapping[str, int],
    circular: Mapping[str, int],
    source: str,
    fasta: object,
) -> list[Gene]:
    """Genes under the FASTA's contig names, without those that it does not hold whole."""
    placed: list[Gene] = []
    absent: dict[str, int] = {}
    past: dict[str, int] = {}
    for gene in genes:
        contig = names.get(gene.contig)
        if contig is None:
            absent[gene.contig] = absent.get(gene.contig, 0) + 1
            continue
        length = contigs[contig]
        spans_origin = gene.contig in circular and gene.start < length and gene.end - gene.start <= length
        if gene.end > length and not spans_origin:
            past[gene.contig] = past.get(gene.contig, 0) + 1
            continue
        placed.append(dataclasses.replace(gene, contig=contig))
    if absent:
        log.warning("%s: skipped %s on contigs that are not in %s: %s", source, _genes(absent), fasta, listed(absent))
    if past:
        shown = {f"{name} ({contigs[names[name]]:,} bases)": number for name, number in past.items()}
        log.warning("%s: skipped %s past the end of contigs of %s: %s", source, _genes(past), fasta, listed(shown))
    return placed


def _genes(counts: Mapping[str, int]) -> str:
    return count(sum(counts.values()), "gene")
