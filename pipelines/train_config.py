"""The configuration of a training run: from a YAML file, options and ``--set``, to one checked record."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genoconv.errors import UsageError
from genoconv.paths import shipped
from genoconv.train.settings import DataSettings, OptimSettings, RunSettings

DEMO_GENOME = "demo"
_DEFAULT_MINUTES = 10


class WindowSettings(BaseModel):
    """Which sequence is learnt from.

    Attributes:
        flank: bases added to both sides of a gene.
        long_genes: what happens to genes longer than ``max_length``: cut into equal parts, or left out.
        split_by: training, validation and test sets by whole chromosomes or by blocks; ``auto`` looks at the genome.
        valid, test: contigs named for those sets.
        valid_fraction, test_fraction: their shares where no contigs are named.
        max_unknown: largest share of N or other unknown bases in a window.
        min_length: shorter windows are left out.
        step: distance between the starts of tiles; None lays them side by side.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    flank: Annotated[int, Field(ge=0)] = 0
    long_genes: Literal["split", "skip"] = "split"
    split_by: Literal["auto", "chromosome", "block"] = "auto"
    valid: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    max_unknown: Annotated[float, Field(ge=0, le=1)] = 0.5
    min_length: Annotated[int, Field(ge=2)] = 64
    step: Annotated[int, Field(ge=1)] | None = None


class TrainConfig(BaseModel):
    """Everything that decides a run. Lengths are bases.

    Attributes:
        genome: a genome by name (``genoconv genomes list``); with neither it nor ``fasta``, the embedded demo.
        fasta: a FASTA instead.
        annotation: GTF or GFF3 of ``fasta``: learn from whole genes; a genome's own is used if ``genes`` is true.
        genes: learn from the genes of ``genome``'s annotation instead of tiles.
        preset: sizes of the model, by name.
        init: model folder to go on from, instead of fresh weights.
        max_length: longest window, and the length that the model is made for; None is the preset's.
        model: single sizes that differ from the preset's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    genome: str | None = None
    fasta: Path | None = None
    annotation: Path | None = None
    genes: bool = False
    preset: str = "tiny-1k"
    init: Path | None = None
    max_length: Annotated[int, Field(ge=16)] | None = None
    model: dict[str, Any] = {}
    windows: WindowSettings = WindowSettings()
    data: DataSettings = DataSettings()
    optim: OptimSettings = OptimSettings()
    run: RunSettings = RunSettings()

    def to_yaml(self) -> str:
        """As a file that ``genoconv train`` takes."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def recipe(name: str) -> dict[str, Any]:
    """A configuration that ships with genoconv, as plain values."""
    return _read(shipped("pipelines") / "recipes" / f"{name}.yaml")


def configure(file: Path | None, *, options: Mapping[str, Any], assignments: Iterable[str]) -> TrainConfig:
    """The configuration of a new run: on top of the demo's recipe where nothing names a genome.

    A run on anything else ends after ten minutes unless it says otherwise.

    Args:
        file, options, assignments: as of :func:`resolve`.
    """
    assignments = list(assignments)
    config = resolve(file, options=options, assignments=assignments)
    if config.genome in (None, DEMO_GENOME) and config.fasta is None:
        return resolve(file, options=options, assignments=assignments, base=recipe(DEMO_GENOME))
    if config.run.max_steps is None and config.run.max_minutes is None:
        options = {**options, "run.max_minutes": _DEFAULT_MINUTES}
        return resolve(file, options=options, assignments=assignments)
    return config


def default_folder(config: TrainConfig) -> Path:
    """``runs/NAME`` in the working directory, NAME of the genome or the FASTA."""
    name = config.genome or (config.fasta.name.split(".")[0] if config.fasta else DEMO_GENOME)
    return Path("runs") / name


def resolve(
    file: Path | None,
    *,
    options: Mapping[str, Any],
    assignments: Iterable[str] = (),
    base: Mapping[str, Any] | None = None,
) -> TrainConfig:
    """Merge, weakest first: ``base``, a YAML file, command-line options, ``--set`` assignments; then check.

    Args:
        file: YAML with any of the keys of :class:`TrainConfig`.
        options: dotted key -> value; those that are None are not given.
        assignments: ``dotted.key=value``, the value read as YAML.
        base: plain values to begin with.

    Raises:
        UsageError: an unknown key (the nearest known one is named) or a value of the wrong kind.
    """
    values: dict[str, Any] = {}
    _merge(values, base or {})
    if file is not None:
        _merge(values, _read(file))
    for key, value in options.items():
        if value is not None:
            _assign(values, key, value)
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: write it as key=value, for example --set optim.lr=0.001")
        try:
            _assign(values, key.strip(), yaml.safe_load(value))
        except yaml.YAMLError:
            raise UsageError(f"--set {text}: {value!r} is not a YAML value") from None
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
        raise UsageError(f"{file or 'configuration'}: {'; '.join(problems)}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected keys and values, found {type(values).__name__}; see --print-config")
    return values


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
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


def _explain(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return f"{where}: {problem['msg'].lower()}, got {problem['input']!r}"
    near = difflib.get_close_matches(where, list(_keys(TrainConfig)), n=1, cutoff=0.3)
    return f"unknown key {where}{f'; did you mean {near[0]}?' if near else ''}"


def _keys(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")
