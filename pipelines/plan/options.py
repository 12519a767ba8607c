"""The options of ``genoconv plan``."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from genoconv.pipelines.lengths import Bases
from genoconv.pipelines.options import Options, option
from genoconv.pipelines.shared_options import as_text


class PlanOptions(Options):
    """One call of ``genoconv plan``."""

    length: Annotated[
        Bases,
        Field(ge=1, le=2**31),
        option("--length", "-n", metavar="N", help="Window length in bases: 32768, 450k, 2.4m."),
    ]
    preset: Annotated[str, option("--preset", "-p", metavar="NAME", help="Model size; see genoconv models list.")] = (
        "gene-4m"
    )
    filter_length: Annotated[
        Bases | None,
        Field(ge=2),
        option(
            "--filter-length", metavar="K", default="as long as the window", help="Number of taps of the long filters."
        ),
    ] = None
    train: Annotated[bool, option("--train", help="Predict a training step instead of a forward pass.")] = False
    batch_size: Annotated[int, Field(ge=1), option("--batch-size", "-b", metavar="B", help="Windows per batch.")] = 1
    precision: Annotated[
        Literal["bf16", "32"], BeforeValidator(as_text), option("--precision", help="Precision of the model.")
    ] = "bf16"
    gpu: Annotated[
        str | None,
        BeforeValidator(as_text),
        option("--gpu", metavar="NAME", default="this machine's GPU", help="h200, h100, a100, rtx4090 and others."),
    ] = None
