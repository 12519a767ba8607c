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

    fasta: Annotated[Path | None, argument("FASTA", help="Genome (plain, bgzip or gzip).")] = None
    genome: Genome = None
    offline: Offline = False
    model: Model = SHIPPED_MODEL
    output: Annotated[
        Path,
        output_option(
            help="Output: .tsv.gz, .vcf.gz, .parquet, .bw (four tracks), .npy or .zarr (one array per contig)."
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
            help="Scan only this region (1-based); may be repeated.",
        ),
    ] = ()
    bed: Annotated[
        Path | None, option("--bed", metavar="BED", panel=WHERE, help="Scan only the regions in this BED file.")
    ] = None
    genes: Annotated[
        Path | None,
        option("--genes", metavar="GTF", panel=WHERE, help="Scan only the bodies of these genes (GTF or GFF3)."),
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
            help="Window length in bases: 1024, 10k.",
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
            default="half the window",
            help="Minimum number of bases before each position, on each strand.",
        ),
    ] = None
    plot: Annotated[
        Path | None,
        option(
            "--plot",
            written=True,
            metavar="FILE",
            recorded=False,
            help="Also draw a heat map of a region of up to 2,000 bases.",
        ),
    ] = None
    annotation: Annotated[
        Path | None,
        option(
            "--annotation",
            metavar="GTF",
            recorded=False,
            default="the genes of --genes or --genome",
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
