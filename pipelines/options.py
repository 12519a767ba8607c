"""One typed record of options for every command: defaults, checks and help stand there once.

A record is a frozen pydantic model, a field per option. What the command line needs to know of a field stands in its
annotation, and the rest follows from the record: the Typer command, a YAML file (``--config``), ``--set KEY=VALUE``,
``--print-config``, the command in the provenance, the reference in the docs, the test that every option arrives.

How a command is made, with ``embed`` as the example::

    # pipelines/embed/options.py: what can be said
    class EmbedOptions(Options):
        \"\"\"One call of ``genoconv embed``.\"\"\"

        fasta: Annotated[Path, argument("FASTA", help="DNA.")]
        model: Model                                    # shared by commands, from here
        bed: Annotated[Path | None, option("--bed", metavar="BED", help="One row per interval.")] = None
        window: Annotated[int | None, Field(ge=1), option("--window", "-w", help="...")] = None

    # pipelines/embed/run.py: what is done
    def embed(options: EmbedOptions) -> Summary: ...

    # cli/embed.py: parse, call, print
    @takes(EmbedOptions)
    def embed(options: EmbedOptions) -> None:
        \"\"\"Turn DNA into vectors.\"\"\"
        from genoconv.pipelines.embed import run
        console.summary(str(run.embed(options)))

* A field without a default has to be given, on the command line or in the file.
* A field whose type is neither a plain value, a ``Literal`` nor a tuple of them is text on the command line; a pydantic
  ``BeforeValidator`` parses it, and raises ``ValueError`` with the words for the user.
* Fields of nested records are options too where they carry an :class:`Option`; without one they are set by the file
  and ``--set`` alone. Keys are dotted: ``windows.flank``.
* ``recorded=False`` keeps an option out of :func:`recorded_command`: what the numbers do not depend on.
* A pipeline that needs the call itself (what was given, and what is a default) takes :class:`.resolve.Call`.
* A record's module imports neither torch, numpy nor pandas: help is instant.
"""

import logging
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

log = logging.getLogger(__name__)

COMPUTE, ROWS, RUN = "Compute", "Rows", "Run"


@dataclass(frozen=True, kw_only=True)
class Option:
    """How a field of a record is an option of a command; see :func:`option`.

    Attributes:
        flags: spellings, the long one first; ``--index/--no-index`` for a pair; without hyphens an argument.
        help: for the user, a sentence or two without the default, which is added.
        metavar: what stands for the value in the help; None goes by the type.
        panel: title under which the help lists it.
        envvar: environment variable that stands in for it.
        dash: whether ``-`` is a value, for standard input or output.
        default: how the default reads in the help where it depends on other things.
        recorded: whether the output's numbers depend on it.
        written: whether it names files that the command writes; other paths are read.
        model: whether it is a model: a folder, or a name from ``genoconv models list``.
    """

    flags: tuple[str, ...]
    help: str
    metavar: str | None = None
    panel: str | None = None
    envvar: str | None = None
    dash: bool = False
    default: str | None = None
    recorded: bool = True
    written: bool = False
    model: bool = False

    @property
    def label(self) -> str:
        """What messages and recorded commands call it."""
        return self.flags[0].split("/")[0]

    @property
    def positional(self) -> bool:
        """Whether it is an argument, given by its place."""
        return not self.flags[0].startswith("-")


def option(*flags: str, **attributes: Any) -> Option:
    """An :class:`Option` with these flags: ``option("--window", "-w", metavar="N", help="...")``."""
    return Option(flags=flags, **attributes)


def argument(name: str, **attributes: Any) -> Option:
    """An :class:`Option` that is given by its place: ``argument("FASTA", help="...")``."""
    return Option(flags=(name,), **attributes)


class Options(BaseModel):
    """Base of the records: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    def writes_stdout(self) -> bool:
        """Whether the output itself goes to standard output."""
        return False


class NoOptions(Options):
    """A command without options of its own."""


@dataclass(frozen=True)
class Parameter:
    """A field of a record that is an option: its dotted key, its field, how it is spelled."""

    key: str
    field: FieldInfo
    option: Option

    @property
    def kind(self) -> Any:
        """The type of its value, None and annotations taken away; ``tuple[X, ...]`` stays."""
        return bare(self.field.annotation)


def bare(annotation: Any) -> Any:
    """A type without ``Annotated`` and ``| None``; a union of several types stays one."""
    if get_origin(annotation) is Annotated:
        return bare(get_args(annotation)[0])
    arguments = [kind for kind in get_args(annotation) if kind is not type(None)]
    if type(None) in get_args(annotation) and len(arguments) == 1:
        return bare(arguments[0])
    return annotation


@cache
def parameters(record: type[BaseModel]) -> tuple[Parameter, ...]:
    """The options of a record in their order, those of nested records included."""
    return tuple(_parameters(record, ""))


def _parameters(record: type[BaseModel], prefix: str) -> Iterator[Parameter]:
    for name, field in record.model_fields.items():
        kind = bare(field.annotation)
        option = next((item for item in field.metadata if isinstance(item, Option)), None)
        if option is not None:
            yield Parameter(prefix + name, field, option)
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _parameters(kind, f"{prefix}{name}.")


def value_of(options: BaseModel, key: str) -> Any:
    """The value of a dotted key."""
    value: Any = options
    for part in key.split("."):
        value = getattr(value, part)
    return value


def note_default_model(options: BaseModel) -> None:
    """Log that the model which ships with genoconv is used, where the user has named none."""
    if "model" in type(options).model_fields and "model" not in options.model_fields_set:
        name = value_of(options, "model")
        log.info("model: %s, which ships with genoconv; -m takes another", name)


def recorded_command(name: str, options: BaseModel) -> str:
    """A command line that gives the same numbers again, quoted for a shell.

    Where the output goes, on which device, in how many pieces: none of that belongs in the file, which must not depend
    on it.
    """
    words = ["genoconv", *name.split()]
    for parameter in parameters(type(options)):
        if parameter.option.recorded:
            words += _words(parameter, value_of(options, parameter.key))
    return shlex.join(words)


def _words(parameter: Parameter, value: Any) -> list[str]:
    label = parameter.option.label
    if value is None or value == ():
        return []
    if isinstance(value, bool):
        pair = parameter.option.flags[0].split("/")
        return [label] if value else pair[1:]
    if parameter.option.positional:
        return [str(value)]
    if isinstance(value, tuple) and get_origin(parameter.kind) is tuple:
        return [word for item in value for word in (label, str(item))]
    return [label, str(value)]


def to_yaml(options: BaseModel) -> str:
    """A record as a file that ``--config`` takes, each option under its help."""
    values = options.model_dump(mode="json")
    helps = {parameter.key: parameter.option.help for parameter in parameters(type(options))}
    blocks = []
    for key, value in values.items():
        comment = f"# {helps[key]}\n" if key in helps else ""
        blocks.append(comment + yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True))
    return "".join(blocks)


def whole_numbers(text: str, separator: str) -> tuple[int, ...] | None:
    """``1024,8192`` as numbers; None where a part is not a whole number of at most nine digits."""
    parts = text.split(separator)
    plain = all(part.isascii() and part.isdigit() and len(part) <= 9 for part in parts)
    return tuple(map(int, parts)) if plain else None


def require_one_genome(fasta: Path | None, genome: str | None, *, name: str) -> None:
    """Refuse both or neither of a FASTA, which the command calls ``name``, and a genome by name."""
    if (fasta is None) == (genome is None):
        raise ValueError(f"give one of {name} and --genome NAME")


def several(value: Any) -> Any:
    """Validator of a tuple: one value in a file need not be a list."""
    return () if value is None else (value,) if isinstance(value, str | Path) else value


def _devices(text: str | None) -> str | None:
    if text is None or text == "all":
        return text
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 4 and int(text)):
        raise ValueError(f"{text[:60]!r} is neither a number of devices from 1 up nor all")
    return str(int(text))


def _shard(value: Any) -> Any:
    """``2/4`` as (2, 4)."""
    if value is None:
        return None
    if isinstance(value, str):
        value = whole_numbers(value, "/") or value
    if not isinstance(value, list | tuple) or len(value) != 2 or not 1 <= value[0] <= value[1]:
        raise ValueError(f"{str(value)[:60]!r} is not which part of how many, from 1/4 to 4/4")
    return value


# Options that several commands share: one name, one letter, one meaning, one help text everywhere.

TRAINED_WINDOW = "the length of the model's training windows, up to 32768"
"""How the default of ``--window`` reads."""
CHUNK_BASES = 1 << 20
"""Bases that are read between two saves."""

Quiet = Annotated[bool, option("--quiet", "-q", recorded=False, help="Print warnings and errors only; no progress.")]
Force = Annotated[bool, option("--force", recorded=False, help="Replace an output that exists.")]
Resume = Annotated[
    bool, option("--resume", panel=RUN, recorded=False, help="Continue an interrupted run of the same call.")
]
ResumedRun = Annotated[
    Path | None,
    option("--resume", metavar="DIR", panel=RUN, help="Resume the interrupted run in this folder, exactly."),
]
Offline = Annotated[
    bool, option("--offline", panel="Input", recorded=False, help="Never use the network; a genome must be here.")
]
Genome = Annotated[
    str | None,
    option(
        "--genome",
        "-g",
        metavar="NAME",
        panel="Input",
        help="A genome by name instead of a FASTA; fetched if it is not here. See genoconv genomes list.",
    ),
]
Model = Annotated[
    Path,
    option("--model", "-m", metavar="MODEL", model=True, help="Model folder, or a name from genoconv models list."),
]
SHIPPED_MODEL = Path("mammal-1k")
"""The model that installs with genoconv, which is used where none is named."""
Stride = Annotated[
    int | None,
    Field(ge=1),
    option("--stride", metavar="M", panel=ROWS, default="N", help="Distance between the starts of windows."),
]
Names = Annotated[tuple[str, ...], BeforeValidator(several)]
Chunk = Annotated[int, Field(ge=1)]
Shard = Annotated[
    tuple[int, int] | None,
    BeforeValidator(_shard),
    option("--shard", metavar="I/N", panel=RUN, recorded=False, help="Only the I-th of N parts (1/4 ... 4/4)."),
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
        default="what fits the memory",
        help="Sequences computed at once.",
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
        help="Where to compute; auto takes a GPU if there is one.",
    ),
]
TrainingDevice = Annotated[
    str,
    Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$"),
    option(
        "--device",
        metavar="auto|cpu|cuda[:N]",
        panel=COMPUTE,
        envvar="GENOCONV_DEVICE",
        help="Where to compute; auto takes every GPU there is.",
    ),
]
Devices = Annotated[
    str | None,
    AfterValidator(_devices),
    option(
        "--devices",
        metavar="N|all",
        panel=COMPUTE,
        recorded=False,
        default="one",
        help="Share the work among that many GPUs, or processes on a CPU; the output is the same.",
    ),
]
DryRun = Annotated[
    bool,
    option(
        "--dry-run", panel=RUN, recorded=False, help="Only say how much there is to do and about how long it will take."
    ),
]
Precision = Annotated[
    Literal["auto", "32", "bf16"],
    option(
        "--precision",
        panel=COMPUTE,
        help="Arithmetic of the model; auto is bf16 on GPUs that have it, 32 (float32) elsewhere.",
    ),
]
