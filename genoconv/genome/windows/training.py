"""From a FASTA, and perhaps its genes, to the windows that a model learns from."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from genoconv.errors import DataError, UsageError
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.intervals import LongGenes, gene_windows, tile_windows
from genoconv.genome.windows.splits import SplitPlan, split_windows, tile_regions
from genoconv.genome.windows.unknown import unknown_bases
from genoconv.wording import count, listed

if TYPE_CHECKING:
    import pandas as pd


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
            raise UsageError(
                f"min length {self.min_length} and max length {self.max_length}: expected 1 <= min <= max; change one"
            )
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
        genes: split -> genes that its windows come from; 0 for tiles.
        cut: split -> how many of these genes are cut into several windows.
        short_contigs: contigs without a tile, because they are shorter than the shortest window.
    """

    frame: "pd.DataFrame"
    counts: Counter[str]
    genes: Mapping[str, int] = field(default_factory=dict)
    cut: Mapping[str, int] = field(default_factory=dict)
    short_contigs: tuple[str, ...] = ()

    def notes(self, plan: WindowPlan) -> list[str]:
        """What was cut and what was left out, and why, a phrase each."""
        handled = "skipped" if plan.long_genes == "skip" else "split"
        notes = [
            f"{count(self.counts[key], what)} {text}"
            for key, what, text in (
                ("long", "gene", f"longer than {plan.max_length:,} {handled}"),
                ("origin", "gene", "cut at the origin of a circular contig"),
                ("short", "gene", f"shorter than {plan.min_length:,} left out"),
                ("unknown", "window", f"left out with more than {plan.max_unknown:.0%} unknown bases"),
            )
            if self.counts[key]
        ]
        if self.short_contigs:
            shown = listed(self.short_contigs, limit=3)
            contigs = count(len(self.short_contigs), "contig")
            notes.append(f"{contigs} shorter than {plan.min_length:,} left out ({shown})")
        return notes


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
    placed = set(frame["contig"])
    short = () if genes is not None else tuple(contig for contig in fasta.contigs if contig not in placed)
    lengths = (frame["end"] - frame["start"]).to_numpy()
    kept = unknown_bases(fasta, frame, advance=advance) <= plan.max_unknown * lengths
    counts["unknown"] = len(kept) - int(kept.sum())
    cut = frame["locus"].duplicated(keep=False) if genes is not None else frame["locus"] < 0
    frame, cut = frame[kept].reset_index(drop=True), cut[kept].reset_index(drop=True)
    if frame.empty:
        why = "; ".join(Windows(frame, counts, short_contigs=short).notes(plan)) or "it has no sequence"
        raise DataError(f"{fasta.path}: no windows: {why}; loosen these limits")
    table = split_windows(plan.split, frame, fasta.contigs, tiles=genes is None)
    number: dict[str, int] = {}
    parts: dict[str, int] = {}
    if genes is not None:
        number = {split: int(loci.nunique()) for split, loci in frame["locus"].groupby(table["split"])}
        parts = {split: int(loci.nunique()) for split, loci in frame["locus"][cut].groupby(table["split"][cut])}
    return Windows(table, counts, number, parts, short)
