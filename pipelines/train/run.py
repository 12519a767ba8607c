"""The whole run behind ``genoconv train``: from a configuration to a model folder."""

import importlib
import logging
import math
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from genoconv import atomic
from genoconv.errors import DataError, UsageError
from genoconv.pipelines.lean import lean_lightning, no_collections
from genoconv.pipelines.outcome import Outcome
from genoconv.pipelines.resolve import Call
from genoconv.pipelines.train.config import configure, default_folder, refuse_changes, resolve, split_call
from genoconv.pipelines.train.folder import (
    CHECKPOINTS,
    CONFIG,
    MODEL_CONFIG,
    held_run,
    read_inputs,
)
from genoconv.pipelines.train.identity import changed_inputs
from genoconv.pipelines.train.options import TrainConfig, TrainOptions
from genoconv.pipelines.train.results import outcome
from genoconv.pipelines.train.session import Session

if TYPE_CHECKING:
    from genoconv.train.machine import Machine
    from genoconv.train.settings import RunSettings

log = logging.getLogger(__name__)

# What may be changed when a run is resumed: the rest decides the model or the order of the data.
MAY_CHANGE = (
    "optim.",
    "data.workers",
    "run.max_steps",
    "run.max_minutes",
    "run.device",
    "run.precision",
    "run.nodes",
    "run.launcher",
    "run.checkpoint_every",
    "run.validate_every",
    "run.log_every",
    "run.activation_checkpointing",
    "run.tokens_at_once",
    "run.cuda_graphs",
    "run.tensorboard",
    "run.calibrate",
)


def run(call: Call[TrainOptions]) -> Outcome:
    """What ``genoconv train`` does.

    Raises:
        GenoconvError: as :func:`train` and :func:`resume`.
    """
    wanted = split_call(call)
    command = shlex.join(["genoconv", *sys.argv[1:]])
    if wanted.resume is not None:
        config = resumed(wanted.resume, wanted.call)
        code = resume(config, folder=wanted.resume, offline=wanted.offline, quiet=wanted.quiet, command=command)
        return outcome(config, wanted.resume, code)
    config = configure(wanted.call)
    folder = wanted.output or default_folder(config)
    code = train(config, folder=folder, force=wanted.force, offline=wanted.offline, quiet=wanted.quiet, command=command)
    return outcome(config, folder, code)


def printed(call: Call[TrainOptions]) -> str:
    """The configuration of a call, YAML; nothing is done."""
    wanted = split_call(call)
    return (configure(wanted.call) if wanted.resume is None else resumed(wanted.resume, wanted.call)).to_yaml()


def train(
    config: TrainConfig,
    *,
    folder: Path,
    force: bool = False,
    offline: bool = False,
    quiet: bool = False,
    command: str | None = None,
) -> int:
    """Train from the start.

    Args:
        config: the run.
        folder: to be made; see :mod:`.folder`.
        force: replace a model that is there.
        offline: never use the network.
        quiet: no progress bars.
        command: what was typed, for the record.

    Returns:
        The exit code, 0.

    Raises:
        SystemExit: a signal ended the run after a checkpoint was saved; the code is 128 + its number.
        OutputError: the folder holds something already, or cannot be written, or another process is writing it.
        UsageError, DataError, ModelError, DownloadError: as :func:`.inputs.gather`, :func:`.machine.settle` and
            :func:`.loop.run`.
        TrainingError: the loss is NaN or exploded.
    """
    if config.init is not None:
        atomic.refuse_inputs([folder], inputs={"--init": config.init})
    machine = find_machine(config.run, folder=folder)
    with held_run(folder, first=machine.is_first, force=force) as held:
        session = Session.prepare(config, folder, machine, offline=offline, quiet=quiet, command=command)
        if held is not None:
            held.begin(config=config.to_yaml(), inputs=session.describe())
        return session.complete(None, held)


def resumed(folder: Path, call: Call[TrainConfig]) -> TrainConfig:
    """The configuration with which the run in ``folder`` is resumed.

    Args:
        folder: of the run.
        call: the changes; its file is the run's own.

    Raises:
        UsageError: no run was begun there, or a change that would make it another run.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise UsageError(f"--resume {folder}: no {file.name} there; this is not the folder of a `genoconv train` run")
    config = resolve(replace(call, file=file))
    refuse_changes(folder, resolve(Call(TrainConfig, file)), config, may=MAY_CHANGE)
    return config


def resume(
    config: TrainConfig, *, folder: Path, offline: bool = False, quiet: bool = False, command: str | None = None
) -> int:
    """Resume an interrupted run exactly where its newest checkpoint was saved; ``config`` is of :func:`resumed`.

    Other arguments, the exit code and errors are those of :func:`train`.

    Raises:
        DataError: the sequence or the windows are not those that the run began with; says what changed.
    """
    from genoconv.train.checkpoints import newest_checkpoint

    machine = find_machine(config.run, folder=folder)
    if _finished(folder, config):
        log.info("%s: this run is finished; to train further, pass a larger --max-steps or --max-minutes", folder)
        return 0
    with held_run(folder, first=machine.is_first, force=None) as held:
        checkpoint = newest_checkpoint(folder / CHECKPOINTS)
        session = Session.prepare(config, folder, machine, offline=offline, quiet=quiet, command=command)
        if held is not None:
            _check_same(folder, session)
            held.resume(config=config.to_yaml(), checkpoint=checkpoint)
        return session.complete(checkpoint, held)


def find_machine(settings: "RunSettings", *, folder: Path) -> "Machine":
    """Where to compute a run in ``folder``; processes other than the first one say errors only.

    Raises:
        UsageError: as :func:`genoconv.train.machine.settle`.
        OutputError: TensorBoard cannot write into the folder.
    """
    lean_lightning()
    with no_collections():
        importlib.import_module("genoconv.train.loop")  # and with it torch and Lightning
        from genoconv.train.machine import settle

    if settings.tensorboard:
        atomic.refuse_not_utf8(folder, by="TensorBoard")
    machine = settle(settings)
    if not machine.is_first:
        logging.getLogger("genoconv").setLevel(logging.ERROR)
    return machine


def _check_same(folder: Path, session: Session) -> None:
    """Refuse to resume on other data than the run began with."""
    before = read_inputs(folder)
    if before is None:
        log.warning(
            "%s has no genome.json, so changes of the sequence since the start of the run cannot be detected", folder
        )
        return
    found = changed_inputs(before, session.describe())
    if found:
        raise DataError(f"--resume {folder}: {'; '.join(found)}; restore the original, or start a new run with -o")


def _finished(folder: Path, config: TrainConfig) -> bool:
    """Whether the model in ``folder`` has had all the steps or minutes that ``config`` asks for."""
    if not (folder / MODEL_CONFIG).exists():
        return False
    from genoconv.models.checkpoint import read_config

    done = read_config(folder)["provenance"]
    steps, seconds = done.get("steps"), done.get("seconds")
    most, minutes = config.run.max_steps, config.run.max_minutes
    if not isinstance(steps, int) or not isinstance(seconds, int | float):
        return False
    if done.get("ended_by") == "minutes" and minutes is not None and done.get("max_minutes") == minutes:
        return True
    return steps >= (most or math.inf) or seconds >= 60 * (minutes or math.inf)
