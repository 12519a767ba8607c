"""The whole run behind ``genoconv windows``: a genome and its genes in, a BED or TSV of windows out."""

import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from genoconv.atomic import atomic_file, refuse_existing, refuse_inputs
from genoconv.errors import UsageError
from genoconv.formats import writing_stdout
from genoconv.genome.annotation.genes import genes_on
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.intervals import SPLITS
from genoconv.genome.windows.training import WindowPlan, Windows, make_windows
from genoconv.pipelines.outcome import Outcome
from genoconv.pipelines.references import genome_files
from genoconv.pipelines.windows.options import WindowsOptions
from genoconv.progress import progress_bar
from genoconv.variants.bcf_file import quiet_htslib
from genoconv.wording import count

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
        biotypes: only genes of these biotypes; empty for all.
        aliases: further names of the genome's contigs -> contig.
    """

    fasta: Path
    annotation: Path | None
    biotypes: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)


def windows(options: WindowsOptions) -> Outcome:
    """Make windows and write them; ``docs/sequences.md`` describes them.

    Returns:
        The summary line, and windows and bases by set.

    Raises:
        UsageError: options that exclude each other.
        DownloadError: the genome could not be fetched.
        DataError: a damaged input, or nothing is left.
        OutputError: the output exists already, or cannot be written.
    """
    output = None if str(options.output) == "-" else options.output
    fmt = output_format(output, options.format)
    plan = options.plan(max_length=options.max_length, seed=options.seed)
    inputs = choose_inputs(options)
    if output is not None:
        refuse_existing(output, force=options.force)
        refuse_inputs([output], inputs={"--fasta": inputs.fasta, "--annotation": inputs.annotation})
    fasta = Fasta(inputs.fasta)
    genes = None
    if inputs.annotation is not None:
        genes = genes_on(fasta, inputs.annotation, aliases=inputs.aliases, biotypes=inputs.biotypes)
    with progress_bar("Making windows", unit="bases", quiet=options.quiet) as advance:
        made = make_windows(fasta, plan, genes=genes, advance=advance)
    absent = [split for split in SPLITS if split not in set(made.frame["split"])]
    if absent:
        way_out = "lower --flank, or try --tiles" if genes is not None else "lower --max-length"
        log.warning("no windows for %s: too few separate stretches of genome; %s", " or ".join(absent), way_out)
    _write(made.frame, output, fmt)
    line = summary(made, plan, genes=None if genes is None else len(genes), output=output)
    lengths = (made.frame["end"] - made.frame["start"]).groupby(made.frame["split"].astype(str)).sum()
    counts: dict[str, float | None] = {"windows": len(made.frame), "genes": None if genes is None else len(genes)}
    for split in SPLITS:
        counts[f"windows_{split}"] = int((made.frame["split"] == split).sum())
        counts[f"bases_{split}"] = int(lengths.get(split, 0))
    return Outcome(line=line, counts=counts)


def choose_inputs(options: WindowsOptions) -> WindowInputs:
    """Settle what the options mean together; fetches the genome if it is named and not here yet.

    Raises:
        UsageError: options that exclude each other, or no genes although tiles are not wanted.
        DownloadError: the genome could not be fetched.
    """
    tiles, annotation = options.tiles, options.annotation
    if tiles and (annotation or options.biotypes):
        raise UsageError("--tiles ignores genes; drop it, or drop --annotation and --biotype")
    if tiles and options.flank:
        raise UsageError("--flank applies only to genes; drop it for tiles")
    if not tiles and options.step is not None:
        raise UsageError("--step is the distance between tiles; add --tiles, or drop it for gene windows")
    genome = genome_files(
        options.fasta, options.genome, annotation=annotation, offline=options.offline, quiet=options.quiet
    )
    if tiles:
        return WindowInputs(genome.fasta, None)
    if genome.annotation is None:
        what = f"genome {options.genome} has no annotation" if options.genome else "no annotation given"
        raise UsageError(f"{what}: add --annotation GENES.gtf for gene windows, or --tiles to cover the whole genome")
    return WindowInputs(genome.fasta, genome.annotation, options.biotypes, genome.aliases)


def output_format(output: Path | None, wanted: Format | None) -> Format:
    """BED or TSV: as wanted, else by the file's suffix, else BED.

    Raises:
        UsageError: the suffix is neither, or contradicts what is wanted.
    """
    if output is None:
        return wanted or "bed"
    suffix = output.name.removesuffix(".gz").rpartition(".")[2]
    if suffix not in ("bed", "tsv"):
        raise UsageError(f"{output}: the name should end in .bed, .tsv, .bed.gz or .tsv.gz")
    if wanted and wanted != suffix:
        raise UsageError(f"{output}: the name says {suffix} but --format says {wanted}; drop one")
    return "tsv" if suffix == "tsv" else "bed"


def summary(windows: Windows, plan: WindowPlan, *, genes: int | None, output: Path | None) -> str:
    """What was made, and what was left out and why, in one line."""
    frame = windows.frame
    lengths = frame["end"] - frame["start"]
    sets = ", ".join(
        f"{split} {(frame['split'] == split).sum():,} ({lengths[frame['split'] == split].sum():,} bases)"
        for split in SPLITS
    )
    source = f" of {count(genes, 'gene')}" if genes is not None else ""
    head = f"{count(len(frame), 'window')}{source}: {sets}"
    return "; ".join([head, *windows.notes(plan)]) + (f"; written to {output}" if output else "")


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
        with writing_stdout():
            sys.stdout.writelines(lines(frame, fmt))
            sys.stdout.flush()
        return
    with atomic_file(output) as temporary:
        if output.suffix == ".gz":
            import pysam

            with quiet_htslib(), pysam.BGZFile(str(temporary), "wb") as packed:
                for line in lines(frame, fmt):
                    packed.write(line.encode())
        else:
            with temporary.open("w", encoding="utf-8", newline="\n") as stream:
                stream.writelines(lines(frame, fmt))
