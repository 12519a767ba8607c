"""The options of ``genoconv models``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from genoconv.pipelines.options import Force, Options, Quiet, argument, option

Model = Annotated[Path, argument("MODEL", help="Model folder, or a name from genoconv models list.")]


class ImportOptions(Options):
    """One call of ``genoconv models import``."""

    source: Annotated[
        str, argument("SRC", help="A folder (config.json and weights), the name of a published model, or OWNER/NAME.")
    ]
    output: Annotated[
        Path | None,
        option(
            "--output",
            "-o",
            metavar="DIR",
            written=True,
            default="a folder under GENOCONV_HOME, with the name of SRC",
            help="The model folder to make.",
        ),
    ] = None
    revision: Annotated[
        str | None,
        option("--revision", metavar="COMMIT", help="Commit, branch or tag of a repository on the hub."),
    ] = None
    modulation_shift: Annotated[
        float | None,
        Field(allow_inf_nan=False),
        option(
            "--modulation-shift",
            metavar="X",
            default="as published, 0.05",
            help="Floor under the filters' decay.",
        ),
    ] = None
    force: Force = False
    quiet: Quiet = False


class ExportOptions(Options):
    """One call of ``genoconv models export``."""

    model: Model
    output: Annotated[
        Path, option("--output", "-o", metavar="OUT", written=True, help="The checkpoint folder to make.")
    ]
    format: Annotated[
        Literal["hyenadna-hf", "hyenadna-original"],
        option("--format", help="Transformers layout, or the original one (weights.ckpt)."),
    ] = "hyenadna-hf"
    force: Force = False
    quiet: Quiet = False


class ShowOptions(Options):
    """One call of ``genoconv models show``."""

    model: Model
