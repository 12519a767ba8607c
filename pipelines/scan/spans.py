"""Which positions ``genoconv scan`` reads: spans of contigs, in the FASTA's order, none twice."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from genoconv.contigs import match_contigs
from genoconv.errors import DataError, UsageError
from genoconv.pipelines.scan.options import ScanOptions

_SPAN = re.compile(r"([0-9,]{1,15})(?:(-)([0-9,]{0,15}))?\Z")


class Span(NamedTuple):
    """Part of a contig, 0-based half-open."""

    contig: str
    start: int
    end: int


def find_spans(
    options: ScanOptions, *, fasta: Path, contigs: Mapping[str, int], aliases: Mapping[str, str]
) -> list[Span]:
    """The spans that the options name; whole contigs where they name none.

    Raises:
        UsageError: an invalid region, or one beyond its contig.
        DataError: a malformed BED file or annotation, or one that names nothing of the FASTA.
    """
    spans = [_region(text, contigs=contigs, aliases=aliases) for text in options.regions]
    if options.bed is not None:
        spans += _bed(options.bed, fasta=fasta, contigs=contigs, aliases=aliases)
    if options.genes is not None:
        spans += _genes(options.genes, fasta=fasta, contigs=contigs, aliases=aliases)
    if not (options.regions or options.bed or options.genes):
        spans = [Span(name, 0, length) for name, length in contigs.items()]
    return list(_merged(spans, contigs))


def _region(text: str, *, contigs: Mapping[str, int], aliases: Mapping[str, str]) -> Span:
    name, _, numbers = text.rpartition(":")
    match = _SPAN.match(numbers) if name and text not in contigs else None
    wanted = name if match else text
    contig = match_contigs({wanted: None}, contigs, aliases=aliases).get(wanted)
    if contig is None:
        some = ", ".join(list(contigs)[:5])
        raise UsageError(f"--region {text[:80]}: no such contig in the FASTA, which has {some}; write CONTIG:FROM-TO")
    if match is None:
        return Span(contig, 0, contigs[contig])
    first, last = (int((part or "").replace(",", "") or 0) for part in (match[1], match[3]))
    last = last if match[3] else contigs[contig] if match[2] else first
    if not 1 <= first <= last <= contigs[contig]:
        raise UsageError(
            f"--region {text[:80]}: {contig} has {contigs[contig]:,} bases; expected 1-based positions, "
            f"1 <= from <= to <= {contigs[contig]:,}"
        )
    return Span(contig, first - 1, last)


def _bed(path: Path, *, fasta: Path, contigs: Mapping[str, int], aliases: Mapping[str, str]) -> Iterator[Span]:
    from genoconv.contigs import require_contigs
    from genoconv.genome.windows.intervals import read_bed

    bed = read_bed(path)
    used = {str(name): None for name in bed["contig"].unique()}
    names = require_contigs(used, contigs, query_source=str(path), target_source=fasta, aliases=aliases)
    for contig, start, end in zip(bed["contig"], bed["start"], bed["end"], strict=True):
        target = names.get(str(contig))
        if target is None:
            continue
        if end > contigs[target]:
            raise DataError(f"{path}: {contig}:{start}-{end} is beyond {target}, which has {contigs[target]:,} bases")
        yield Span(target, int(start), int(end))


def _genes(path: Path, *, fasta: Path, contigs: Mapping[str, int], aliases: Mapping[str, str]) -> Iterator[Span]:
    from genoconv.genome.annotation.genes import read_genes

    genes = read_genes(path, contigs=contigs, aliases=aliases, fasta=fasta)
    for contig, start, end in zip(genes["contig"], genes["start"], genes["end"], strict=True):
        length = contigs[contig]
        yield Span(contig, int(start), min(int(end), length))
        if end > length:  # across the origin of a circular contig
            yield Span(contig, 0, int(end) - length)


def _merged(spans: Iterable[Span], contigs: Mapping[str, int]) -> Iterator[Span]:
    order = {contig: number for number, contig in enumerate(contigs)}
    held: Span | None = None
    for span in sorted(spans, key=lambda span: (order[span.contig], span.start)):
        if span.start >= span.end:
            continue
        if held is not None and held.contig == span.contig and span.start <= held.end:
            held = held._replace(end=max(held.end, span.end))
        else:
            if held is not None:
                yield held
            held = span
    if held is not None:
        yield held


def pieces(spans: Iterable[Span], *, size: int, step: int) -> Iterator[list[Span]]:
    """Cut spans into runs of about ``size`` positions, at the borders of tiles (see :func:`.scan.tiles`)."""
    run: list[Span] = []
    held = 0
    for span in spans:
        start = span.start
        while start < span.end:
            wanted = start + max(size - held, 1)
            border = -(-(wanted + step // 2) // step) * step - step // 2
            end = min(max(border, start + 1), span.end)
            run.append(Span(span.contig, start, end))
            held += end - start
            start = end
            if held >= size:
                yield run
                run, held = [], 0
    if run:
        yield run
