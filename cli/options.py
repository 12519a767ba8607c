"""From a record of options to a Typer command: its parameters, and the call that a user makes of it."""

import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import annotated_types
import typer

from genoconv.cli import console, reporting
from genoconv.pipelines import pipes
from genoconv.pipelines.lengths import Bases
from genoconv.pipelines.options import Option, Options, Parameter, note_default_model, parameters, to_yaml
from genoconv.pipelines.outcome import Outcome, refuse_read_files
from genoconv.pipelines.resolve import Call

R = TypeVar("R", bound=Options)

_CONFIGURATION = "Configuration"
_File = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="RUN.yaml",
        rich_help_panel=_CONFIGURATION,
        help="Read options from a file; see --print-config. The command line takes precedence.",
    ),
]
_Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", rich_help_panel=_CONFIGURATION, help="Set any key of the file; may be repeated."
    ),
]
_Print = Annotated[
    bool,
    typer.Option(
        "--print-config",
        metavar="",
        rich_help_panel=_CONFIGURATION,
        help="Print all options as such a file, then stop.",
    ),
]
_REPORT = "Report"
_Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        allow_dash=True,
        rich_help_panel=_REPORT,
        help="Write a JSON summary of the run, even if it fails; - for standard output.",
    ),
]
_LogFile = Annotated[
    str | None,
    typer.Option(
        "--log-file",
        metavar="FILE",
        rich_help_panel=_REPORT,
        help="Append every log line to a file, with timestamps, including lines not shown on the terminal.",
    ),
]


def takes(
    record: type[R], *, configurable: bool = True
) -> Callable[[Callable[[R], Outcome | None]], Callable[..., Outcome | None]]:
    """Make a function of a record a function of that record's options, for ``app.command``.

    The options ``--json`` and ``--log-file`` are added; what the function returns is what they report.

    Args:
        record: describes the options.
        configurable: add ``--config``, ``--set`` and ``--print-config``.
    """

    def decorate(run: Callable[[R], Outcome | None]) -> Callable[..., Outcome | None]:
        @takes_call(record, configurable=configurable)
        @functools.wraps(run)
        def command(call: Call[R]) -> Outcome | None:
            options = call.resolve()
            if call.print_config:
                console.data(to_yaml(options))
                return Outcome(result={"config": options.model_dump(mode="json")})
            refuse_read_files(options, config=call.file)
            reporting.current.runs(options)
            note_default_model(options)
            with pipes.copied(options) as options:
                return run(options)

        return command

    return decorate


def takes_call(
    record: type[R], *, configurable: bool = True
) -> Callable[[Callable[[Call[R]], Outcome | None]], Callable[..., Outcome | None]]:
    """As :func:`takes`, for a function of the :class:`.Call` itself, which has to look at ``print_config``."""

    def decorate(run: Callable[[Call[R]], Outcome | None]) -> Callable[..., Outcome | None]:
        known = {parameter.key.replace(".", "__"): parameter for parameter in parameters(record)}

        @functools.wraps(run)
        def command(**values: Any) -> Outcome | None:
            given = {known[name].key: value for name, value in values.items() if name in known and _is_given(value)}
            console.quieten(bool(given.get("quiet")))
            pipes.refuse(record, given)
            return run(
                Call(
                    record,
                    file=values.get("config_file"),
                    given=given,
                    assignments=values.get("settings") or (),
                    print_config=values.get("print_config", False),
                )
            )

        own = [_parameter(name, parameter) for name, parameter in known.items()]
        shared = [*(_configuration() if configurable else ()), *_reports()]
        command.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        command.__annotations__ = {}
        command.record = record  # type: ignore[attr-defined]  # for the reference of the commands
        del command.__wrapped__
        return command

    return decorate


def _is_given(value: Any) -> bool:
    return value is not None and value != []


def _configuration() -> Iterator[inspect.Parameter]:
    for name, kind, default in (
        ("config_file", _File, None),
        ("settings", _Settings, None),
        ("print_config", _Print, False),
    ):
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _reports() -> Iterator[inspect.Parameter]:
    """Parsed here for the help and the parser; :mod:`.reporting` has read them before."""
    for name, kind in (("json_file", _Json), ("log_file", _LogFile)):
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _parameter(name: str, parameter: Parameter) -> inspect.Parameter:
    """A parameter as Typer reads it; None stands for an option that is not given, and the record has the defaults."""
    found, kind = parameter.option, _command_line_kind(parameter.kind)
    common: dict[str, Any] = {
        "help": help_of(parameter),
        "rich_help_panel": found.panel,
        "metavar": metavar_of(parameter) or ("" if parameter.kind is bool else None),  # Typer would print <bool>
        "envvar": found.envvar,
        "allow_dash": found.dash,
        "show_default": False,
    }
    info = (
        typer.Argument(**{**common, "metavar": found.label})
        if found.positional
        else typer.Option(*found.flags, **common)
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, info]
    )


def _command_line_kind(kind: Any) -> Any:
    """The type that Typer parses to; numbers are left to the record, whose messages name the value."""
    if kind in (bool, Path) or get_origin(kind) is Literal:
        return kind
    if get_origin(kind) is tuple and get_args(kind)[1:] == (...,):
        return list[_command_line_kind(get_args(kind)[0])]  # type: ignore[misc]
    return str


def metavar_of(parameter: Parameter) -> str | None:
    """What stands for the value in the help, with its limits."""
    name = parameter.option.label if parameter.option.positional else parameter.option.metavar
    if parameter.kind not in (int, float, Bases):
        return name
    signs = {annotated_types.Ge: ">=", annotated_types.Gt: ">", annotated_types.Le: "<=", annotated_types.Lt: "<"}
    limits = [
        f"{sign} {getattr(item, kind.__name__.lower())}"
        for item in parameter.field.metadata
        for kind, sign in signs.items()
        if isinstance(item, kind)
    ]
    return f"{name or 'NUMBER'}{' ' if limits else ''}{', '.join(limits)}"


def help_of(parameter: Parameter) -> str:
    """Help of an option, with its default."""
    return f"{parameter.option.help}{_default(parameter)}"


def _default(parameter: Parameter) -> str:
    """The end of a help text: what holds where the option is not given."""
    found: Option = parameter.option
    if found.default is not None:
        return f" Default: {found.default}."
    if parameter.field.is_required():
        return " Required."
    value = parameter.field.default
    return "" if value is None or value == () or isinstance(value, bool) else f" Default: {value}."
