"""One typed record of options for every command: defaults, checks and help stand there once.

A record is a frozen pydantic model, a field per option. What the command line needs to know of a field stands in its
annotation, and the rest follows from the record: the Typer command, a YAML file (``--config``), ``--set KEY=VALUE``,
``--print-config``, the command in the provenance, the reference in the docs, the test that every option arrives.

How a command is made, with ``embed`` as the example::

    # pipelines/embed/options.py: what can be said
    class EmbedOptions(Options):
        \"\"\"One call of ``genoconv embed``.\"\"\"

        fasta: Annotated[Path, argument("FASTA", help="DNA.")]
        model: Model                                    # shared by commands, from shared_options.py
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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, PrivateAttr
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


def output_option(*, metavar: str = "OUT", **attributes: Any) -> Option:
    """The :class:`Option` ``--output``: a file whose name does not matter to what is in it."""
    return option("--output", "-o", metavar=metavar, recorded=False, written=True, **attributes)


def argument(name: str, **attributes: Any) -> Option:
    """An :class:`Option` that is given by its place: ``argument("FASTA", help="...")``."""
    return Option(flags=(name,), **attributes)


class Options(BaseModel):
    """Base of the records: unknown keys are refused, values never change.

    Attributes:
        keeps_paths: whether the files that it reads are read again after the command has ended.
    """

    keeps_paths: ClassVar[bool] = False
    _pipes: dict[Path, Path] = PrivateAttr(default_factory=dict)  # copy of a pipe -> what the user calls it

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)

    def with_copies(self, values: Mapping[str, Any], *, pipes: Mapping[Path, Path]) -> Self:
        """The same options with copies of pipes; what is recorded of them has the names of the pipes.

        Args:
            values: of the fields that change.
            pipes: copy -> pipe.
        """
        found = self.model_copy(update=values)
        found._pipes = dict(pipes)
        return found

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
        log.info("using the included model %s; choose another with -m", name)


def recorded_command(name: str, options: Options) -> str:
    """A command line that gives the same numbers again, quoted for a shell.

    Where the output goes, on which device, in how many pieces: none of that belongs in the file, which must not depend
    on it.
    """
    words = ["genoconv", *name.split()]
    for parameter in parameters(type(options)):
        if parameter.option.recorded:
            value = value_of(options, parameter.key)
            words += _words(parameter, options._pipes.get(value, value) if isinstance(value, Path) else value)
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
