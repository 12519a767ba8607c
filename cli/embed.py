"""``genoconv embed``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from genoconv.cli import console
from genoconv.cli.options import Device, Force, Model, Precision, Quiet

ROWS, VECTORS, PARITY, COMPUTE = "Rows", "Vectors", "Parity with published pipelines", "Compute"


def embed(
    fasta: Annotated[
        Path,
        typer.Argument(
            metavar="FASTA", allow_dash=True, help="DNA (plain, bgzip or gzip); - for standard input, read once."
        ),
    ],
    model: Model,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="A file ending in .npz, .npy (with a .tsv and a .json beside it), .parquet or .h5ad.",
        ),
    ],
    bed: Annotated[
        Path | None,
        typer.Option("--bed", metavar="BED", rich_help_panel=ROWS, help="A row an interval, on its strand."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            "--window", "-w", metavar="N", min=1, rich_help_panel=ROWS, help="A row for every N bases of each record."
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            "--stride",
            metavar="M",
            min=1,
            rich_help_panel=ROWS,
            help="Distance between the starts of windows. Default: N.",
        ),
    ] = None,
    pool: Annotated[
        Literal["mean", "max", "last", "none"],
        typer.Option(
            "--pool", rich_help_panel=VECTORS, help="How states become a vector; none keeps a row for every base."
        ),
    ] = "mean",
    layer: Annotated[
        int | None,
        typer.Option(
            "--layer",
            metavar="L",
            rich_help_panel=VECTORS,
            help="Output of block L, from 0, or from -1 backwards. Default: the last normalised states.",
        ),
    ] = None,
    strand: Annotated[
        Literal["forward", "both"],
        typer.Option(
            "--strand", rich_help_panel=VECTORS, help="Read as given, or also in reverse complement and average."
        ),
    ] = "forward",
    dtype: Annotated[
        Literal["float32", "float16"],
        typer.Option("--dtype", rich_help_panel=VECTORS, help="Numbers in the output."),
    ] = "float32",
    special_tokens: Annotated[
        Literal["none", "sep", "cls-sep"],
        typer.Option(
            "--hyenadna-special-tokens",
            metavar="WHICH",
            rich_help_panel=PARITY,
            help="What HyenaDNA's tokenizers add: sep (at the end), cls-sep (both ends) or none.",
        ),
    ] = "none",
    left_padding: Annotated[
        int | None,
        typer.Option(
            "--hyenadna-left-padding",
            metavar="N",
            rich_help_panel=PARITY,
            help="Also pad on the left, to N tokens. Default: not at all.",
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            "-l",
            metavar="N",
            rich_help_panel=COMPUTE,
            help="Bases read at once; longer sequences are read in parts. Default: what the model reads.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", "-b", min=1, rich_help_panel=COMPUTE, help="Sequences at once. Default: by memory."
        ),
    ] = None,
    device: Device = "auto",
    precision: Precision = None,
    resume: Annotated[
        bool, typer.Option("--resume", rich_help_panel=COMPUTE, help="Go on with an interrupted run of the same call.")
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Turn DNA into vectors: the states of a model, pooled over each record.

    Rows come in the input's order, each once, with name, start, end (0-based,
    half-open) and strand. What is longer than the model takes is read in parts. The
    output says which model and which genome it is of.

    **Examples**

        genoconv embed promoters.fa.gz -m model -o promoters.npz

        genoconv embed hg38.fa -m model --bed peaks.bed -o peaks.h5ad

        genoconv embed chr22.fa -m model --window 1024 --stride 512 -o chr22.npy

        zcat reads.fa.gz | genoconv embed - -m model --strand both -o r.parquet
    """
    console.quieten(quiet)
    from genoconv.pipelines.embed.run import EmbedRun
    from genoconv.pipelines.embed.run import embed as run

    summary = run(
        EmbedRun(
            fasta=fasta,
            model=model,
            output=output,
            bed=bed,
            window=window,
            stride=stride,
            pool=pool,
            layer=layer,
            strand=strand,
            special_tokens=special_tokens,
            left_padding=left_padding,
            max_length=max_length,
            dtype=dtype,
            batch_size=batch_size,
            device=device,
            precision=precision or "auto",
            resume=resume,
            force=force,
            quiet=quiet,
        )
    )
    console.summary(str(summary))
