"""The configuration of a training run: from a call to one checked record."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from genoconv.errors import UsageError
from genoconv.paths import shipped
from genoconv.pipelines.resolve import Call, merge
from genoconv.pipelines.train.folder import check_default_folder
from genoconv.pipelines.train.options import CALL, TrainConfig, TrainOptions
from genoconv.pipelines.train.regions import check_names
from genoconv.pipelines.train.sources import check, named
from genoconv.pipelines.train.synthetic import LONG_DEMO
from genoconv.pipelines.yaml_files import is_text, read_yaml
from genoconv.wording import printable

DEMO_GENOME = "demo"
_DEFAULT_MINUTES = 10
_DEFAULT_PRESET = "tiny-1k"
_TINY = "tiny"
_LONGEST_NAME = 4  # names of sources in the name of a folder


@dataclass(frozen=True)
class TrainCall:
    """What was asked for: how to run, apart from the run itself.

    Attributes:
        call: what the user said of the run.
        output, resume, offline, force, quiet: see :class:`.options.TrainOptions`.
    """

    call: Call[TrainConfig]
    output: Path | None = None
    resume: Path | None = None
    offline: bool = False
    force: bool = False
    quiet: bool = False


def split_call(call: Call[TrainOptions]) -> TrainCall:
    """Take a call apart.

    Raises:
        UsageError: two configurations, or what a resumed run has of its own.
    """
    own = {key: call.given.get(key) for key in CALL}
    file = own.pop("file") or call.file
    if call.file is not None and call.given.get("file") is not None:
        raise UsageError(f"two configurations, {call.given['file']} and --config {call.file}: drop one")
    if own["resume"] is not None and (file is not None or own["output"] is not None or own["force"]):
        raise UsageError("--resume DIR resumes the run in DIR by its own run.yaml: drop RUN.yaml, --output and --force")
    given = {key: value for key, value in call.given.items() if key not in CALL}
    run = Call(TrainConfig, file, given, call.assignments, call.print_config)
    return TrainCall(run, **{key: value for key, value in own.items() if value is not None})


def recipe(name: str) -> dict[str, Any]:
    """A configuration that ships with genoconv, as plain values."""
    return read_yaml(shipped("pipelines") / "recipes" / f"{name}.yaml")


def configure(call: Call[TrainConfig]) -> TrainConfig:
    """The configuration of a new run: on top of the demo's recipe where nothing names a genome.

    A run on anything else ends after ten minutes unless it says otherwise.

    Raises:
        UsageError: an unknown key (the nearest known one is named), a value of the wrong kind, or keys that exclude
            each other.
    """
    config = resolve(call)
    sources = config.all_sources()
    if config.demo == "long" or not sources or [source.genome for source in sources] == [DEMO_GENOME]:
        base = recipe(LONG_DEMO if config.demo == "long" else DEMO_GENOME)
        if config.init is not None:  # the model brings its own sizes
            for key in ("preset", "model", "max_length"):
                base.pop(key)
        return resolve(call, base=base)
    if config.run.max_steps is None and config.run.max_minutes is None:
        return resolve(changed(call, given={**call.given, "run.max_minutes": _DEFAULT_MINUTES}))
    return config


def resolve(call: Call[TrainConfig], *, base: Mapping[str, Any] | None = None) -> TrainConfig:
    """The record of a call, on top of what suits its preset and of ``base``.

    Raises:
        UsageError: as :func:`configure`.
    """
    values = call.values(base, absolute=True)
    if values.get("init") is None:
        if values.get("preset") is None:
            values["preset"] = _DEFAULT_PRESET
        if str(values["preset"]).startswith(_TINY):
            gentle = recipe(_TINY)
            merge(gentle, values)
            values = gentle
    config = call.check(values)
    _check(config)
    if config.init is not None:
        from genoconv.models.registry import model_folder

        model_folder(config.init)  # a mistake in the name comes to light before anything is read
    return config


def changes(old: BaseModel, new: BaseModel) -> list[str]:
    """Dotted keys in which two configurations differ."""
    before, after = (_flat(config.model_dump(mode="json")) for config in (old, new))
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def refuse_changes(folder: Path, old: BaseModel, new: BaseModel, *, may: tuple[str, ...]) -> None:
    """Refuse to resume the run in ``folder`` with a configuration that would make it another run.

    Args:
        folder: of the run, for the message.
        old, new: its configuration and the wanted one.
        may: how the keys begin that may change.

    Raises:
        UsageError: other keys differ.
    """
    forbidden = [key for key in changes(old, new) if not key.startswith(may)]
    if forbidden:
        raise UsageError(
            f"--resume {folder}: {', '.join(forbidden)} cannot change within a run; start a new one with -o"
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def default_folder(config: TrainConfig) -> Path:
    """``runs/NAME`` in the working directory, NAME of the genome or the FASTA; several are joined by ``+``.

    Raises:
        OutputError: that lies inside a model folder: its own run.yaml was used there, most likely.
    """
    names = [source.usual_name for source in config.all_sources()] or [DEMO_GENOME]
    folder = Path("runs") / "+".join(names[:_LONGEST_NAME])
    check_default_folder(folder)
    return folder


def _check(config: TrainConfig) -> None:
    own = (*config.sources, *config.fasta, *config.annotation, *config.window_file, *config.genome)
    if config.demo is not None and own and own != (DEMO_GENOME,):
        raise UsageError(
            "--demo generates its own sequence: drop --genome, --fasta, --annotation, --windows and sources"
        )
    sources = config.all_sources()
    beds = [region.bed for region in config.windows.regions]
    for path in (config.init, *beds, *(path for source in sources for path in source.paths)):
        if path is not None and not is_text(str(path)):
            raise UsageError(
                f"{printable(str(path))}: its name is not valid UTF-8, which run.yaml cannot store; rename it"
            )
    shared = config.windows.regions
    for source in sources:
        where = f"source {source.usual_name}: " if len(sources) > 1 else ""
        check(source, regions=(*source.regions, *shared), where=where)
    names = [str(source.name) for source in named(sources)]
    for source in sources:
        check_names((*source.regions, *shared), taken=names if len(names) > 1 else ())
    if len(sources) > 1 and any(region.bed for region in shared):
        raise UsageError(
            "--regions BED applies to one FASTA; with several, list regions under each of the sources: in a run file,"
            " or use features of their annotations"
        )
    if len(sources) > 1 and (config.windows.valid or config.windows.test):
        raise UsageError(
            "--valid and --test name contigs of one FASTA; with several, set valid and test under each of the sources:"
            " in a run file"
        )
    if config.init is None:
        config.sizes()
    elif config.preset is not None or config.model:
        raise UsageError("--init determines the size of the model; drop --preset and the model.* settings")
