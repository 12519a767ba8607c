"""From a call (a YAML file, options, ``--set``) to a checked record of options."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from genoconv.errors import UsageError
from genoconv.pipelines.options import Option, bare, parameters
from genoconv.pipelines.yaml_files import load_yaml, read_yaml
from genoconv.wording import did_you_mean, printable

R = TypeVar("R", bound=BaseModel)

# YAML reads 1e-3 as text; whoever writes it means a number.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
# pydantic's kinds of problem, in our words.
_WORDING = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number with fewer digits",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be keys with values",
    "model_type": "must be keys with values",
    "path_type": "must be a path",
    "string_type": "must be text",
    "finite_number": "must be a finite number",
    "literal_error": "must be {expected}",
}


@dataclass(frozen=True)
class Call(Generic[R]):
    """What a user said, before defaults.

    Attributes:
        record: what is to come of it.
        file: YAML with any of the record's keys; relative paths in it start at its folder, or at the working folder
            where it is a pipe.
        given: dotted key -> value of the options that are on the command line.
        assignments: ``dotted.key=value``, the value read as YAML.
        print_config: print the record as YAML and do nothing.
    """

    record: type[R]
    file: Path | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    assignments: Sequence[str] = ()
    print_config: bool = False

    def resolve(self) -> R:
        """The record.

        Raises:
            UsageError: as :meth:`values` and :meth:`check`.
        """
        return self.check(self.values())

    def values(self, base: Mapping[str, Any] | None = None, *, absolute: bool = False) -> dict[str, Any]:
        """Plain nested values, merged, weakest first: ``base``, the file, options, ``--set``.

        Args:
            base: what suits the case; may be overruled by all that the user says.
            absolute: anchor paths of the command line, so that the values mean the same in another folder.

        Raises:
            UsageError: the file cannot be read, or an assignment is malformed.
        """
        values: dict[str, Any] = {}
        merge(values, base or {})
        if self.file is not None:
            folder = Path.cwd() if self.file.is_fifo() else self.file.absolute().parent
            merge(values, anchored(self.record, read_yaml(self.file), folder))
        given: dict[str, Any] = {}
        for key, value in self.given.items():
            if value is not None:
                _assign(given, key, value)
        for text in self.assignments:
            _assign(given, *_assignment(text))
        merge(values, anchored(self.record, given, Path.cwd()) if absolute else given)
        return values

    def check(self, values: Mapping[str, Any]) -> R:
        """The record with these values.

        Raises:
            UsageError: an unknown key (the nearest known one is named), a value of the wrong kind, or one that is
                missing; every problem is named.
        """
        try:
            return self.record.model_validate(_without_flags_for_numbers(self.record, _plain(values)))
        except ValidationError as error:
            problems = self._joined(error.errors())
        absent = [self._label(_key(problem["loc"])) for problem in problems if problem["type"] == "missing"]
        found = [self._explain(problem) for problem in problems if problem["type"] != "missing"]
        if absent:
            found.insert(0, f"missing {', '.join(absent)}; see --help")
        raise UsageError("; ".join(found))

    def _explain(self, problem: Any) -> str:
        key = _key(problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = list(keys(self.record))
            full = [name for name in known if name.endswith(f".{key}")]
            suggestion = did_you_mean(key, full, cutoff=0) or did_you_mean(key, known, cutoff=0.3)
            return f"{self._where(key)}unknown key {printable(key)[:80]}{suggestion}"
        message = problem["msg"].removeprefix("Value error, ")
        name = self._label(key) if self._is_given(key) else self._where(key) + key
        if problem["type"] == "value_error":  # in the record's own words
            return f"{name}: {message}" if key else name + message
        wording = problem.get("wording") or _wording(problem)
        return f"{name}: {wording}, got {'nothing' if problem['input'] is None else repr(str(problem['input'])[:80])}"

    def _joined(self, problems: Sequence[Any]) -> list[Any]:
        """Problems of which those with each kind that a value may be of are one: its key ends in the kind's name."""
        known = [*keys(self.record)]
        single = {key for key in known if not any(other.startswith(f"{key}.") for other in known)}
        found: dict[str, Any] = {}
        for problem in problems:
            parent = problem["loc"][:-1]
            above = _key(parent)
            if above not in single or isinstance(problem["loc"][-1], int):
                found[_key(problem["loc"])] = problem
                continue
            before = found[above]["wording"] + ", " if above in found else "must be "
            wording = before + _wording(problem).removeprefix("must be ")
            found[above] = {**problem, "loc": parent, "wording": wording}
        return list(found.values())

    def _is_given(self, key: str) -> bool:
        return any(self.given.get(name) is not None and (key + ".").startswith(name + ".") for name in self.given)

    def _where(self, key: str) -> str:
        """The file, unless the key was given otherwise."""
        names = (text.partition("=")[0].strip() for text in self.assignments)
        assigned = any(f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}.") for name in names)
        return "--set " if assigned else f"{self.file}: " if self.file and not self._is_given(key) else ""

    def _label(self, key: str) -> str:
        # A problem with an item of a tuple has its number behind the key.
        known = {p.key: p.option.label for p in parameters(self.record)}
        return next((label for name, label in known.items() if (key + ".").startswith(name + ".")), key)


def _wording(problem: Any) -> str:
    """What a value must be."""
    message = problem["msg"]
    wording: str = _WORDING.get(problem["type"], message[0].lower() + message[1:])
    return wording.format(**problem.get("ctx", {}))


def _key(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location))


def keys(record: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """All dotted keys of a record."""
    for name, found in record.model_fields.items():
        yield prefix + name
        kind = _record_of(bare(found.annotation))
        if kind is not None:
            yield from keys(kind, f"{prefix}{name}.")


def _record_of(kind: Any) -> type[BaseModel] | None:
    """The record that a field holds, one or a tuple of them."""
    item = bare(get_args(kind)[0]) if get_origin(kind) is tuple else kind
    return item if isinstance(item, type) and issubclass(item, BaseModel) else None


def anchored(record: type[BaseModel], values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """``values`` with the relative paths among them made absolute: they start at ``folder``.

    A model may be given by a name instead, where no file of that name is in ``folder``.

    Raises:
        ModelError: a published model that is not here yet; says how to get it.
    """
    result = dict(values)
    for name, found in record.model_fields.items():
        kind, value = bare(found.annotation), values.get(name)
        record_of = _record_of(kind)
        if record_of is not None and isinstance(value, Mapping):
            result[name] = anchored(record_of, value, folder)
        elif record_of is not None and isinstance(value, list | tuple):
            items = (_from_text(record_of, item) for item in value)
            result[name] = [anchored(record_of, item, folder) if isinstance(item, Mapping) else item for item in items]
        elif Path in (kind, *get_args(kind)):
            if isinstance(value, str | Path):
                result[name] = (_anchored_model if _is_model(found) else _anchored)(value, folder)
            elif isinstance(value, list | tuple) and get_origin(kind) is tuple:
                result[name] = [_anchored(v, folder) if isinstance(v, str | Path) else v for v in value]
    return result


def _without_flags_for_numbers(record: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with true and false as text where a number belongs; pydantic would take them for 1 and 0."""
    result = dict(values)
    for name, found in record.model_fields.items():
        kind, value = bare(found.annotation), values.get(name)
        kinds, record_of = {bare(one) for one in (kind, *get_args(kind))}, _record_of(kind)
        if isinstance(value, bool) and bool not in kinds:
            if any(isinstance(one, type) and issubclass(one, int | float) for one in kinds):
                result[name] = str(value).lower()
        elif record_of is not None and isinstance(value, Mapping):
            result[name] = _without_flags_for_numbers(record_of, value)
        elif record_of is not None and isinstance(value, list | tuple):
            result[name] = [
                _without_flags_for_numbers(record_of, item) if isinstance(item, Mapping) else item for item in value
            ]
    return result


def _from_text(record: type[BaseModel], value: Any) -> Any:
    """The values of an item that its record knows to read from text."""
    parse = getattr(record, "from_text", None)
    return parse(value) if parse is not None and isinstance(value, str) else value


def _anchored(path: str | Path, folder: Path) -> str:
    if str(path) == "-":
        return "-"
    try:
        return os.path.normpath(folder / Path(path).expanduser())
    except RuntimeError as error:
        raise UsageError(f"{path}: {error}") from None


def _is_model(field: FieldInfo) -> bool:
    return any(isinstance(item, Option) and item.model for item in field.metadata)


def _anchored_model(model: str | Path, folder: Path) -> str:
    from genoconv.models.registry import is_name, named_folder

    path = _anchored(model, folder)
    if not os.path.lexists(path) and is_name(str(model)):
        return str(named_folder(str(model)).absolute())
    return path


def merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Lay nested ``values`` over ``into``, key by key."""
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    *groups, last = key.split(".")
    for group in groups:
        inner = values.setdefault(group, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{key}: {group} is a value, not a group")
        values = inner
    values[last] = value


def _assignment(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {text}: write it as KEY=VALUE, for example --set max_length=1000")
    return key.strip(), load_yaml(value, name=f"--set {text}")


def _plain(value: Any) -> Any:
    """Values as pydantic should see them: numbers that YAML took for text as numbers."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value
