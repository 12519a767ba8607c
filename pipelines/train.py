"""The whole run behind ``genoconv train``: from a configuration to a model folder."""

import json
import logging
import math
import shutil
import signal
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genoconv import __version__, atomic
from genoconv.errors import DataError, OutputError, UsageError
from genoconv.pipelines.train_config import TrainConfig, resolve
from genoconv.pipelines.train_inputs import Inputs, gather

if TYPE_CHECKING:
    from genoconv.genome.tokenizer import Tokens
    from genoconv.models.hyena import HyenaDNA
    from genoconv.train.loop import Outcome

log = logging.getLogger(__name__)

# Counting k-mers in more sequence than this changes their tables little and costs minutes.
_BASELINE_BASES = 50_000_000


def prepare_folder(folder: Path, *, force: bool) -> None:
    """Make an empty model folder.

    Raises:
        OutputError: it holds something already; says how to go on with an unfinished run, or replace it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not force:
            unfinished = (folder / "run.yaml").exists() and not (folder / "config.json").exists()
            way_out = f"go on with `genoconv train --resume {folder}`, or" if unfinished else "choose another name or"
            raise OutputError(f"{folder} exists already; {way_out} pass --force to replace it")
        if not folder.is_dir() or not ((folder / "run.yaml").exists() or (folder / "config.json").exists()):
            raise OutputError(f"{folder} is no model folder, so --force does not replace it; choose another name")
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make this folder: {error.strerror}") from error


def train(config: TrainConfig, *, folder: Path, force: bool = False, offline: bool = False, quiet: bool = False) -> int:
    """Train from the start; see :func:`_complete`."""
    from genoconv.train.loop import is_first_process

    if is_first_process():
        prepare_folder(folder, force=force)
        atomic.write_text(folder / "run.yaml", config.to_yaml())
    return _complete(config, folder=folder, checkpoint=None, offline=offline, quiet=quiet)


def resume(folder: Path, *, assignments: Iterable[str] = (), offline: bool = False, quiet: bool = False) -> int:
    """Go on with an interrupted run exactly where its newest checkpoint was saved.

    Args:
        folder: of the run.
        assignments: ``key=value`` changes, such as ``run.max_steps=5000``.
        offline, quiet: as everywhere.

    Raises:
        UsageError: no run was begun there.
    """
    from genoconv.train.callbacks import newest_checkpoint

    if not (folder / "run.yaml").is_file():
        raise UsageError(f"--resume {folder}: no run.yaml there; this is not a folder of `genoconv train`")
    config = resolve(folder / "run.yaml", options={}, assignments=assignments)
    atomic.write_text(folder / "run.yaml", config.to_yaml())
    checkpoint = newest_checkpoint(folder / "checkpoints")
    if checkpoint is None:
        log.info("%s has no checkpoint yet; the run begins anew", folder)
    return _complete(config, folder=folder, checkpoint=checkpoint, offline=offline, quiet=quiet)


def _complete(config: TrainConfig, *, folder: Path, checkpoint: Path | None, offline: bool, quiet: bool) -> int:
    """Train to the end and fill the model folder.

    Returns:
        The exit code: 0, or 128 + the signal that ended the run early.
    """
    from genoconv.models.checkpoint import save_model
    from genoconv.pipelines.train_report import write_card, write_plot
    from genoconv.train import loop
    from genoconv.train.data import WindowReader

    model = _model(config)
    longest = min(config.max_length or model.config.max_length, model.config.max_length)
    inputs = gather(config, max_length=longest, offline=offline, quiet=quiet)
    first = loop.is_first_process()
    if first:
        _introduce(config, model, inputs)
    masked = config.data.soft_mask_weight if config.data.soft_mask == "keep" else None
    flips = config.data.reverse_complement
    outcome = loop.run(
        model,
        train=WindowReader(inputs.fasta, inputs.train, masked_weight=masked),
        valid=WindowReader(inputs.fasta, inputs.valid),
        flips=flips == "yes" or (flips == "auto" and not inputs.genes),
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
        name = signal.Signals(outcome.signal).name
        log.warning("%s: stopped after step %d; go on with: genoconv train --resume %s", name, outcome.step, folder)
        return 128 + outcome.signal
    baselines = _baselines(inputs)
    results = _results(outcome, baselines)
    atomic.write_text(folder / "genome.json", json.dumps(inputs.describe(), indent=2) + "\n")
    plotted = write_plot(folder / "training.png", rows=outcome.rows, baselines=baselines)
    write_card(folder / "README.md", config=config, inputs=inputs, model=model, results=results, plotted=plotted)
    provenance = {"genome": inputs.name, "genoconv_version": __version__, **results}
    save_model(model, folder, provenance=provenance)
    if not plotted:
        log.info("no training.png: matplotlib is missing; pip install 'genoconv[plot]'")
    log.info("%s; model in %s", summary(results), folder)
    return 0


def _model(config: TrainConfig) -> "HyenaDNA":
    """Fresh weights from the preset and the seed, or those of ``init``."""
    import torch

    from genoconv.models import HyenaDNA, load_model, preset
    from genoconv.models.config import ModelConfig

    if config.init is not None:
        if config.model:
            raise UsageError("model sizes cannot be changed when going on from --init; drop the model.* settings")
        model = load_model(config.init)
        if config.max_length and config.max_length > model.config.max_length:
            raise UsageError(
                f"--max-length {config.max_length:,}: the model in {config.init} was made for up to"
                f" {model.config.max_length:,} bases"
            )
        return model
    sizes = preset(config.preset)
    if config.max_length:
        sizes = replace(sizes, max_length=config.max_length)
    torch.manual_seed(config.run.seed)
    return HyenaDNA(ModelConfig.from_dict({**sizes.to_dict(), **config.model}))


def _introduce(config: TrainConfig, model: "HyenaDNA", inputs: Inputs) -> None:
    if config.genome == "demo":
        log.info("the demo genome is synthetic: generated by genoconv to be learnt from, not biological sequence")
    lengths = inputs.train["end"] - inputs.train["start"]
    log.info(
        "%s parameters, up to %s bases; learning from %s %s (%s bases, the longest %s) of %s",
        f"{sum(p.numel() for p in model.parameters()):,}",
        f"{model.config.max_length:,}",
        f"{len(inputs.train):,}",
        "genes" if inputs.genes else "tiles",
        f"{lengths.sum():,}",
        f"{lengths.max():,}",
        inputs.name,
    )


def _baselines(inputs: Inputs) -> list[float]:
    """Perplexities of the Markov models, on the very windows that the network was measured on."""
    from genoconv.train.baselines import markov_perplexities
    from genoconv.train.data import WindowReader

    def read(frame: Any) -> "list[Tokens]":
        reader = WindowReader(inputs.fasta, frame)
        return [reader.read(i)[0] for i in range(len(reader))]

    lengths = (inputs.train["end"] - inputs.train["start"]).cumsum()
    return markov_perplexities(read(inputs.train[lengths <= max(_BASELINE_BASES, lengths.iloc[0])]), read(inputs.valid))


def _results(outcome: "Outcome", baselines: list[float]) -> dict[str, Any]:
    measured = [row for row in outcome.rows if row.split == "valid"]
    if not measured or not math.isfinite(measured[-1].loss):
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
