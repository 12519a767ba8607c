"""Which positions ``genoconv scan`` reads: spans of contigs, in the FASTA's order, none twice."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from genoconv.errors import DataError, UsageError
from genoconv.pipelines.scan.options import ScanOptions
from genoconv.regions import NamedContigs, parse_region
from genoconv.wording import count, listed, printable

log = logging.getLogger(__name__)


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
        DataError: a malformed BED file or annotation, or nothing to scan.
    """
    known = NamedContigs(contigs, aliases)
    spans = [_region(text, contigs=known) for text in options.regions]
    if options.bed is not None:
        spans += _bed(options.bed, fasta=fasta, contigs=contigs, aliases=aliases)
    if options.genes is not None:
        spans += _genes(options.genes, fasta=fasta, contigs=contigs, aliases=aliases)
    if not (options.regions or options.bed or options.genes):
        spans = [Span(name, 0, length) for name, length in contigs.items()]
    found = list(_merged(spans, contigs))
    if not found:
        where = fasta if options.genes is None else f"{options.genes}: no gene lies in {fasta}"
        raise DataError(f"{where}: nothing to scan")
    return found


def _region(text: str, *, contigs: NamedContigs) -> Span:
    contig, start, end = parse_region(text, contigs=contigs, source="the FASTA")
    length = contigs.names[contig]
    if (end or 0) > length or (start > 0 and start >= length):
        raise UsageError(f"--region {printable(text[:80])}: beyond the end of {contig}, which has {length:,} bases")
    return Span(contig, start, length if end is None else end)


def _bed(path: Path, *, fasta: Path, contigs: Mapping[str, int], aliases: Mapping[str, str]) -> Iterator[Span]:
    from genoconv.contigs import require_contigs
    from genoconv.genome.windows.intervals import bed_rows

    rows = list(bed_rows(path))
    used = {contig: None for _, (contig, *_) in rows}
    names = require_contigs(used, contigs, query_source=str(path), target_source=fasta, aliases=aliases, each=True)
    for line, (contig, start, end, *_) in rows:
        target = names.get(contig)
        if target is not None and end > contigs[target]:
            raise DataError(
                f"{path}: line {line}: {contig}:{start}-{end} is beyond {target}, which has {contigs[target]:,} bases"
            )
        if target is not None:
            yield Span(target, start, end)
    if absent := [contig for contig in used if contig not in names]:
        left_out = sum(contig not in names for _, (contig, *_) in rows)
        log.warning(
            "%s: skipped %s on contigs that are not in %s: %s", path, count(left_out, "interval"), fasta, listed(absent)
        )


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
