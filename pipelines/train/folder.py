"""The model folder of a run: held, begun, resumed, replaced; never half of one taken for a model."""

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genoconv import atomic
from genoconv.errors import DivergedError, ModelError, OutputError
from genoconv.train.metrics import has_rows
from genoconv.wording import shell
from genoconv.workfiles import claimed, remove_temporaries

log = logging.getLogger(__name__)

CONFIG, MODEL_CONFIG, GENOME, RECORDS = "run.yaml", "config.json", "genome.json", "data.json"
METRICS, CHECKPOINTS, PREVIOUS = "metrics.csv", "checkpoints", "previous"

# Everything that a run writes; config.json, which makes the folder a model, is moved and written last.
_OURS = (
    "model.safetensors",
    GENOME,
    RECORDS,
    CONFIG,
    METRICS,
    "training.png",
    "training_mqc.yaml",
    "finetune.png",
    "predictions.tsv",
    "README.md",
    "calibration.npz",
    CHECKPOINTS,
    "tensorboard",
    MODEL_CONFIG,
)


class RunFolder:
    """The folder of a run, while this process holds it.

    Attributes:
        path: of the folder.
        begun: whether this process has begun a run in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begun = False

    def begin(self, *, config: str, inputs: Mapping[str, Any], inputs_name: str = GENOME) -> None:
        """Make the folder ready for a run and note what it is.

        A finished model that is there moves to ``previous`` inside it, where it stays a model until :func:`end`; an
        unfinished run is removed. Files that no run writes are left alone.

        Args:
            config: the configuration, YAML.
            inputs: what is learned from: for ``genome.json`` which sequence, which windows.
            inputs_name: of the file for it.

        Raises:
            OutputError: the folder cannot be changed.
        """
        self.begun = True
        try:
            finished = (self.path / MODEL_CONFIG).exists()
            if finished:
                _remove(self.path / PREVIOUS)
                (self.path / PREVIOUS).mkdir()
            for name in _OURS:
                if finished and (self.path / name).exists():
                    (self.path / name).rename(self.path / PREVIOUS / name)
                elif not finished:
                    _remove(self.path / name)
        except OSError as error:
            raise OutputError(
                f"{error.filename or self.path}: cannot create a model folder there: {error.strerror}"
            ) from error
        write_json(self.path / inputs_name, inputs)
        atomic.write_text(self.path / CONFIG, config)

    def resume(self, *, config: str, checkpoint: Path | None) -> None:
        """Note with which configuration, YAML, the run continues, and log from where."""
        atomic.write_text(self.path / CONFIG, config)
        if checkpoint is not None:
            log.info("resuming from %s", checkpoint)
        else:
            log.info("%s has no checkpoint yet: starting from the first step", self.path)

    def end(self) -> None:
        """Remove what a finished run has replaced."""
        _remove(self.path / PREVIOUS)

    def undo(self) -> None:
        """Take back :meth:`begin`: what was there before is there again."""
        for name in _OURS:
            _remove(self.path / name)
            if (self.path / PREVIOUS / name).exists():
                (self.path / PREVIOUS / name).rename(self.path / name)
        with contextlib.suppress(OSError):
            (self.path / PREVIOUS).rmdir()


@contextlib.contextmanager
def held_folder(path: Path) -> Iterator[RunFolder]:
    """Hold the folder ``path`` for this process while the block runs; it is made if missing.

    Where the block fails before anything was learned, nothing of it stays: a folder that it made disappears, and a
    model that it was to replace is in its place again.

    Raises:
        OutputError: another process is writing the folder; it is named. Or the folder cannot be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{error.filename or path}: cannot create a model folder there: {error.strerror}") from error
    folder = RunFolder(path)
    try:
        with claimed(path / CONFIG):
            for name in _OURS:
                remove_temporaries(path / name)
            try:
                yield folder
            except Exception as error:
                # A run that was lost is kept: its message says how to begin it again in a better way.
                if folder.begun and not isinstance(error, DivergedError) and not has_learned(path):
                    folder.undo()
                raise
    finally:
        for made in missing:
            with contextlib.suppress(OSError):  # a run is in it
                made.rmdir()


@contextlib.contextmanager
def held_run(folder: Path, *, first: bool, force: bool | None) -> Iterator[RunFolder | None]:
    """The folder of a run on the process that is the ``first``, which alone writes it; None on others.

    Args:
        folder: as for :func:`held_folder`.
        first: whether this is the first process.
        force: as for :func:`check_folder`; None resumes the run that is there.

    Raises:
        OutputError: as :func:`held_folder` and :func:`check_folder`.
    """
    if not first:
        yield None
        return
    if force is not None and folder.exists() and not folder.is_dir():
        check_folder(folder, force=force)
    with held_folder(folder) as held:
        if force is not None:
            check_folder(folder, force=force)
        yield held


def has_learned(folder: Path) -> bool:
    """Whether the run in ``folder`` has measured or saved anything."""
    return any((folder / CHECKPOINTS).glob("step-*.ckpt")) or has_rows(folder / METRICS)


def is_run_folder(folder: Path) -> bool:
    """Whether ``folder`` is one that ``genoconv train`` or ``genoconv models import`` made; not just any run.yaml."""
    signs = (GENOME, RECORDS, METRICS, CHECKPOINTS)
    begun = (folder / CONFIG).is_file() and any((folder / name).exists() for name in signs)
    return begun or _is_model(folder / MODEL_CONFIG)


def _is_model(config: Path) -> bool:
    try:
        record = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("format") == "genoconv-model"


def _resume(folder: Path) -> str:
    return shell("genoconv", verb_of(folder), "--resume", folder)


def verb_of(folder: Path) -> str:
    """The command that began the run in ``folder``."""
    return "finetune" if (folder / RECORDS).exists() else "train"


def check_folder(folder: Path, *, force: bool) -> None:
    """Whether a run may begin in ``folder``; nothing is changed. A run that has learned nothing yet may be replaced.

    Raises:
        OutputError: it holds something; says how to resume an unfinished run, or replace it.
    """
    if not folder.exists():
        return
    if folder.is_dir() and not any(".genoconv-" not in path.name for path in folder.iterdir()):
        return
    if not folder.is_dir() or not is_run_folder(folder):
        raise OutputError(f"{folder} exists and is not a model folder; choose another name")
    finished = (folder / MODEL_CONFIG).exists()
    if force or not (finished or has_learned(folder)):
        return
    way_out = "choose another name, or" if finished else f"resume with `{_resume(folder)}`, or"
    raise OutputError(f"{folder} exists already; {way_out} pass --force to replace it")


def check_default_folder(folder: Path) -> None:
    """Whether a folder that nobody named lies outside of all model folders.

    Raises:
        OutputError: a run.yaml was used inside its own folder, most likely.
    """
    inside = next((parent for parent in folder.absolute().parents if is_run_folder(parent)), None)
    if inside is not None:
        raise OutputError(
            f"{folder} would lie inside the model folder {inside}; name another with -o DIR, or resume that run with"
            f" `{_resume(inside)}`"
        )


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write an object as JSON."""
    atomic.write_text(path, json.dumps(record, indent=2) + "\n")


def read_inputs(folder: Path, name: str = GENOME) -> dict[str, Any] | None:
    """``genome.json`` of a run, or what a run of another kind keeps there; None where there is none.

    Raises:
        ModelError: it is damaged.
    """
    path = folder / name
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        raise ModelError(f"{path}: damaged, not JSON; restore it, or start a new run with -o") from None
    if not isinstance(record, dict):
        raise ModelError(f"{path}: damaged, not an object; restore it, or start a new run with -o")
    return record


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
