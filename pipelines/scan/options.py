"""The options of ``genoconv scan``."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from genoconv.pipelines.lengths import Bases
from genoconv.pipelines.options import Options, argument, option, output_option
from genoconv.pipelines.shared_options import (
    SHIPPED_MODEL,
    TRAINED_WINDOW,
    BatchSize,
    Device,
    Devices,
    DryRun,
    Force,
    Genome,
    Model,
    Names,
    Offline,
    Precision,
    Quiet,
    Resume,
    Shard,
    one_genome,
)

WHERE, SCORE = "Where", "Score"


class ScanOptions(Options):
    """One call of ``genoconv scan``."""

    fasta: Annotated[Path | None, argument("FASTA", help="The genome (plain, bgzip or gzip).")] = None
    genome: Genome = None
    offline: Offline = False
    model: Model = SHIPPED_MODEL
    output: Annotated[
        Path,
        output_option(
            help="A file ending in .tsv.gz, .vcf.gz, .parquet, .bw (four tracks), .npy or .zarr (an array per contig)."
        ),
    ]
    regions: Annotated[
        Names,
        option(
            "--region",
            "-r",
            metavar="CHR:FROM-TO",
            panel=WHERE,
            default="the whole genome",
            help="Only this region, 1-based; may be repeated.",
        ),
    ] = ()
    bed: Annotated[Path | None, option("--bed", metavar="BED", panel=WHERE, help="Only these regions.")] = None
    genes: Annotated[
        Path | None, option("--genes", metavar="GTF", panel=WHERE, help="Only the bodies of these genes (GTF or GFF3).")
    ] = None
    window: Annotated[
        Bases | None,
        Field(ge=8),
        option(
            "--window",
            "-w",
            metavar="N",
            panel=SCORE,
            default=TRAINED_WINDOW,
            help="Bases that are read at once: 1024, 10k.",
        ),
    ] = None
    context: Annotated[
        Bases | None,
        Field(ge=1),
        option(
            "--context",
            "-c",
            metavar="N",
            panel=SCORE,
            default="half of the window",
            help="Bases that each position has before it, at least, on each strand.",
        ),
    ] = None
    plot: Annotated[
        Path | None,
        option(
            "--plot",
            written=True,
            metavar="FILE",
            recorded=False,
            help="Also a heat map of a region of up to 2,000 bases.",
        ),
    ] = None
    annotation: Annotated[
        Path | None,
        option(
            "--annotation",
            metavar="GTF",
            recorded=False,
            default="those of --genes or of --genome",
            help="Genes to draw below the heat map (GTF or GFF3).",
        ),
    ] = None
    shard: Shard = None
    batch_size: BatchSize = None
    device: Device = "auto"
    devices: Devices = None
    precision: Precision = "auto"
    resume: Resume = False
    dry_run: DryRun = False
    force: Force = False
    quiet: Quiet = False

    _one_genome = one_genome("FASTA")
