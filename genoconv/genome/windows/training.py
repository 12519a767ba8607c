"""From a FASTA, and perhaps its genes, to the windows that a model learns from."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from genoconv import tokens as tokenizer
from genoconv.errors import DataError, UsageError
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.intervals import LongGenes, gene_windows, tile_windows
from genoconv.genome.windows.splits import SplitPlan, split_windows, tile_regions

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """What windows to make; lengths in bases.

    Attributes:
        max_length: longest window; for tiles the length of every window but the last of a region.
        flank: bases added on both sides of a gene.
        long_genes: ``split`` genes longer than ``max_length`` into equal parts, or ``skip`` them.
        step: distance between the starts of tiles; ``max_length`` if None.
        min_length: shortest window kept.
        max_unknown: largest fraction of a window that may be other than A, C, G and T.
        split: how windows are divided into train, valid and test.
    """

    max_length: int
    flank: int = 0
    long_genes: LongGenes = "split"
    step: int | None = None
    min_length: int = 16
    max_unknown: float = 0.5
    split: SplitPlan = field(default_factory=SplitPlan)

    def __post_init__(self) -> None:
        if not 1 <= self.min_length <= self.max_length:
            raise UsageError(f"min length {self.min_length} and max length {self.max_length}: need 1 <= min <= max")
        if self.flank < 0:
            raise UsageError(f"a flank of {self.flank} bases; it cannot be negative")
        if self.step is not None and not 1 <= self.step <= self.max_length:
            raise UsageError(f"step {self.step} should lie between 1 and max length, {self.max_length}")
        if not 0 <= self.max_unknown <= 1:
            raise UsageError(f"max unknown is {self.max_unknown}; it is a fraction, 0 to 1")


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows and what was counted while making them.

    Attributes:
        frame: columns contig, start, end (0-based half-open), strand, name, split.
        counts: genes ``long``, ``origin``, ``short`` (see :func:`.intervals.gene_windows`); windows ``unknown``, left
            out because too much of them is not A, C, G or T.
    """

    frame: "pd.DataFrame"
    counts: Counter[str]


def make_windows(
    fasta: Fasta,
    plan: WindowPlan,
    *,
    genes: "pd.DataFrame | None" = None,
    advance: Callable[[float], None] | None = None,
) -> Windows:
    """Windows over gene bodies, or tiles over the whole genome, divided into train, valid and test.

    No base is in windows of two sets. Memory does not grow with the genome: windows are read a megabase at a time.

    Args:
        fasta: the genome.
        plan: lengths, limits and division.
        genes: table of :func:`.annotation.read_genes` under the FASTA's contig names; None for tiles.
        advance: called with the number of bases just looked at.

    Raises:
        DataError: no window is left.
        UsageError: a contig named in the plan is not in the FASTA.
    """
    counts: Counter[str] = Counter()
    if genes is None:
        step = plan.step or plan.max_length
        regions = tile_regions(plan.split, fasta.contigs, length=plan.max_length, step=step)
        frame = tile_windows(regions, length=plan.max_length, step=step, min_length=plan.min_length)
    else:
        frame, counts = gene_windows(
            genes,
            fasta.contigs,
            max_length=plan.max_length,
            flank=plan.flank,
            long_genes=plan.long_genes,
            min_length=plan.min_length,
        )
    known = [
        unknown_bases(fasta, contig, start, end, advance=advance) <= plan.max_unknown * (end - start)
        for contig, start, end in zip(frame["contig"], frame["start"].tolist(), frame["end"].tolist(), strict=True)
    ]
    counts["unknown"] = len(known) - sum(known)
    frame = frame[np.array(known, dtype=bool)].reset_index(drop=True)
    if frame.empty:
        raise DataError(
            f"{fasta.path}: no windows: {counts['unknown']:,} have more than {plan.max_unknown:.0%} unknown bases,"
            f" {counts['short']:,} genes are shorter than {plan.min_length}, {counts['long']:,} longer than"
            f" {plan.max_length:,}; loosen these limits"
        )
    return Windows(split_windows(plan.split, frame, fasta.contigs, tiles=genes is None), counts)


def unknown_bases(
    fasta: Fasta, contig: str, start: int, end: int, *, advance: Callable[[float], None] | None = None
) -> int:
    """How many bases of ``[start, end)``, 0-based, are not A, C, G or T."""
    unknown = 0
    for first in range(start, end, _CHUNK):
        last = min(first + _CHUNK, end)
        tokens = fasta.tokens(contig, first, last)
        unknown += int(np.count_nonzero((tokens < tokenizer.A) | (tokens > tokenizer.T)))
        if advance:
            advance(last - first)
    return unknown
