"""The options of ``genoconv embed``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from genoconv.pipelines.lengths import Bases
from genoconv.pipelines.options import COMPUTE, ROWS, Options, argument, option, output_option
from genoconv.pipelines.shared_options import (
    SHIPPED_MODEL,
    BatchSize,
    Chunk,
    Device,
    Devices,
    DryRun,
    Force,
    Genome,
    Model,
    Offline,
    Precision,
    Quiet,
    Resume,
    Stride,
    one_genome,
)

VECTORS, PARITY = "Vectors", "Parity with published pipelines"


class EmbedOptions(Options):
    """One call of ``genoconv embed``.

    ``fasta`` may be ``Path("-")``. ``chunk`` is how many bases are read between two saves (None: as many as suit
    the device); it does not matter to the vectors beyond rounding.
    """

    fasta: Annotated[
        Path | None,
        argument("FASTA", dash=True, help="DNA (plain, bgzip or gzip); - for standard input."),
    ] = None
    model: Model = SHIPPED_MODEL
    output: Annotated[
        Path,
        output_option(help="Output file: .npz, .npy (with a .tsv and a .json beside it), .parquet or .h5ad."),
    ]
    genome: Genome = None
    offline: Offline = False
    bed: Annotated[
        Path | None,
        option("--bed", metavar="BED", panel=ROWS, help="Embed each interval of this BED file, on its strand."),
    ] = None
    window: Annotated[
        Bases | None,
        Field(ge=1),
        option("--window", "-w", metavar="N", panel=ROWS, help="Embed each record in windows of N bases: 512, 10k."),
    ] = None
    stride: Stride = None
    pool: Annotated[
        Literal["mean", "max", "last", "none"],
        option("--pool", panel=VECTORS, help="How to pool the states of all bases; none writes one vector per base."),
    ] = "mean"
    layer: Annotated[
        int | None,
        option(
            "--layer",
            metavar="L",
            panel=VECTORS,
            default="the states after the last layer norm",
            help="Use the output of block L: 0 is the first block, -1 the last.",
        ),
    ] = None
    strand: Annotated[
        Literal["forward", "both"],
        option("--strand", panel=VECTORS, help="Read as given, or average with the reverse complement."),
    ] = "forward"
    special_tokens: Annotated[
        Literal["none", "sep", "cls-sep"],
        option(
            "--hyenadna-special-tokens",
            metavar="WHICH",
            panel=PARITY,
            help="Add HyenaDNA's special tokens: sep (at the end), cls-sep (at both ends) or none.",
        ),
    ] = "none"
    left_padding: Annotated[
        int | None,
        option(
            "--hyenadna-left-padding",
            metavar="N",
            panel=PARITY,
            default="no padding",
            help="Also pad on the left, up to N tokens.",
        ),
    ] = None
    max_length: Annotated[
        Bases | None,
        option(
            "--max-length",
            "-l",
            metavar="N",
            panel=COMPUTE,
            default="the model's maximum",
            help="Longest sequence to read in one piece; longer ones are read in parts.",
        ),
    ] = None
    dtype: Annotated[
        Literal["float32", "float16"], option("--dtype", panel=VECTORS, help="Data type of the vectors in the output.")
    ] = "float32"
    batch_size: BatchSize = None
    device: Device = "auto"
    devices: Devices = None
    precision: Precision = "auto"
    resume: Resume = False
    dry_run: DryRun = False
    force: Force = False
    quiet: Quiet = False
    chunk: Chunk | None = None

    _one_genome = one_genome("FASTA")
