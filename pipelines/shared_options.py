"""Options that several commands share: one name, one letter, one meaning, one help text everywhere."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from genoconv.pipelines.lengths import DEFAULT_WINDOW, Bases
from genoconv.pipelines.options import COMPUTE, ROWS, RUN, option


def whole_numbers(text: str, separator: str) -> tuple[int, ...] | None:
    """``1024,8192`` as numbers; None where a part is not a whole number of at most nine digits."""
    parts = text.split(separator)
    plain = all(part.isascii() and part.isdigit() and len(part) <= 9 for part in parts)
    return tuple(map(int, parts)) if plain else None


def one_genome(name: str) -> Any:
    """Validator of a record with ``fasta``, which the command calls ``name``, and ``genome``: one of them is given."""

    def check(self: Any) -> Any:
        if (self.fasta is None) == (self.genome is None):
            raise ValueError(f"pass exactly one of {name} and --genome NAME")
        return self

    return model_validator(mode="after")(check)


def as_text(value: Any) -> Any:
    """Validator of text that may be a whole number, which YAML reads as one: a contig 20, a precision 32."""
    return str(value) if type(value) is int else value


def several(value: Any) -> Any:
    """Validator of a tuple of texts: one value in a file need not be a list."""
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(as_text(one) for one in value)
    return (as_text(value),) if isinstance(as_text(value), str | Path) else value


def _devices(text: str | None) -> str | None:
    if text is None or text == "all":
        return text
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 4 and int(text)):
        raise ValueError(f"{text[:60]!r} is not a number of devices (1 or more) or all")
    return str(int(text))


def _training_device(value: str) -> str:
    if re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", value) is None:
        raise ValueError(f"must be auto, cpu, cuda or cuda:N, got {value[:60]!r}")
    return value


def _shard(value: Any) -> Any:
    """``2/4`` as (2, 4)."""
    if value is None:
        return None
    parts = whole_numbers(value, "/") if isinstance(value, str) else value
    if (
        not isinstance(parts, list | tuple)
        or [type(part) for part in parts] != [int, int]
        or not 0 < parts[0] <= parts[1]
    ):
        raise ValueError(f"expected I/N, such as 1/4 for the first of four parts; got {str(value)[:60]!r}")
    return parts


TRAINED_WINDOW = f"the length of the model's training windows, up to {DEFAULT_WINDOW}"
"""How the default of ``--window`` reads."""
CHUNK_BASES = 1 << 20
"""Bases that are read between two saves."""

Quiet = Annotated[
    bool, option("--quiet", "-q", recorded=False, help="Print only warnings and errors; show no progress.")
]
Force = Annotated[bool, option("--force", recorded=False, help="Overwrite an existing output.")]
Resume = Annotated[
    bool, option("--resume", panel=RUN, recorded=False, help="Continue an interrupted run of the same command.")
]
ResumedRun = Annotated[
    Path | None,
    option(
        "--resume",
        metavar="DIR",
        panel=RUN,
        help="Resume the interrupted run in this folder, exactly where it stopped.",
    ),
]
Offline = Annotated[
    bool,
    option(
        "--offline", panel="Input", recorded=False, help="Never use the network; the genome must already be stored."
    ),
]
Genome = Annotated[
    str | None,
    option(
        "--genome",
        "-g",
        metavar="NAME",
        panel="Input",
        help="Named genome to use instead of a FASTA, downloaded on first use. See genoconv genomes list.",
    ),
]
Model = Annotated[
    Path,
    option("--model", "-m", metavar="MODEL", model=True, help="Model folder, or a name from genoconv models list."),
]
SHIPPED_MODEL = Path("mammal-1k")
"""The model that installs with genoconv, which is used where none is named."""
Stride = Annotated[
    Bases | None,
    Field(ge=1),
    option("--stride", metavar="M", panel=ROWS, default="N", help="Distance between window starts."),
]
Names = Annotated[tuple[str, ...], BeforeValidator(several)]
Chunk = Annotated[int, Field(ge=1)]
Shard = Annotated[
    tuple[int, int] | None,
    BeforeValidator(_shard),
    option("--shard", metavar="I/N", panel=RUN, recorded=False, help="Process only the I-th of N parts (1/4 ... 4/4)."),
]
BatchSize = Annotated[
    int | None,
    Field(ge=1),
    option(
        "--batch-size",
        "-b",
        metavar="N",
        panel=COMPUTE,
        recorded=False,
        default="as many as fit in memory",
        help="Sequences per batch.",
    ),
]
Device = Annotated[
    str,
    option(
        "--device",
        metavar="auto|cpu|cuda[:N]",
        panel=COMPUTE,
        envvar="GENOCONV_DEVICE",
        recorded=False,
        help="Device to run on; auto uses a GPU if there is one.",
    ),
]
TrainingDevice = Annotated[
    str,
    AfterValidator(_training_device),
    option(
        "--device",
        metavar="auto|cpu|cuda[:N]",
        panel=COMPUTE,
        envvar="GENOCONV_DEVICE",
        help="Device to run on; auto uses every GPU.",
    ),
]
Devices = Annotated[
    str | None,
    BeforeValidator(as_text),
    AfterValidator(_devices),
    option(
        "--devices",
        metavar="N|all",
        panel=COMPUTE,
        recorded=False,
        default="one",
        help="Number of GPUs (or of processes on a CPU) to share the work; the output is the same.",
    ),
]
DryRun = Annotated[
    bool,
    option(
        "--dry-run",
        panel=RUN,
        recorded=False,
        help="Estimate the size and duration of the run, then stop.",
    ),
]
Precision = Annotated[
    Literal["auto", "32", "bf16"],
    BeforeValidator(as_text),
    option(
        "--precision",
        panel=COMPUTE,
        help="Precision of the model: auto is bf16 on GPUs that support it, 32 (float32) elsewhere.",
    ),
]
