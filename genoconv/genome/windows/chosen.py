"""Windows that somebody chose: the file that ``genoconv windows`` writes, with its split, checked against a FASTA."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from genoconv.contigs import match_contigs
from genoconv.errors import DataError
from genoconv.formats import open_binary
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.intervals import SPLITS, WINDOW_COLUMNS, bed_rows, parse_interval, window_frame
from genoconv.genome.windows.training import Windows
from genoconv.lines import check_rows, numbered_lines, shortened, utf8

if TYPE_CHECKING:
    import pandas as pd

_Row = tuple[str, int, int, str, str, str]


def read_windows(path: Path, fasta: Fasta, *, max_length: int, aliases: Mapping[str, str]) -> Windows:
    """The windows of a BED or TSV file with a split, under the FASTA's contig names, in the order of its contigs.

    Args:
        path: BED with the split in column 7, or TSV with the header of ``genoconv windows``; 0-based half-open.
        fasta: what they lie on.
        max_length: bases that the model reads at once.
        aliases: further names of the contigs.

    Raises:
        DataError: a row that cannot be read, lies outside of the FASTA, is longer than ``max_length`` or has no split;
            or windows of two splits that share bases. The line is named.
    """
    numbered = list(_rows(path))
    names = match_contigs(dict.fromkeys(row[0] for _, row in numbered), fasta.contigs, aliases=aliases, each=True)
    rows: list[_Row] = []
    for line, (contig, start, end, strand, name, split) in numbered:
        where = f"{path}: line {line}: "
        if contig not in names:
            raise DataError(f"{where}no contig {shortened(contig)} in {fasta.path}; it has {_some(fasta)}")
        length = fasta.contigs[names[contig]]
        if end > length:
            raise DataError(f"{where}the window ends at {end:,}, but {shortened(contig)} has only {length:,} bases")
        if end - start > max_length:
            raise DataError(
                f"{where}a window of {end - start:,} bases, but the model reads at most {max_length:,}: choose a longer"
                f" --max-length, or make the file with genoconv windows --max-length {max_length}"
            )
        if not split:
            raise DataError(f"{where}no split; column 7 of BED, or split of TSV, should be train, valid or test")
        rows.append((names[contig], start, end, strand, name, split))
    order = {contig: number for number, contig in enumerate(fasta.contigs)}
    rows.sort(key=lambda row: (order[row[0]], row[1], row[2]))
    frame = window_frame(rows)
    _check_apart(frame, path)
    return Windows(frame, Counter())


def _some(fasta: Fasta) -> str:
    return ", ".join(shortened(name) for name in list(fasta.contigs)[:5])


def _rows(path: Path) -> Iterator[tuple[int, _Row]]:
    """Number of the line, and the row in the order of :data:`.intervals.WINDOW_COLUMNS`."""
    if path.name.removesuffix(".gz").endswith(".tsv"):
        return _tsv_rows(path)
    return bed_rows(path)


def _tsv_rows(path: Path) -> Iterator[tuple[int, _Row]]:
    source, found = str(path), False
    with open_binary(path, table=True) as stream:
        for line, raw in numbered_lines(stream, source=source, kind="TSV"):
            text = utf8(raw, source=source, line=line)
            columns = text.split("\t") if "\t" in text else text.split() or [""]
            if line == 1:
                if tuple(columns) != WINDOW_COLUMNS:
                    raise DataError(f"{source}: line 1: expected the header {' '.join(WINDOW_COLUMNS)}")
                continue
            if columns == [""]:
                continue
            if len(columns) != len(WINDOW_COLUMNS):
                raise DataError(f"{source}: line {line}: {len(columns)} columns, expected {len(WINDOW_COLUMNS)}")
            contig, first, last, strand, name, split = columns
            start, end = parse_interval(first, last, where=f"{source}: line {line}")
            found = True
            check_rows(line, source=source)
            yield line, (contig, start, end, strand, name, split if split in SPLITS else "")
    if not found:
        raise DataError(f"{source}: no windows in this file")


def _check_apart(frame: "pd.DataFrame", path: Path) -> None:
    """Refuse windows of two splits that share bases: what is measured would have been learned."""
    contig_before = ""
    reached: dict[str, tuple[int, str]] = {}
    for contig, start, end, _, name, split in frame.itertuples(index=False):
        if contig != contig_before:
            contig_before, reached = contig, {}
        for other, (last, whose) in reached.items():
            if other != split and start < last:
                raise DataError(
                    f"{path}: {split} window {shortened(name)} ({contig}:{start + 1}-{end}) shares bases with {other}"
                    f" window {shortened(whose)}; windows of two splits must lie apart"
                )
        if end > reached.get(split, (0, ""))[0]:
            reached[split] = end, name
