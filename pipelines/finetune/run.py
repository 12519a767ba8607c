"""The whole run behind ``genoconv finetune``: from labelled records and a model to a model folder."""

import logging
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from genoconv import atomic
from genoconv.errors import DataError, UsageError
from genoconv.pipelines.finetune.options import CALL, FinetuneConfig, FinetuneOptions
from genoconv.pipelines.finetune.results import outcome
from genoconv.pipelines.finetune.session import Session
from genoconv.pipelines.options import note_default_model
from genoconv.pipelines.outcome import Outcome
from genoconv.pipelines.resolve import Call
from genoconv.pipelines.train.config import refuse_changes
from genoconv.pipelines.train.folder import CHECKPOINTS, CONFIG, MODEL_CONFIG, RECORDS, held_run, read_inputs
from genoconv.pipelines.train.run import MAY_CHANGE, find_machine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinetuneCall:
    """What was asked for: how to run, apart from the run itself.

    Attributes:
        config: of the run.
        folder: to be made, or that of the run to be resumed.
        resumes: whether it is resumed.
        force, quiet: see :class:`.options.FinetuneOptions`.
    """

    config: FinetuneConfig
    folder: Path
    resumes: bool
    force: bool
    quiet: bool


def understand(call: Call[FinetuneOptions]) -> FinetuneCall:
    """Take a call apart.

    Raises:
        UsageError: options that are missing or exclude each other, or a change that would make a resumed run another.
    """
    from genoconv.models.registry import model_folder

    own = {key: call.given.get(key) for key in CALL}
    given = {key: value for key, value in call.given.items() if key not in CALL}
    run = Call(FinetuneConfig, call.file, given, call.assignments, call.print_config)
    folder, resume = own["output"], own["resume"]
    if resume is not None:
        if call.file is not None or folder is not None or own["force"]:
            raise UsageError("--resume DIR resumes the run in DIR by its own run.yaml: drop --config, -o and --force")
        config = _resumed(resume, run)
    else:
        config = run.check(run.values(absolute=True))
        model_folder(config.model)  # a mistake in the name comes to light before anything is read
        missing = [name for name, value in (("TABLE", config.table), ("--output", folder)) if value is None]
        if missing:
            raise UsageError(f"missing {', '.join(missing)}; see --help")
        _check_options(config)
        note_default_model(config)
    where = resume if resume is not None else folder
    assert where is not None
    return FinetuneCall(config, where, resume is not None, bool(own["force"]), bool(own["quiet"]))


def _check_options(config: FinetuneConfig) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: they do not.
    """
    if config.noise and config.mode == "head":
        raise UsageError("--noise changes what the model reads; use it with --mode lora or full")
    if not config.per_base:
        if config.window is not None:
            raise UsageError("--window cuts the windows of --per-base; other records are read as they are")
        return
    if config.layers == "all":
        raise UsageError("--layers all: with --per-base a base is predicted from its own state after the last block")
    if config.pooling not in (None, "mean"):
        raise UsageError(f"--pooling {config.pooling}: with --per-base every base is predicted from its own state")
    if config.label_file is not None:
        raise UsageError("--labels holds the labels of whole records; with --per-base, pass the targets to that option")


def _resumed(folder: Path, call: Call[FinetuneConfig]) -> FinetuneConfig:
    """The configuration with which the run in ``folder`` is resumed."""
    file = folder / CONFIG
    if not file.is_file() or not (folder / RECORDS).is_file():
        raise UsageError(f"--resume {folder}: not the folder of a `genoconv finetune` run")
    changed = replace(call, file=file)
    config = changed.check(changed.values(absolute=True))
    before = Call(FinetuneConfig, file).resolve()
    refuse_changes(folder, before, config, may=(*MAY_CHANGE, "epochs", "patience"))
    return config


def run(call: Call[FinetuneOptions]) -> Outcome:
    """What ``genoconv finetune`` does.

    Raises:
        SystemExit: a signal ended the run after a checkpoint was saved; the code is 128 + its number.
        UsageError, DataError, ModelError: options, records or a model that cannot be used.
        OutputError: the folder holds something already, or cannot be written, or another process is writing it.
        TrainingError: the loss is NaN or exploded.
    """
    wanted = understand(call)
    command = shlex.join(["genoconv", *sys.argv[1:]])
    work = resume if wanted.resumes else finetune
    return outcome(wanted.config, wanted.folder, work(wanted, command=command))


def printed(call: Call[FinetuneOptions]) -> str:
    """The configuration of a call, YAML; nothing is done."""
    return understand(call).config.to_yaml()


def finetune(wanted: FinetuneCall, *, command: str | None = None) -> int:
    """Fine-tune from the start; arguments and errors as of :func:`run`."""
    config, folder = wanted.config, wanted.folder
    _refuse_inputs(wanted)
    machine = find_machine(config.run.model_copy(update={"max_steps": 1}), folder=folder)
    with held_run(folder, first=machine.is_first, force=wanted.force) as held:
        session = Session.prepare(config, folder, machine, quiet=wanted.quiet, command=command)
        if held is not None:
            held.begin(config=config.to_yaml(), inputs=session.describe(), inputs_name=RECORDS)
        return session.complete(None, held)


def resume(wanted: FinetuneCall, *, command: str | None = None) -> int:
    """Resume an interrupted run exactly where its newest checkpoint was saved.

    Raises:
        DataError: the records or the model are not those that the run began with.
    """
    from genoconv.train.checkpoints import newest_checkpoint

    config, folder = wanted.config, wanted.folder
    if (folder / MODEL_CONFIG).exists():
        log.info("%s: this run is finished; fine-tune again with -o", folder)
        return 0
    machine = find_machine(config.run.model_copy(update={"max_steps": 1}), folder=folder)
    with held_run(folder, first=machine.is_first, force=None) as held:
        checkpoint = newest_checkpoint(folder / CHECKPOINTS)
        session = Session.prepare(config, folder, machine, quiet=wanted.quiet, command=command)
        if held is not None:
            _check_same(folder, session)
            held.resume(config=config.to_yaml(), checkpoint=checkpoint)
        return session.complete(checkpoint, held)


def _check_same(folder: Path, session: Session) -> None:
    """Refuse to resume on other records or from another model than the run began with."""
    before, now = read_inputs(folder, RECORDS) or {}, session.describe()
    changed = [key for key in now if before.get(key) != now[key]]
    if "model" in changed:
        raise DataError(f"--resume {folder}: the model in {session.config.model} has changed; restore it, or use -o")
    if changed:
        raise DataError(
            f"--resume {folder}: the records of {session.config.table} have changed ({', '.join(changed)}); restore"
            " what the run began with, or start a new one with -o"
        )


def _refuse_inputs(wanted: FinetuneCall) -> None:
    config = wanted.config
    inputs = {"TABLE": config.table, "--model": config.model, "--fasta": config.fasta, "--labels": config.label_file}
    inputs |= {f"--per-base {path.name}": path for path in config.per_base}
    atomic.refuse_inputs([wanted.folder], inputs=inputs)
