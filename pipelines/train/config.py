"""The configuration of a training run: from a YAML file, options and ``--set``, to one checked record."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from genoconv.errors import ModelError, UsageError
from genoconv.models.config import ModelConfig, preset
from genoconv.paths import shipped
from genoconv.pipelines.train.folder import check_default_folder
from genoconv.pipelines.yaml_values import parse_yaml, plain, read_yaml
from genoconv.train.settings import DataSettings, OptimSettings, RunSettings
from genoconv.wording import did_you_mean

DEMO_GENOME = "demo"
_DEFAULT_MINUTES = 10
_DEFAULT_PRESET = "tiny-1k"
_TINY = "tiny"
_PATHS = ("fasta", "annotation", "init")
# YAML reads 1e-3 as text; whoever writes it means a number.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")

Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class WindowSettings(BaseModel):
    """Which sequence is learnt from.

    Attributes:
        biotypes: kinds of gene to learn from, such as ``protein_coding``; all where none is named.
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

    biotypes: Names = ()
    flank: Annotated[int, Field(ge=0)] = 0
    long_genes: Literal["split", "skip"] = "split"
    split_by: Literal["auto", "chromosome", "block"] = "auto"
    valid: Names = ()
    test: Names = ()
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
        annotation: GTF or GFF3: learn from whole genes.
        genes: learn from genes, those of ``annotation`` or of the named genome's own, or from tiles; None is genes
            where there is an ``annotation``.
        preset: sizes of the model, by name; None with ``init`` only.
        init: model folder to go on from, instead of fresh weights.
        max_length: longest window, and the length that the model is made for; None is the preset's.
        model: single sizes that differ from the preset's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    genome: str | None = None
    fasta: Path | None = None
    annotation: Path | None = None
    genes: bool | None = None
    preset: str | None = None
    init: Path | None = None
    max_length: Annotated[int, Field(ge=16)] | None = None
    model: dict[str, Any] = {}
    windows: WindowSettings = WindowSettings()
    data: DataSettings = DataSettings()
    optim: OptimSettings = OptimSettings()
    run: RunSettings = RunSettings()

    def sizes(self) -> ModelConfig:
        """Sizes of the fresh model that this describes.

        Raises:
            UsageError: no such preset, or a size that cannot be.
        """
        assert self.preset is not None
        sizes = preset(self.preset)
        if self.max_length:
            sizes = replace(sizes, max_length=self.max_length)
        try:
            return ModelConfig.from_dict({**sizes.to_dict(), **self.model})
        except ModelError as error:
            raise UsageError("\n".join(f"model.{line}" for line in str(error).split("\n"))) from None

    def to_yaml(self) -> str:
        """As a file that ``genoconv train`` takes."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def recipe(name: str) -> dict[str, Any]:
    """A configuration that ships with genoconv, as plain values."""
    return read_yaml(shipped("pipelines") / "recipes" / f"{name}.yaml")


def configure(file: Path | None, *, options: Mapping[str, Any], assignments: Iterable[str]) -> TrainConfig:
    """The configuration of a new run: on top of the demo's recipe where nothing names a genome.

    A run on anything else ends after ten minutes unless it says otherwise.

    Args:
        file, options, assignments: as of :func:`resolve`.
    """
    assignments = list(assignments)
    config = resolve(file, options=options, assignments=assignments)
    if config.genome in (None, DEMO_GENOME) and config.fasta is None:
        if config.genome is None and config.annotation is not None:
            raise UsageError("--annotation goes with the FASTA that it describes: add --fasta FILE or --genome NAME")
        base = recipe(DEMO_GENOME)
        if config.init is not None:  # the model brings its own sizes
            for key in ("preset", "model", "max_length"):
                base.pop(key)
        return resolve(file, options=options, assignments=assignments, base=base)
    if config.run.max_steps is None and config.run.max_minutes is None:
        options = {**options, "run.max_minutes": _DEFAULT_MINUTES}
        return resolve(file, options=options, assignments=assignments)
    return config


def changes(old: TrainConfig, new: TrainConfig) -> list[str]:
    """Dotted keys in which two configurations differ."""
    before, after = (_flat(config.model_dump(mode="json")) for config in (old, new))
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def default_folder(config: TrainConfig) -> Path:
    """``runs/NAME`` in the working directory, NAME of the genome or the FASTA.

    Raises:
        OutputError: that lies inside a model folder: its own run.yaml was used there, most likely.
    """
    name = config.genome or (config.fasta.name.split(".")[0] if config.fasta else DEMO_GENOME)
    folder = Path("runs") / name
    check_default_folder(folder)
    return folder


def resolve(
    file: Path | None,
    *,
    options: Mapping[str, Any],
    assignments: Iterable[str] = (),
    base: Mapping[str, Any] | None = None,
) -> TrainConfig:
    """Merge, weakest first: what suits the preset, ``base``, a YAML file, options, ``--set`` assignments; then check.

    Args:
        file: YAML with any of the keys of :class:`TrainConfig`; relative paths in it start at its folder.
        options: dotted key -> value; those that are None are not given.
        assignments: ``dotted.key=value``, the value read as YAML.
        base: plain values to begin with.

    Raises:
        UsageError: an unknown key (the nearest known one is named), a value of the wrong kind, or keys that exclude
            each other.
    """
    values: dict[str, Any] = {}
    _merge(values, base or {})
    if file is not None:
        _merge(values, _anchored(read_yaml(file), file.absolute().parent))
    given: dict[str, Any] = {}
    for key, value in options.items():
        if value is not None:
            _assign(given, key, value)
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: write it as key=value, for example --set optim.lr=0.001")
        _assign(given, key.strip(), parse_yaml(value, where=f"--set {key}"))
    _merge(values, _anchored(plain(given, where="the command line"), Path.cwd()))
    if values.get("init") is None:
        if values.get("preset") is None:
            values["preset"] = _DEFAULT_PRESET
        if str(values["preset"]).startswith(_TINY):
            gentle = recipe(_TINY)
            _merge(gentle, values)
            values = gentle
    try:
        config = TrainConfig.model_validate(_numbers(values))
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
        raise UsageError(f"{file or 'configuration'}: {'; '.join(problems)}") from None
    _check(config)
    return config


def _check(config: TrainConfig) -> None:
    if config.genome is not None and config.fasta is not None:
        raise UsageError("give one of --genome NAME and --fasta FILE")
    if config.genes is False and config.annotation is not None:
        raise UsageError("--tiles has no use for --annotation; drop one of them")
    if config.genes and config.fasta is not None and config.annotation is None:
        raise UsageError("--genes of --fasta FILE: add --annotation GENES.gtf")
    if config.init is None:
        config.sizes()
    elif config.preset is not None or config.model:
        raise UsageError("--init brings the sizes of the model; drop --preset and the model.* settings")


def _anchored(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """``values`` with its paths made absolute, so that a run can be gone on with from anywhere."""
    paths = {key: values[key] for key in _PATHS if isinstance(values.get(key), str)}
    return values | {key: os.path.normpath(folder / Path(path).expanduser()) for key, path in paths.items()}


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _numbers(inner) for key, inner in value.items()}
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


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
    where = _printable(".".join(str(part) for part in problem["loc"]))
    if problem["type"] != "extra_forbidden":
        message = problem["msg"].removeprefix("Value error, ")
        return f"{where}: {message[0].lower()}{message[1:]}, got {str(problem['input'])[:80]!r}"
    return f"unknown key {where}{did_you_mean(where, _keys(TrainConfig), cutoff=0.3)}"


def _printable(text: str) -> str:
    return (text if text.isprintable() else ascii(text))[:80]


def _keys(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        annotation: object = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _keys(annotation, f"{prefix}{name}.")
