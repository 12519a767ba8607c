"""Options that several commands share: one name, one meaning, one help text everywhere."""

from pathlib import Path
from typing import Annotated

import typer

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say warnings and errors only; no progress bar.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an output that exists.")]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        envvar="GENOCONV_DEVICE",
        metavar="auto|cpu|cuda[:N]",
        help="Where to compute; auto takes a GPU if there is one.",
        rich_help_panel="Compute",
    ),
]
Model = Annotated[
    Path,
    typer.Option(
        "--model",
        "-m",
        metavar="DIR",
        help="Model folder, as written by genoconv train or genoconv models import.",
    ),
]
Reference = Annotated[
    Path,
    typer.Option("--fasta", "--reference", "-f", metavar="REF.fa", help="Reference FASTA (plain, bgzip or gzip)."),
]
