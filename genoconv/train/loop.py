"""One training run under Lightning: from a model and windows to weights and measurements."""

import logging
import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch.utils.data import DataLoader

from genoconv.errors import ModelError, UsageError
from genoconv.genome.batches import batch_plan
from genoconv.models.hyena import HyenaDNA
from genoconv.progress import progress_bar
from genoconv.train.callbacks import Checkpoints, Measuring, Stopping
from genoconv.train.clock import Clock
from genoconv.train.data import Batch, Share, TrainingBatches, WindowReader, collate
from genoconv.train.metrics import MetricsFile, Row
from genoconv.train.module import LanguageModel
from genoconv.train.settings import DataSettings, OptimSettings, RunSettings, Stage

_CHECKPOINTING_FROM = 65_536
_WARM_UP_FROM = 8_192
_FIRST_STAGE = (1_024, 100)


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        step, tokens, seconds: done in all, interruptions included.
        rows: all measurements.
        signal: the signal that ended it early, or None.
        checkpoint: the last one saved.
    """

    step: int
    tokens: int
    seconds: float
    rows: list[Row]
    signal: int | None
    checkpoint: Path


def is_first_process() -> bool:
    """Whether this process writes files: every run has one such, however many GPUs and nodes it spans."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def stages(settings: DataSettings, *, longest: int) -> tuple[Stage, ...]:
    """The lengths of a run: those asked for, or a warm-up towards windows of ``longest`` bases."""
    if settings.stages:
        return settings.stages
    length, steps = _FIRST_STAGE
    found = []
    while longest >= _WARM_UP_FROM and length < longest:
        found.append(Stage(length=length, steps=steps))
        length *= 4
    return (*found, Stage(length=longest))


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
    state = _read_checkpoint(resume) if resume else None
    seconds = None if settings.max_minutes is None else 60 * settings.max_minutes
    clock = Clock(max_steps=settings.max_steps, max_seconds=seconds)
    module = LanguageModel(model, optim=optim, clock=clock, seed=settings.seed)
    longest = int(train.lengths.max())
    checkpointing = settings.activation_checkpointing
    model.checkpointing = checkpointing == "yes" or (checkpointing == "auto" and longest >= _CHECKPOINTING_FROM)

    first_step = int(state["global_step"]) if state else 0
    checkpoints = Checkpoints(folder / "checkpoints", every=settings.checkpoint_every, saved=first_step)
    checkpoints.folder.mkdir(exist_ok=True)
    stopping = Stopping(clock)
    metrics = MetricsFile(folder / "metrics.csv", step=first_step) if is_first_process() else None
    with progress_bar("Training", total=1.0, quiet=quiet) as advance:
        measuring = Measuring(metrics, every=settings.log_every, advance=advance)
        trainer = _trainer(settings, data, optim, folder, [measuring, checkpoints, stopping])
        share = Share(trainer.global_rank, trainer.world_size, int(state["genoconv"]["batches"]) if state else 0)
        plan = [
            Stage(length=s.length, steps=s.steps and s.steps * data.accumulate) for s in stages(data, longest=longest)
        ]
        batches = TrainingBatches(
            train,
            stages=plan,
            tokens_per_batch=max(data.tokens_per_batch, longest),
            flips=flips,
            seed=settings.seed,
            share=share,
        )
        held_out = _held_out(valid, data, share)
        checkpoint = str(resume) if resume else None
        trainer.fit(module, _loader(batches, workers=data.workers), held_out, ckpt_path=checkpoint, weights_only=True)
        saved = checkpoints.save(trainer)
        if stopping.signal is None and not measuring.measured(trainer.global_step):
            trainer.validate(module, held_out, verbose=False)
    if metrics is not None:
        metrics.close()
    return Outcome(
        step=trainer.global_step,
        tokens=clock.tokens * trainer.world_size,
        seconds=clock.seconds,
        rows=metrics.rows if metrics else [],
        signal=stopping.signal,
        checkpoint=saved,
    )


def _trainer(
    settings: RunSettings, data: DataSettings, optim: OptimSettings, folder: Path, callbacks: list[pl.Callback]
) -> pl.Trainer:
    accelerator, devices = _devices(settings.device)
    bf16 = settings.precision == "bf16" or (
        settings.precision == "auto" and accelerator == "cuda" and torch.cuda.is_bf16_supported()
    )
    slurm = settings.launcher == "slurm" or (settings.launcher == "auto" and "SLURM_NTASKS" in os.environ)
    many = settings.nodes > 1 or (devices if isinstance(devices, int) else len(devices)) > 1
    logger: Any = False
    if settings.tensorboard:
        from pytorch_lightning.loggers import TensorBoardLogger

        logger = TensorBoardLogger(folder, name=None, version="tensorboard")
    return pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=settings.nodes,
        strategy="ddp" if many else "auto",
        precision="bf16-mixed" if bf16 else "32-true",
        max_steps=settings.max_steps or -1,
        max_epochs=-1,
        accumulate_grad_batches=data.accumulate,
        gradient_clip_val=optim.clip,
        val_check_interval=settings.validate_every * data.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=None if slurm else [LightningEnvironment()],
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _devices(device: str) -> tuple[str, int | list[int]]:
    """Lightning's accelerator and devices for ``--device``."""
    count = torch.cuda.device_count()
    kind, _, number = device.partition(":")
    if kind == "auto":
        kind = "cuda" if count else "cpu"
    if kind == "cpu":
        return "cpu", 1
    if not count or (number and int(number) >= count):
        raise UsageError(f"--device {device}: torch sees {count} CUDA devices; `genoconv doctor` says why")
    return "cuda", [int(number)] if number else count


def _loader(batches: TrainingBatches, *, workers: int) -> DataLoader[Batch]:
    return DataLoader(batches, batch_size=None, num_workers=workers, pin_memory=torch.cuda.is_available())


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
    for name in ("pytorch_lightning", "lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for module in ("pytorch_lightning", "lightning_fabric"):
        warnings.filterwarnings("ignore", module=rf"{module}\b.*")
