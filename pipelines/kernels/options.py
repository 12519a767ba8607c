"""The options of ``genoconv kernels``."""

from typing import Annotated, Literal

from pydantic import Field

from genoconv.pipelines.lengths import Bases
from genoconv.pipelines.options import Options, option
from genoconv.pipelines.shared_options import Device, Quiet


class ExplainOptions(Options):
    """One call of ``genoconv kernels explain``."""

    length: Annotated[
        Bases, Field(ge=1), option("--length", "-n", metavar="N", help="Positions per row: 32768, 450k, 2.4m.")
    ]
    taps: Annotated[
        Bases | None,
        Field(ge=1),
        option("--taps", metavar="K", default="N", help="Number of filter taps, if fewer (a partial convolution)."),
    ] = None
    arch: Annotated[str, option("--arch", metavar="sm_XX", help="GPU architecture; the GPU need not be present.")] = (
        "sm_90"
    )
    dtype: Annotated[Literal["bf16", "fp16"], option("--dtype", help="Data type of the rows.")] = "bf16"


class WarmOptions(Options):
    """One call of ``genoconv kernels warm``."""

    arch: Annotated[
        tuple[str, ...],
        option(
            "--arch",
            metavar="sm_XX",
            default="the GPUs of this machine",
            help="GPU architecture, which need not be present; may be repeated.",
        ),
    ] = ()
    quiet: Quiet = False


class DoctorOptions(Options):
    """One call of ``genoconv kernels doctor``."""

    device: Device = "auto"
