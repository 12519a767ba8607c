"""The whole run behind ``genoconv train``: from a configuration to a model folder."""

import json
import logging
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genoconv import __version__, atomic
from genoconv.errors import DataError, Interrupted, TrainingError, UsageError
from genoconv.pipelines.train import folder as train_folder
from genoconv.pipelines.train.config import DEMO_GENOME, TrainConfig, changes, resolve
from genoconv.pipelines.train.inputs import Inputs, gather, spread
from genoconv.progress import Advance, progress_bar

if TYPE_CHECKING:
    from genoconv.models.hyena import HyenaDNA
    from genoconv.tokens import Tokens
    from genoconv.train.data import WindowReader
    from genoconv.train.loop import Outcome

log = logging.getLogger(__name__)

# Counting k-mers in more sequence than this changes their tables little and costs minutes.
_BASELINE_BASES = 100_000_000

# What may be changed when a run is gone on with: the rest decides the model or the order of the data.
_MAY_CHANGE = (
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
    "run.tensorboard",
)


def train(config: TrainConfig, *, folder: Path, force: bool = False, offline: bool = False, quiet: bool = False) -> int:
    """Train from the start.

    Args:
        config: the run.
        folder: to be made; see :mod:`.train_folder`.
        force: replace a model that is there.
        offline: never use the network.
        quiet: no progress bars.

    Returns:
        The exit code, 0.

    Raises:
        SystemExit: a signal ended the run after a checkpoint was saved; the code is 128 + its number.
        OutputError: the folder holds something already, or cannot be written.
        UsageError, DataError, ModelError, DownloadError: as :func:`.train_inputs.gather` and :func:`.loop.run`.
        TrainingError: the loss is NaN or exploded.
    """
    first = _first(config)
    if first:
        train_folder.check_folder(folder, force=force)
    model = _model(config)
    inputs = _gather(config, model, offline=offline, quiet=quiet or not first)
    if first:
        train_folder.begin_folder(folder)
        atomic.write_text(folder / train_folder.CONFIG, config.to_yaml())
    return _complete(config, model, inputs, folder=folder, checkpoint=None, quiet=quiet)


def resumed(folder: Path, *, options: Mapping[str, Any], assignments: Iterable[str] = ()) -> TrainConfig:
    """The configuration with which the run in ``folder`` goes on.

    Args:
        folder: of the run.
        options, assignments: changes, as of :func:`.train_config.resolve`.

    Raises:
        UsageError: no run was begun there, or a change that would make it another run.
    """
    file = folder / train_folder.CONFIG
    if not file.is_file():
        raise UsageError(f"--resume {folder}: no {file.name} there; this is not a folder of `genoconv train`")
    config = resolve(file, options=options, assignments=assignments)
    changed = changes(resolve(file, options={}), config)
    forbidden = [key for key in changed if not key.startswith(_MAY_CHANGE)]
    if forbidden:
        raise UsageError(f"--resume {folder}: {', '.join(forbidden)} cannot change in mid-run; begin a new one with -o")
    return config


def resume(config: TrainConfig, *, folder: Path, offline: bool = False, quiet: bool = False) -> int:
    """Go on with an interrupted run exactly where its newest checkpoint was saved; ``config`` is of :func:`resumed`.

    Other arguments, the exit code and errors are those of :func:`train`.
    """
    from genoconv.train.callbacks import newest_checkpoint

    first = _first(config)
    if _finished(folder, config):
        log.info("%s: this run is finished; to train it further give a larger --max-steps or --max-minutes", folder)
        return 0
    checkpoint = newest_checkpoint(folder / train_folder.CHECKPOINTS)
    model = _model(config)
    inputs = _gather(config, model, offline=offline, quiet=quiet or not first)
    if first:
        atomic.write_text(folder / train_folder.CONFIG, config.to_yaml())
        log.info(
            "%s", f"going on from {checkpoint}" if checkpoint else f"{folder} has no checkpoint yet: from the start"
        )
    return _complete(config, model, inputs, folder=folder, checkpoint=checkpoint, quiet=quiet)


def _first(config: TrainConfig) -> bool:
    """Whether this is the process that writes files and talks; the others say errors only."""
    from genoconv.train.cluster import is_first_process

    first = is_first_process(config.run.launcher)
    if not first:
        logging.getLogger("genoconv").setLevel(logging.ERROR)
    return first


def _finished(folder: Path, config: TrainConfig) -> bool:
    """Whether the model in ``folder`` has had all the steps or minutes that ``config`` asks for."""
    if not (folder / train_folder.MODEL_CONFIG).exists():
        return False
    from genoconv.models.checkpoint import read_config

    done = read_config(folder)["provenance"]
    steps, minutes = config.run.max_steps, config.run.max_minutes
    enough_steps = steps is not None and int(done.get("steps", 0)) >= steps
    enough_time = minutes is not None and float(done.get("seconds", 0)) >= 60 * minutes
    return enough_steps or enough_time


def _gather(config: TrainConfig, model: "HyenaDNA", *, offline: bool, quiet: bool) -> Inputs:
    longest = min(config.max_length or model.config.max_bases, model.config.max_bases)
    return gather(config, max_length=longest, offline=offline, quiet=quiet)


def _complete(
    config: TrainConfig, model: "HyenaDNA", inputs: Inputs, *, folder: Path, checkpoint: Path | None, quiet: bool
) -> int:
    """Train to the end and fill the model folder; returns the exit code."""
    from genoconv.train import loop
    from genoconv.train.data import WindowReader

    first = _first(config)
    _introduce(config, model, inputs)
    masked = config.data.soft_mask_weight if config.data.soft_mask == "keep" else None
    with _advice(config, folder, first=first):
        outcome = loop.run(
            model,
            train=WindowReader(inputs.fasta, inputs.train, masked_weight=masked),
            valid=WindowReader(inputs.fasta, inputs.valid),
            flips=_flips(config, inputs),
            data=config.data,
            optim=config.optim,
            settings=config.run,
            folder=folder,
            resume=checkpoint,
            quiet=quiet,
        )
        if not first:
            return 0
        if outcome.signal is not None:
            log.warning("stopped by %s after step %d", signal.Signals(outcome.signal).name, outcome.step)
            raise SystemExit(128 + outcome.signal)
        results = _results(outcome, _baselines(config, inputs, quiet=quiet))
        _fill(folder, config=config, model=model, inputs=inputs, outcome=outcome, results=results)
    log.info("%s; model in %s", summary(results), folder)
    return 0


@contextmanager
def _advice(config: TrainConfig, folder: Path, *, first: bool) -> Iterator[None]:
    """Say how to go on with a run that ends early. Other processes than the first leave that to it."""
    again = f"genoconv train --resume {folder}"
    try:
        yield
    except TrainingError as error:
        if not first:
            raise SystemExit(0) from None  # all of them met it, and Lightning would kill the one that tells
        rates = f"--set optim.lr={config.optim.lr / 4:.2g} --set optim.filter_lr={config.optim.filter_lr / 4:.2g}"
        raise TrainingError(f"{error}; lower the learning rates and go on: {again} {rates}") from error
    except KeyboardInterrupt as stop:
        if not first:
            raise SystemExit(128 + signal.SIGINT) from None
        raise Interrupted(f"go on with: {again}") from stop
    except SystemExit:
        if first:
            log.warning("interrupted; go on with: %s", again)
        raise


def _fill(
    folder: Path,
    *,
    config: TrainConfig,
    model: "HyenaDNA",
    inputs: Inputs,
    outcome: "Outcome",
    results: dict[str, Any],
) -> None:
    """Write what makes the folder of a run a model folder, the weights and ``config.json`` last."""
    from genoconv.models.checkpoint import model_digest, save_model
    from genoconv.pipelines.train.report import write_card, write_plot

    genome = inputs.describe()
    atomic.write_text(folder / "genome.json", json.dumps(genome, indent=2) + "\n")
    plotted = write_plot(folder / "training.png", rows=outcome.rows, baselines=results["markov_perplexities"])
    if not plotted:
        log.info("no training.png: matplotlib is missing; pip install 'genoconv[plot]'")
    write_card(
        folder / "README.md",
        config=config,
        inputs=inputs,
        genome=genome,
        model=model,
        results=results,
        plotted=plotted,
    )
    provenance = {"genome": inputs.name, "genoconv_version": __version__, **results}
    if config.init is not None:
        provenance["init"] = {"folder": str(config.init), "digest": model_digest(config.init)}
    save_model(model, folder, provenance=provenance)
    train_folder.end_folder(folder)


def _flips(config: TrainConfig, inputs: Inputs) -> bool:
    wanted = config.data.reverse_complement
    return not inputs.genes if wanted == "auto" else wanted


def _model(config: TrainConfig) -> "HyenaDNA":
    """Fresh weights from the preset and the seed, or those of ``init``."""
    import torch

    from genoconv.models import HyenaDNA, load_model

    if config.init is None:
        torch.manual_seed(config.run.seed)
        return HyenaDNA(config.sizes())
    model = load_model(config.init)
    if config.max_length and config.max_length > model.config.max_bases:
        raise UsageError(
            f"--max-length {config.max_length:,}: the model in {config.init} was made for up to"
            f" {model.config.max_bases:,} bases, and its filters are scaled to that length; leave --max-length out,"
            " or train a model of that length from the start"
        )
    return model


def _introduce(config: TrainConfig, model: "HyenaDNA", inputs: Inputs) -> None:
    if config.genome == DEMO_GENOME:
        log.info("the demo genome is synthetic: generated by genoconv to be learnt from, not biological sequence")
    lengths = inputs.train["end"] - inputs.train["start"]
    log.info(
        "%s parameters, up to %s bases; learning from %s %s (%s bases, the longest %s) of %s",
        f"{sum(p.numel() for p in model.parameters()):,}",
        f"{model.config.max_bases:,}",
        f"{len(inputs.train):,}",
        "genes" if inputs.genes else "tiles",
        f"{lengths.sum():,}",
        f"{lengths.max():,}",
        inputs.name,
    )


def _baselines(config: TrainConfig, inputs: Inputs, *, quiet: bool) -> list[float]:
    """Perplexities of the Markov models, on the very windows that the network was measured on."""
    from genoconv.train.baselines import markov_perplexities
    from genoconv.train.data import WindowReader

    train = WindowReader(inputs.fasta, spread(inputs.train, bases=_BASELINE_BASES))
    valid = WindowReader(inputs.fasta, inputs.valid)
    flips = _flips(config, inputs)
    with progress_bar("Counting k-mers", total=len(train), unit="windows", quiet=quiet) as advance:
        return markov_perplexities(_Watched(train, advance), _Watched(valid, lambda amount: None), both_strands=flips)


@dataclass(frozen=True)
class _Watched:
    """Windows that tell a progress bar when one of them is read."""

    windows: "WindowReader"
    advance: Advance

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> "Tokens":
        self.advance(1)
        return self.windows[index]


def _results(outcome: "Outcome", baselines: list[float]) -> dict[str, Any]:
    measured = [row for row in outcome.rows if row.split == "valid"]
    if not measured or not baselines:
        raise DataError("no held-out base could be measured: the validation windows hold no A, C, G or T")
    best = min(range(len(baselines)), key=baselines.__getitem__)
    return {
        "steps": outcome.step,
        "tokens": outcome.tokens,
        "seconds": round(outcome.seconds, 1),
        "validation_perplexity": round(measured[-1].perplexity, 5),
        "markov_perplexities": [round(value, 5) for value in baselines],
        "best_markov_order": best,
    }


def summary(results: dict[str, Any]) -> str:
    """The closing line."""
    order = results["best_markov_order"]
    best, ours = results["markov_perplexities"][order], results["validation_perplexity"]
    difference = f"{abs(1 - ours / best):.1%} {'below' if ours < best else 'above'}"
    speed = results["tokens"] / max(results["seconds"], 1e-9)
    return (
        f"validation perplexity {ours:.3f} after {results['steps']:,} steps, {results['tokens']:,} bases"
        f" ({speed:,.0f}/s): {difference} the best Markov model (order {order}, {best:.3f}); a uniform guess has 4.000"
    )
