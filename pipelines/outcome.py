"""What a command did, as the object that ``--json`` writes; ``docs/json.md`` describes it for users."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from genoconv import atomic
from genoconv.digests import file_digest
from genoconv.errors import GenoconvError, OutputError, UsageError
from genoconv.pipelines.options import Parameter, parameters, value_of

STANDARD_STREAM = "-"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run of a command did.

    Attributes:
        line: the closing sentence, for a person; empty where there is nothing to add.
        counts: what was counted or measured, name -> number.
        result: what the command prints on standard output, as plain values; None where its result is a file.
        outputs: what was written where that is not simply what an option names, by the key of the option.
        exit_code: of the process.
        options: what the command ran with, where it has settled that itself.
        first: False in the processes of a distributed run that leave the reporting to the first one.
    """

    line: str = ""
    counts: Mapping[str, float | None] = field(default_factory=dict)
    result: Any = None
    outputs: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    exit_code: int = 0
    options: BaseModel | None = None
    first: bool = True


def named_paths(options: BaseModel) -> Iterator[tuple[str, Path]]:
    """Every file or folder that a record's options name, after the option's label."""
    for parameter, path in _paths(options):
        yield parameter.option.label, path


def paths_of(options: BaseModel, *, written: bool) -> dict[str, list[Path]]:
    """The files and folders that a record's options name, by key: those it writes, or those it reads."""
    found: dict[str, list[Path]] = {}
    for parameter, path in _paths(options):
        if parameter.option.written == written:
            found.setdefault(parameter.key, []).append(path)
    return found


def _paths(options: BaseModel) -> Iterator[tuple[Parameter, Path]]:
    for parameter in parameters(type(options)):
        value = value_of(options, parameter.key)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Path):
                yield parameter, item


def refuse_read_files(options: BaseModel, *, config: Path | None) -> None:
    """Refuse a file that an option writes and another one, or ``--config``, reads.

    Commands themselves look at the files that no option names.

    Raises:
        UsageError: there is one.
    """
    named = [(parameter.option, path) for parameter, path in _paths(options)]
    outputs = [path for option, path in named if option.written and path.is_file()]
    for label, path in [("--config", config), *((option.label, path) for option, path in named if not option.written)]:
        atomic.refuse_inputs(outputs, inputs={label: path})


def described_inputs(options: BaseModel) -> dict[str, list[dict[str, Any]]]:
    """What a run read, by the key of the option that named it; a genome by name is described from its receipt."""
    read = paths_of(options, written=False)
    found = {key: [described(_place(key, path)) for path in paths] for key, paths in read.items()}
    name = getattr(options, "genome", None)
    if isinstance(name, str):
        found["genome"] = _stored(name)
    return found


def described(path: Path) -> dict[str, Any]:
    """A file or folder in plain values: path, bytes, SHA-256. What is not known is None, as of standard input."""
    facts: dict[str, Any] = {"path": str(path), "bytes": None, "sha256": None}
    try:
        if path.is_file():
            facts |= {"bytes": path.stat().st_size, "sha256": file_digest(path)}
        elif (path / "config.json").is_file():
            from genoconv.models.checkpoint import model_digest

            facts["sha256"] = model_digest(path)
    except (OSError, GenoconvError):  # it has gone since it was read, or never was what it should be
        pass
    return facts


def _place(key: str, path: Path) -> Path:
    """The folder of a model that was given by name; any other path as it is."""
    if key != "model":
        return path
    from genoconv.models.registry import model_folder

    try:
        return model_folder(path)
    except GenoconvError:
        return path


def _stored(name: str) -> list[dict[str, Any]]:
    from genoconv.genome.assemblies import store

    try:
        genome = store.receipt(name)
    except GenoconvError:
        genome = None
    if genome is None:
        return [{"name": name, "path": None, "bytes": None, "sha256": None}]
    folder = genome.fasta.parent
    return [
        {"name": name, "path": str(folder / file.path), "bytes": file.bytes, "sha256": file.sha256}
        for file in genome.files
    ]


def check_place(target: Path, *, option: str) -> None:
    """Refuse a target of :func:`write_json` that could only fail after the run; missing folders are created then.

    Raises:
        UsageError: it cannot be written; ``option`` named it.
    """
    folder = next(path for path in target.absolute().parents if path.exists())
    if not folder.is_dir():
        raise UsageError(f"{option} {target}: {folder} is not a folder")
    if atomic.is_device(target):
        raise UsageError(
            f"{option} {target}: a device or a pipe, which cannot be replaced by a file; - is standard output"
        )
    try:
        atomic.refuse_unwritable(target)
    except OutputError as error:
        raise UsageError(f"{option} {error}") from None


def write_json(target: Path, document: Mapping[str, Any]) -> None:
    """Write the object to a file, which is replaced if it is there.

    Raises:
        OutputError: it cannot be written.
    """
    atomic.write_text(target, to_json(document))


def to_json(document: Mapping[str, Any]) -> str:
    """The object as text. Paths become text; numbers that are not finite become null, as JSON has none."""
    return json.dumps(_plain(document), indent=2, ensure_ascii=True) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value if isinstance(value, int | str | bool | None) else str(value)
