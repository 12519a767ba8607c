"""Windows on a genome: whole gene bodies, tiles, or the rows of a BED file. All coordinates are 0-based half-open.

A table of windows is a DataFrame with the columns of :data:`WINDOW_COLUMNS`; ``split`` is ``""`` until
:mod:`.splits` fills it. A window on the ``-`` strand is to be read as its reverse complement.
"""

import itertools
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from genoconv.errors import DataError
from genoconv.formats import open_binary, whole_number
from genoconv.lines import JOINED, check_rows, is_joined, numbered_lines, shortened, utf8

if TYPE_CHECKING:
    import pandas as pd

WINDOW_COLUMNS = ("contig", "start", "end", "strand", "name", "split")
SPLITS = ("train", "valid", "test")
_STRANDED = 6
"""Columns of BED6, of which the last is the strand."""
LongGenes = Literal["split", "skip"]


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a contig."""

    contig: str
    start: int
    end: int


def window_frame(rows: Iterable[tuple[str, int, int, str, str, str]]) -> "pd.DataFrame":
    """A table of windows from tuples in the order of :data:`WINDOW_COLUMNS`."""
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(WINDOW_COLUMNS)).astype({"start": "int64", "end": "int64"})


def gene_windows(
    genes: "pd.DataFrame",
    contigs: Mapping[str, int],
    *,
    max_length: int,
    flank: int = 0,
    long_genes: LongGenes = "split",
    min_length: int = 1,
) -> tuple["pd.DataFrame", Counter[str]]:
    """One window for every gene body with its flanks, or several for a gene longer than ``max_length``.

    Args:
        genes: table of :func:`.annotation.read_genes`, under the FASTA's contig names.
        contigs: name -> length in bases.
        max_length: longest window, in bases.
        flank: bases added on both sides, as far as the contig reaches.
        long_genes: ``split`` into equal parts, named ``GENE:1/3`` and so on in the direction of the strand, or
            ``skip``.
        min_length: shortest window kept, in bases.

    Returns:
        Windows ordered by contig (as in ``contigs``), start and end, with a further column ``locus`` that is equal for
        parts of one gene; and counts of genes ``long`` (split or skipped), ``origin`` (spanning the origin of a
        circular contig: cut there) and ``short`` (left out).
    """
    counts: Counter[str] = Counter()
    rows: list[tuple[str, int, int, str, str, str, int]] = []
    columns = (genes[name].tolist() for name in ("contig", "start", "end", "strand", "name"))
    for locus, (contig, start, end, strand, name) in enumerate(zip(*columns, strict=True)):
        length = contigs[contig]
        first = max(0, start - flank)
        pieces = [(first, min(end + flank, length))]
        if end > length:
            counts["origin"] += 1
            pieces = [(first, length), *([(0, min(end - length + flank, first))] if first else [])]
        if max(last - first for first, last in pieces) > max_length:
            counts["long"] += 1
            if long_genes == "skip":
                continue
        parts = [part for first, last in pieces for part in equal_parts(first, last, max_length)]
        kept = [(first, last) for first, last in parts if last - first >= min_length]
        counts["short"] += not kept
        numbered = enumerate(kept if strand != "-" else reversed(kept), 1)
        rows.extend(
            (contig, first, last, strand, f"{name}:{number}/{len(kept)}" if len(kept) > 1 else name, "", locus)
            for number, (first, last) in numbered
        )
    order = {contig: number for number, contig in enumerate(contigs)}
    rows.sort(key=lambda row: (order[row[0]], row[1], row[2], row[6]))
    frame = window_frame(row[:6] for row in rows)
    frame["locus"] = [row[6] for row in rows]
    return frame, counts


def tile_windows(
    regions: Iterable[Region], *, length: int, step: int | None = None, min_length: int = 1
) -> "pd.DataFrame":
    """Windows of ``length`` bases every ``step`` bases (default: ``length``), which never leave their region.

    The last one of a region is shorter where the region ends first, and left out below ``min_length``. Names are
    ``contig:start-end`` with a 1-based start, as genome browsers write them; the strand is ``+``. A further column
    ``locus`` holds the start of the region.
    """
    import pandas as pd

    step = step or length
    contigs, starts, ends, loci = [], [], [], []
    for region in regions:  # arrays, not rows: a human genome has millions of short tiles
        first = np.arange(region.start, max(region.start + 1, region.end - (length - step)), step)
        last = np.minimum(first + length, region.end)
        kept = last - first >= min_length
        contigs.append(np.full(np.count_nonzero(kept), region.contig, object))
        starts.append(first[kept])
        ends.append(last[kept])
        loci.append(np.full(np.count_nonzero(kept), region.start))
    whole = [np.concatenate(column) if column else np.empty(0) for column in (contigs, starts, ends, loci)]
    contig, start, end, locus = whole
    names = [f"{c}:{s + 1}-{e}" for c, s, e in zip(contig, start.tolist(), end.tolist(), strict=True)]
    table = {"contig": contig, "start": start, "end": end, "strand": "+", "name": names, "split": "", "locus": locus}
    return pd.DataFrame(table).astype({"start": "int64", "end": "int64", "locus": "int64"})


def equal_parts(start: int, end: int, longest: int) -> Iterator[tuple[int, int]]:
    """Cut ``[start, end)`` into the fewest parts of at most ``longest`` bases, equal to within one base."""
    number = -(-(end - start) // longest)
    edges = [start + (end - start) * part // number for part in range(number + 1)]
    return itertools.pairwise(edges)


def read_bed(path: str | Path) -> "pd.DataFrame":
    """Intervals of a BED file with three columns or more; plain, gzip or bgzip.

    Returns:
        Columns of :data:`WINDOW_COLUMNS` in file order: the name is BED column 4 or ``""``, the strand column 6 or
        ``.``, and the split column 7 where that says train, valid or test (as ``genoconv windows`` writes it).

    Raises:
        DataError: a row that is not BED, named by its line, or no row at all.
        OSError: the file cannot be read.
    """
    import pandas as pd

    # Columns of shared strings and packed numbers, not rows: a genome has millions of repeats.
    shared: dict[str, str] = {}
    starts, ends = array("q"), array("q")
    texts: tuple[list[str], ...] = ([], [], [], [])
    for _, (contig, start, end, strand, name, split) in bed_rows(path):
        starts.append(start)
        ends.append(end)
        for column, value in zip(texts, (contig, strand, name, split), strict=True):
            column.append(shared.setdefault(value, value) if column is not texts[2] else value)
    contigs, strands, names, splits = texts
    table = (contigs, np.frombuffer(starts, np.int64), np.frombuffer(ends, np.int64), strands, names, splits)
    return pd.DataFrame(dict(zip(WINDOW_COLUMNS, table, strict=True)))


def bed_rows(path: str | Path) -> Iterator[tuple[int, tuple[str, int, int, str, str, str]]]:
    """Stream what :func:`read_bed` reads: 1-based number of the line, and the row in the order of its columns."""
    first: tuple[int, list[str]] | None = None
    source = str(path)
    with open_binary(Path(path), table=True) as stream:
        for number, raw in numbered_lines(stream, source=source, kind="BED"):
            if raw.strip() and not raw.startswith((b"#", b"track ", b"browser ")):
                check_rows(number, source=source)
                text = utf8(raw, source=source, line=number)
                columns = text.split("\t") if "\t" in text else text.split()
                first = first or (number, columns)
                if len(columns) != len(first[1]):
                    _refuse_joined((number, columns), first, source=source)
                yield number, _bed_row(columns, where=f"{source}: line {number}")
    if not first:
        raise DataError(f"{path}: no intervals in this BED file")


def _refuse_joined(*rows: tuple[int, list[str]], source: str) -> None:
    """Refuse the longer of two rows if a third one stands in it; all rows of a BED file have as many columns."""
    (_, shorter), (line, longer) = sorted(rows, key=lambda row: len(row[1]))
    if len(shorter) == _STRANDED and longer[_STRANDED - 1] in ("+", "-", "."):
        return  # BED12 among BED6: a contig would stand behind the strand
    if is_joined(longer, width=len(shorter), least=3, numbers=(1, 2)):
        raise DataError(f"{source}: line {line}: {JOINED}")


def _bed_row(columns: list[str], *, where: str) -> tuple[str, int, int, str, str, str]:
    if len(columns) < 3:
        raise DataError(f"{where}: {len(columns)} columns, but BED has at least 3")
    contig, first, last, *rest = columns
    start, end = parse_interval(first, last, where=where)
    strand = rest[2] if len(rest) > 2 and rest[2] in ("+", "-") else "."
    split = rest[3] if len(rest) > 3 and rest[3] in SPLITS else ""
    return contig, start, end, strand, rest[0] if rest else "", split


def parse_interval(first: str, last: str, *, where: str) -> tuple[int, int]:
    """Start and end, 0-based half-open, from text; ``where`` begins the message of the DataError about other text."""
    try:
        start, end = whole_number(first), whole_number(last)
    except ValueError:
        raise DataError(
            f"{where}: start {shortened(first)} and end {shortened(last)} should be whole numbers (BED is 0-based)"
        ) from None
    if not 0 <= start < end:
        raise DataError(f"{where}: interval {start}-{end} should have 0 <= start < end (BED is 0-based, half-open)")
    return start, end
