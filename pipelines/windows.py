"""The whole run behind ``genoconv windows``: a genome and its genes in, a BED or TSV of windows out."""

import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from genoconv.atomic import atomic_file, refuse_existing
from genoconv.errors import DataError, UsageError
from genoconv.genome.annotation.genes import read_genes
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.intervals import SPLITS
from genoconv.genome.windows.training import WindowPlan, Windows, make_windows
from genoconv.progress import progress_bar

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

Format = Literal["bed", "tsv"]


@dataclass(frozen=True, slots=True)
class WindowInputs:
    """Where the sequence and the genes come from.

    Attributes:
        fasta: sequence.
        annotation: genes; None for tiles.
        biotypes: take genes of these biotypes alone; empty for all.
        aliases: further names of the genome's contigs -> contig.
    """

    fasta: Path
    annotation: Path | None
    biotypes: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)


def choose_inputs(
    *,
    fasta: Path | None,
    annotation: Path | None,
    genome: str | None,
    tile: bool,
    biotypes: tuple[str, ...] = (),
    offline: bool = False,
) -> WindowInputs:
    """Settle what the options mean together; fetches the genome if it is named and not here yet.

    Raises:
        UsageError: options that exclude each other, or no genes and no word that tiles are wanted.
        DownloadError: the genome could not be fetched.
    """
    if (fasta is None) == (genome is None):
        raise UsageError("give one of --fasta FILE and --genome NAME")
    if tile and (annotation or biotypes):
        raise UsageError("--tile ignores genes; drop it, or drop --annotation and --biotype")
    aliases: Mapping[str, str] = {}
    if genome is not None:
        from genoconv.genome.assemblies.fetch import resolve_genome

        found = resolve_genome(genome, offline=offline)
        fasta, annotation, aliases = found.fasta, annotation or found.annotation, found.aliases
    assert fasta is not None
    if tile:
        return WindowInputs(fasta, None)
    if annotation is None:
        what = f"genome {genome} has no annotation" if genome else "no annotation given"
        raise UsageError(f"{what}: add --annotation GENES.gtf for gene windows, or --tile to cover the whole genome")
    return WindowInputs(fasta, annotation, biotypes, aliases)


def output_format(output: Path | None, asked: Format | None) -> Format:
    """BED or TSV: as asked, else by the file's suffix, else BED.

    Raises:
        UsageError: the suffix says neither, or not what was asked.
    """
    if output is None:
        return asked or "bed"
    suffix = output.name.removesuffix(".gz").rpartition(".")[2]
    if suffix not in ("bed", "tsv"):
        raise UsageError(f"{output}: the name should end in .bed, .tsv, .bed.gz or .tsv.gz")
    if asked and asked != suffix:
        raise UsageError(f"{output}: the name says {suffix} but --format says {asked}; drop one")
    return "tsv" if suffix == "tsv" else "bed"


def run(
    inputs: WindowInputs,
    plan: WindowPlan,
    *,
    output: Path | None,
    fmt: Format,
    force: bool = False,
    quiet: bool = False,
) -> str:
    """Make windows and write them, to standard output if ``output`` is None.

    Returns:
        The summary line.

    Raises:
        DataError: a damaged input, or nothing is left.
        OutputError: the output exists already, or cannot be written.
    """
    if plan.step is not None and inputs.annotation:
        raise UsageError("--step is the distance between tiles; add --tile, or drop it for gene windows")
    if plan.flank and not inputs.annotation:
        raise UsageError("--flank widens genes; drop it for tiles")
    if output:
        refuse_existing(output, force=force)
    fasta = Fasta(inputs.fasta)
    genes = _genes(inputs, fasta)
    with progress_bar("Looking at windows", unit="bases", quiet=quiet) as advance:
        windows = make_windows(fasta, plan, genes=genes, advance=advance)
    absent = [split for split in SPLITS if split not in set(windows.frame["split"])]
    if absent:
        way_out = "lower --flank, or try --tile" if genes is not None else "lower --max-length"
        log.warning("no windows for %s: too few separate stretches of genome; %s", " or ".join(absent), way_out)
    _write(windows.frame, output, fmt)
    return summary(windows, plan, genes=None if genes is None else len(genes), output=output)


def summary(windows: Windows, plan: WindowPlan, *, genes: int | None, output: Path | None) -> str:
    """What was made, and what was left out and why, in one line."""
    frame, counts = windows.frame, windows.counts
    lengths = frame["end"] - frame["start"]
    sets = ", ".join(
        f"{split} {(frame['split'] == split).sum():,} ({lengths[frame['split'] == split].sum():,} bases)"
        for split in SPLITS
    )
    handled = "skipped" if plan.long_genes == "skip" else "split"
    notes = [
        f"{_count(counts[key], what)} {text}"
        for key, what, text in (
            ("long", "gene", f"longer than {plan.max_length:,} {handled}"),
            ("origin", "gene", "cut at the origin of a circular contig"),
            ("short", "gene", f"shorter than {plan.min_length:,} left out"),
            ("unknown", "window", f"left out with more than {plan.max_unknown:.0%} unknown bases"),
        )
        if counts[key]
    ]
    source = f" of {_count(genes, 'gene')}" if genes is not None else ""
    head = f"{_count(len(frame), 'window')}{source}: {sets}"
    return "; ".join([head, *notes]) + (f"; written to {output}" if output else "")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' if number != 1 else ''}"


def _genes(inputs: WindowInputs, fasta: Fasta) -> "pd.DataFrame | None":
    if inputs.annotation is None:
        return None
    genes = read_genes(inputs.annotation, contigs=fasta.contigs, aliases=inputs.aliases, fasta=inputs.fasta)
    if inputs.biotypes:
        kept = genes[genes["biotype"].isin(inputs.biotypes)]
        if kept.empty:
            have = ", ".join(name or "(none)" for name in genes["biotype"].value_counts().index[:8])
            raise DataError(
                f"{inputs.annotation}: no gene has biotype {' or '.join(inputs.biotypes)}; its genes have {have}"
            )
        genes = kept
    if genes.empty:
        raise DataError(f"{inputs.annotation}: none of its genes lies whole on a contig of {inputs.fasta}")
    return genes


def lines(frame: "pd.DataFrame", fmt: Format) -> Iterator[str]:
    """Rows of a table of windows as text: BED6 with the split as seventh column, or TSV with a header.

    Both are 0-based half-open, in the order of ``frame``.
    """
    if fmt == "tsv":
        yield "contig\tstart\tend\tstrand\tname\tsplit\n"
    for contig, start, end, strand, name, split in frame.itertuples(index=False):
        clean = " ".join(name.split()) or "."
        if fmt == "bed":
            yield f"{contig}\t{start}\t{end}\t{clean}\t0\t{strand}\t{split}\n"
        else:
            yield f"{contig}\t{start}\t{end}\t{strand}\t{clean}\t{split}\n"


def _write(frame: "pd.DataFrame", output: Path | None, fmt: Format) -> None:
    if output is None:
        sys.stdout.writelines(lines(frame, fmt))
        sys.stdout.flush()
        return
    with atomic_file(output) as temporary:
        if output.suffix == ".gz":
            import pysam

            with pysam.BGZFile(str(temporary), "wb") as packed:
                for line in lines(frame, fmt):
                    packed.write(line.encode())
        else:
            with temporary.open("w", encoding="utf-8", newline="\n") as stream:
                stream.writelines(lines(frame, fmt))
