"""The options of ``genoconv predict``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from genoconv.pipelines.lengths import Bases
from genoconv.pipelines.options import ROWS, Options, argument, option, output_option
from genoconv.pipelines.shared_options import (
    CHUNK_BASES,
    BatchSize,
    Chunk,
    Device,
    Force,
    Precision,
    Quiet,
    Resume,
    Stride,
)


class PredictOptions(Options):
    """One call of ``genoconv predict``.

    ``chunk`` is how many bases are read between two saves; it does not matter to the predictions.
    """

    source: Annotated[
        Path,
        argument("INPUT", dash=True, help="FASTA (- for standard input), CSV, TSV, Parquet, or BED with --fasta."),
    ]
    model: Annotated[
        Path, option("--model", "-m", metavar="DIR", model=True, help="Model folder from genoconv finetune.")
    ]
    output: Annotated[
        Path,
        output_option(help="Output file: .tsv, .parquet or .bw (one track per output)."),
    ]
    fasta: Annotated[
        Path | None, option("--fasta", "-f", metavar="FASTA", panel=ROWS, help="Reference FASTA for a BED file.")
    ] = None
    window: Annotated[
        Bases | None,
        Field(ge=1),
        option("--window", "-w", metavar="N", panel=ROWS, help="Predict windows of N bases along each FASTA record."),
    ] = None
    stride: Stride = None
    strand: Annotated[
        Literal["forward", "both"] | None,
        option(
            "--strand",
            panel=ROWS,
            default="as the model was trained",
            help="Read as given, or average with the reverse complement.",
        ),
    ] = None
    batch_size: BatchSize = None
    device: Device = "auto"
    precision: Precision = "auto"
    resume: Resume = False
    force: Force = False
    quiet: Quiet = False
    chunk: Chunk = CHUNK_BASES
