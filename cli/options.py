"""Options that several commands share: one name, one meaning, one help text everywhere."""

from pathlib import Path
from typing import Annotated, Literal

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
# None where an option that is not given must not overrule a configuration.
Precision = Annotated[
    Literal["auto", "32", "bf16"] | None,
    typer.Option(
        "--precision",
        help="Arithmetic of the model. auto, the default: bf16 on GPUs that have it, 32 (float32) elsewhere.",
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
