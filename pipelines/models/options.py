"""The options of ``genoconv models``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from genoconv.pipelines.lengths import Bases
from genoconv.pipelines.options import Options, argument, option
from genoconv.pipelines.shared_options import (
    TRAINED_WINDOW,
    BatchSize,
    Device,
    DryRun,
    Force,
    Genome,
    Offline,
    Precision,
    Quiet,
    one_genome,
)

Model = Annotated[Path, argument("MODEL", help="Model folder, or a name from genoconv models list.")]


class ImportOptions(Options):
    """One call of ``genoconv models import``."""

    source: Annotated[
        str,
        argument("SRC", help="Folder (config.json and weights), name of a published model, or OWNER/NAME on the hub."),
    ]
    output: Annotated[
        Path | None,
        option(
            "--output",
            "-o",
            metavar="DIR",
            written=True,
            default="a folder named after SRC, under GENOCONV_HOME",
            help="Model folder to create.",
        ),
    ] = None
    revision: Annotated[
        str | None,
        option("--revision", metavar="COMMIT", help="Commit, branch or tag of a hub repository."),
    ] = None
    modulation_shift: Annotated[
        float | None,
        Field(allow_inf_nan=False),
        option(
            "--modulation-shift",
            metavar="X",
            default="0.05, as published",
            help="Floor of the filters' exponential decay.",
        ),
    ] = None
    force: Force = False
    quiet: Quiet = False


class ExportOptions(Options):
    """One call of ``genoconv models export``."""

    model: Model
    output: Annotated[Path, option("--output", "-o", metavar="OUT", written=True, help="Checkpoint folder to create.")]
    format: Annotated[
        Literal["hyenadna-hf", "hyenadna-original"],
        option("--format", help="Transformers layout, or the original layout (weights.ckpt)."),
    ] = "hyenadna-hf"
    force: Force = False
    quiet: Quiet = False


class CalibrateOptions(Options):
    """One call of ``genoconv models calibrate``."""

    model: Model
    fasta: Annotated[
        Path | None, option("--fasta", "-f", metavar="REF.fa", help="Genome to sample (plain, bgzip or gzip).")
    ] = None
    genome: Genome = None
    offline: Offline = False
    sample: Annotated[
        Bases,
        Field(ge=1_000, le=10**8),
        option("--sample", metavar="N", help="Number of positions to scan for SNVs: 200k, 5m."),
    ] = Bases(5_000_000)
    variants: Annotated[
        Bases,
        Field(ge=0, le=10**7),
        option(
            "--variants",
            metavar="N",
            help="Number of random SNVs, and of random indels, to score as score-variants does.",
        ),
    ] = Bases(20_000)
    window: Annotated[
        Bases | None,
        Field(ge=8),
        option(
            "--window",
            "-w",
            metavar="N",
            default=TRAINED_WINDOW,
            help="Window length in bases; the calibration applies to runs with the same length.",
        ),
    ] = None
    seed: Annotated[
        int, Field(ge=0, lt=2**32), option("--seed", metavar="N", help="Random seed for the positions and variants.")
    ] = 0
    batch_size: BatchSize = None
    device: Device = "auto"
    precision: Precision = "auto"
    dry_run: DryRun = False
    force: Force = False
    quiet: Quiet = False

    _one_genome = one_genome("--fasta FILE")


class RemoveOptions(Options):
    """One call of ``genoconv models remove``."""

    name: Annotated[str, argument("NAME", help="Imported model that genoconv models list shows as stored.")]
    quiet: Quiet = False


class ShowOptions(Options):
    """One call of ``genoconv models show``."""

    model: Model
