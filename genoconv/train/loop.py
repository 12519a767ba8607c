"""One training run under Lightning: from a model and windows to weights and measurements."""

import contextlib
import logging
import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from genoconv.errors import ModelError, UsageError
from genoconv.genome.windows.batches import batch_plan
from genoconv.models.devices import resolve_precision
from genoconv.models.hyena import HyenaDNA
from genoconv.progress import progress_bar
from genoconv.train.callbacks import Checkpoints, Measuring, Stopping, anywhere
from genoconv.train.clock import Clock
from genoconv.train.cluster import is_first_process, place
from genoconv.train.data import Batch, Share, TrainingBatches, WindowReader, collate, leave_signals_to_parent
from genoconv.train.interrupts import Interrupts
from genoconv.train.metrics import MetricsFile, Row
from genoconv.train.module import LanguageModel
from genoconv.train.settings import DataSettings, OptimSettings, RunSettings, Stage

_CHECKPOINTING_FROM = 65_536
_WARM_UP_FROM = 8_192
_FIRST_LENGTH, _STAGE_STEPS = 1_024, 100

# Lightning's names of them.
_PRECISIONS: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed"}
# What Lightning does by itself and we do otherwise: checkpoints, bar, summary, shares of the data.
_SILENT: dict[str, Any] = {
    "num_sanity_val_steps": 0,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "use_distributed_sampler": False,
}


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        step, tokens, seconds: done in all, interruptions included.
        rows: all measurements.
        signal: the signal that ended it early, or None.
    """

    step: int
    tokens: int
    seconds: float
    rows: list[Row]
    signal: int | None


def stages(settings: DataSettings, *, longest: int, max_steps: int | None) -> tuple[Stage, ...]:
    """The lengths of a run: those asked for, or a warm-up towards windows of ``longest`` bases."""
    if settings.stages:
        return settings.stages
    lengths = []
    length = _FIRST_LENGTH
    while longest >= _WARM_UP_FROM and length < longest:
        lengths.append(length)
        length *= 4
    steps = min(_STAGE_STEPS, max(1, max_steps // (4 * len(lengths)))) if max_steps and lengths else _STAGE_STEPS
    return (*(Stage(length=length, steps=steps) for length in lengths), Stage(length=longest))


def run(
    model: HyenaDNA,
    *,
    train: WindowReader,
    valid: WindowReader,
    flips: bool,
    data: DataSettings,
    optim: OptimSettings,
    settings: RunSettings,
    folder: Path,
    resume: Path | None = None,
    quiet: bool = False,
) -> Outcome:
    """Train ``model`` in place.

    Args:
        model: on the CPU; Lightning moves it.
        train, valid: windows to learn from and to measure on.
        flips: read a random half of the training windows on the other strand.
        data, optim, settings: see :mod:`.settings`.
        folder: an existing folder for ``metrics.csv`` and ``checkpoints``.
        resume: checkpoint to go on from.
        quiet: no progress bar.

    Raises:
        TrainingError: the loss is NaN or exploded.
        UsageError: no such device, or nothing says when to stop.
        ModelError: ``resume`` is damaged or of another model.
    """
    if settings.max_steps is None and settings.max_minutes is None:
        raise UsageError("nothing says when to stop; give --max-steps or --max-minutes")
    _hush()
    first = is_first_process(settings.launcher)
    quiet = quiet or not first
    accelerator, devices = _devices(settings.device, settings.devices)
    cluster = place(settings, devices if isinstance(devices, int) else len(devices))
    state = _read_checkpoint(resume) if resume else None
    done_steps = int(state["global_step"]) if state else 0
    clock = Clock(
        max_steps=settings.max_steps, max_seconds=None if settings.max_minutes is None else 60 * settings.max_minutes
    )
    longest = int(train.lengths.max())
    checkpointing = settings.activation_checkpointing
    model.checkpointing = longest >= _CHECKPOINTING_FROM if checkpointing == "auto" else checkpointing
    model.train()  # Lightning keeps the mode that it finds
    metrics = None
    if first:
        (folder / "checkpoints").mkdir(exist_ok=True)
        metrics = MetricsFile(folder / "metrics.csv", step=done_steps)
    validated = max((row.step for row in metrics.rows if row.split == "valid"), default=-1) if metrics else -1
    with (
        progress_bar("Training", total=100, unit="%", quiet=quiet) as advance,
        Interrupts(processes=cluster.devices * cluster.nodes, quiet=not first) as interrupts,
        contextlib.closing(metrics) if metrics else contextlib.nullcontext(),
    ):
        measuring = Measuring(clock, metrics, every=settings.log_every, validated=validated, advance=advance)
        checkpoints = Checkpoints(folder / "checkpoints", clock, every=settings.checkpoint_every, saved=done_steps)
        trainer = pl.Trainer(
            accelerator=accelerator,
            devices=devices if cluster.devices == 1 else cluster.devices,
            num_nodes=cluster.nodes,
            strategy="ddp" if cluster.devices * cluster.nodes > 1 else "auto",
            plugins=[cluster.environment],
            precision=_PRECISIONS[resolve_precision(settings.precision, device=accelerator)],
            max_steps=settings.max_steps or -1,
            max_epochs=-1,
            accumulate_grad_batches=data.accumulate,
            gradient_clip_val=optim.clip,
            val_check_interval=settings.validate_every * data.accumulate,
            check_val_every_n_epoch=None,
            callbacks=[Stopping(clock, interrupts), measuring, checkpoints],
            logger=_tensorboard(folder) if settings.tensorboard else False,
            **_SILENT,
        )
        share = Share(trainer.global_rank, trainer.world_size, int(state["genoconv"]["batches"]) if state else 0)
        plan = stages(data, longest=longest, max_steps=settings.max_steps)
        batches = TrainingBatches(
            train,
            stages=[Stage(length=stage.length, steps=stage.steps and stage.steps * data.accumulate) for stage in plan],
            tokens_per_batch=max(data.tokens_per_batch, longest),
            flips=flips,
            seed=settings.seed,
            share=share,
        )
        held_out = _held_out(valid, data, share)
        module = LanguageModel(model, optim=optim, clock=clock, seed=settings.seed, in_a_hurry=interrupts.came)
        checkpoint = str(resume) if resume else None
        try:
            trainer.fit(module, _loader(batches, data.workers), held_out, ckpt_path=checkpoint, weights_only=True)
            missing = trainer.strategy.broadcast(measuring.validated != trainer.global_step)
            if missing and not anywhere(trainer, interrupts.signal or 0):
                trainer.validate(module, held_out, verbose=False)
        except SystemExit:
            for process in getattr(trainer.strategy.launcher, "procs", ()):  # Lightning leaves them waiting
                process.kill()
            raise
    model.eval()
    return Outcome(
        step=trainer.global_step,
        tokens=clock.tokens * trainer.world_size,
        seconds=clock.seconds,
        rows=metrics.rows if metrics else [],
        signal=anywhere(trainer, interrupts.signal or 0) or None,
    )


def _devices(device: str, wanted: int | None) -> tuple[str, int | list[int]]:
    """Lightning's accelerator and devices for ``--device`` and ``run.devices``."""
    count = torch.cuda.device_count()
    kind, _, number = device.partition(":")
    if kind == "auto":
        kind = "cuda" if count else "cpu"
    if kind == "cpu":
        return "cpu", wanted or 1
    if not count or (number and int(number) >= count):
        raise UsageError(f"--device {device}: torch sees {count} CUDA devices; `genoconv doctor` says why")
    if wanted and wanted > (1 if number else count):
        raise UsageError(f"run.devices {wanted}: --device {device} gives {1 if number else count}; ask for fewer")
    return "cuda", [int(number)] if number else wanted or count


def _tensorboard(folder: Path) -> Any:
    from pytorch_lightning.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(folder, name=None, version="tensorboard")
    except ModuleNotFoundError:
        raise UsageError("run.tensorboard needs the extra: pip install 'genoconv[tensorboard]'") from None


def _loader(batches: TrainingBatches, workers: int) -> DataLoader[Batch]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=min(workers, cores),  # the order of the data does not depend on it
        worker_init_fn=leave_signals_to_parent,
        pin_memory=torch.cuda.is_available(),
    )


def _held_out(valid: WindowReader, data: DataSettings, share: Share) -> DataLoader[Batch]:
    """Every ``world``-th of the held-out windows, in batches, always the same."""
    mine = range(share.rank, len(valid), share.world)
    lengths = [int(valid.lengths[i]) for i in mine]
    limit = max(data.tokens_per_batch, *lengths) if lengths else data.tokens_per_batch
    plan = batch_plan(lengths, tokens_per_batch=limit, seed=0, epoch=0)
    batches = [collate([valid.read(mine[member]) for member in members]) for members in plan]
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{path}: damaged or no checkpoint of genoconv ({error}); remove it to use an older"
        ) from error
    if "genoconv" not in state or not math.isfinite(state["global_step"]):
        raise ModelError(f"{path}: not a checkpoint of `genoconv train`")
    return state


def _hush() -> None:
    """Lightning's banners, tips and advice are for people who wrote a training script."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for module in ("pytorch_lightning", "lightning_fabric"):
        warnings.filterwarnings("ignore", module=rf"{module}\b.*")
    # torch 2.11 warns so in every run on several GPUs under Lightning. It is about speed, not about results.
    warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream does not match")
