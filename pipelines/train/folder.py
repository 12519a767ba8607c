"""The model folder of a run: begun, gone on with, replaced; never half of one taken for a model."""

import shutil
from pathlib import Path

from genoconv.errors import OutputError

CONFIG, MODEL_CONFIG, METRICS, CHECKPOINTS = "run.yaml", "config.json", "metrics.csv", "checkpoints"
PREVIOUS = "previous"

# Everything that a run writes; config.json, which makes the folder a model, is moved and written last.
_OURS = (
    "model.safetensors",
    "genome.json",
    CONFIG,
    METRICS,
    "training.png",
    "README.md",
    CHECKPOINTS,
    "tensorboard",
    MODEL_CONFIG,
)


def check_folder(folder: Path, *, force: bool) -> None:
    """Whether a run may begin in ``folder``; nothing is changed.

    Raises:
        OutputError: it holds something already; says how to go on with an unfinished run, or replace it.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    ours = folder.is_dir() and ((folder / CONFIG).exists() or (folder / MODEL_CONFIG).exists())
    if not ours:
        raise OutputError(f"{folder} exists and is no model folder, so nothing is put there; choose another name")
    if not force:
        unfinished = not (folder / MODEL_CONFIG).exists()
        way_out = f"go on with `genoconv train --resume {folder}`, or" if unfinished else "choose another name, or"
        raise OutputError(f"{folder} exists already; {way_out} pass --force to replace it")


def begin_folder(folder: Path) -> None:
    """Make ``folder`` ready for a run.

    A finished model that is there moves to ``previous`` inside it, where it stays a model until :func:`end_folder`;
    an unfinished run is removed. Files that no run writes are left alone.

    Raises:
        OutputError: the folder cannot be made or changed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        finished = (folder / MODEL_CONFIG).exists()
        if finished:
            _remove(folder / PREVIOUS)
            (folder / PREVIOUS).mkdir()
        for name in _OURS:
            if finished and (folder / name).exists():
                (folder / name).rename(folder / PREVIOUS / name)
            elif not finished:
                _remove(folder / name)
    except OSError as error:
        raise OutputError(f"{error.filename or folder}: cannot make a model folder there: {error.strerror}") from error


def end_folder(folder: Path) -> None:
    """Remove what a finished run has replaced."""
    _remove(folder / PREVIOUS)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
