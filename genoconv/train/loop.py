"""One training run under Lightning: from a model and windows to weights and measurements."""

import contextlib
import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from genoconv.errors import GenoconvError, ModelError, TrainingError
from genoconv.models.hyena import HyenaDNA
from genoconv.progress import noted_bar
from genoconv.train.batch import Batch, Parcel
from genoconv.train.best import Best
from genoconv.train.callbacks import Measuring, Pacing
from genoconv.train.checkpoints import Checkpoints, Files, Restored, read_checkpoint
from genoconv.train.clock import Clock
from genoconv.train.cluster import is_worker
from genoconv.train.display import Display
from genoconv.train.foresight import warn_of_short_minutes
from genoconv.train.group import Processes, parting
from genoconv.train.held_out import HeldOut
from genoconv.train.interrupts import Interrupts
from genoconv.train.job import Job, Outcome, stages
from genoconv.train.machine import Machine
from genoconv.train.metrics import MetricsFile
from genoconv.train.mixture import JoinedReader
from genoconv.train.module import Learner
from genoconv.train.pace import Pace
from genoconv.train.settings import Stage
from genoconv.train.stream import Share, TrainingBatches, begin_reading
from genoconv.train.validating import Validating
from genoconv.train.workers import is_lost_connection, workers

_AHEAD = 8
"""Batches that each reading process is ahead: steps do not wait while the next epoch is drawn."""

# What Lightning does by itself and we do otherwise: checkpoints, bar, summary, shares of the data.
_SILENT: dict[str, Any] = {
    "num_sanity_val_steps": 0,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "use_distributed_sampler": False,
}


def run(job: Job, *, machine: Machine, folder: Path, resume: Path | None = None, quiet: bool = False) -> Outcome:
    """Train a model in place.

    Args:
        job: what to do.
        machine: where to compute.
        folder: an existing folder for ``metrics.csv`` and ``checkpoints``.
        resume: checkpoint to resume from.
        quiet: no progress bar.

    Raises:
        TrainingError: the loss is NaN or exploded, or another process of the run failed.
        ModelError: ``resume`` is damaged or of another model.
        DataError: ``metrics.csv`` is not what a run writes.
    """
    _hush()
    if isinstance(job.model, HyenaDNA):
        job.model.checkpointing = job.recompute
    job.model.train()  # Lightning keeps the mode that it finds
    best = Best(job.model, patience=job.patience) if job.keep_best else None
    restored = read_checkpoint(resume, job.model, terms=job.objective.terms, best=best) if resume else None
    with contextlib.ExitStack() as stack:
        metrics = None
        if machine.is_first:
            (folder / "checkpoints").mkdir(exist_ok=True)
            step = restored.step if restored else 0
            metrics = MetricsFile(folder / "metrics.csv", names=job.objective.names, step=step)
            stack.enter_context(contextlib.closing(metrics))
        display = Display(stack.enter_context(noted_bar("Training", quiet=quiet or not machine.is_first)))
        interrupts = Interrupts(processes=machine.processes, worker=is_worker(), quiet=not machine.is_first)
        stack.enter_context(interrupts)
        if machine.starts_workers:
            interrupts.abandon = stack.enter_context(workers(machine.devices, nodes=machine.nodes))
        limit = job.settings.max_minutes
        if limit is not None and machine.is_first and machine.accelerator == "cpu" and not restored:
            warn_of_short_minutes(job, seconds=60 * limit)
        parts = _Parts.assemble(job, machine, folder, restored, best, metrics, display, interrupts)
        with parting():
            _fit(parts, machine, restored)
        return parts.outcome()


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """Everything that takes part in a run, put together."""

    job: Job
    trainer: pl.Trainer
    learner: Learner
    clock: Clock
    batches: TrainingBatches
    held_out: dict[str, HeldOut]
    pacing: Pacing
    best: Best | None
    metrics: MetricsFile | None

    @classmethod
    def assemble(
        cls,
        job: Job,
        machine: Machine,
        folder: Path,
        restored: Restored | None,
        best: Best | None,
        metrics: MetricsFile | None,
        display: Display,
        interrupts: Interrupts,
    ) -> "_Parts":
        settings, step = job.settings, restored.step if restored else 0
        minutes = settings.max_minutes
        clock = Clock(max_steps=settings.max_steps, max_seconds=None if minutes is None else 60 * minutes)
        held_out = _held_out(job)
        pace = Pace(clock, every=settings.validate_every, held_out=list(held_out.values()), world=machine.processes)
        learner = Learner(
            job.model,
            objective=job.objective,
            optim=job.optim,
            clock=clock,
            seed=settings.seed,
            at_once=job.at_once,
            graphs=settings.cuda_graphs,
        )
        if best is not None and restored:
            learner.state["best"] = best.state()
        if restored and restored.limits:
            pace.resume_limits(restored.limits)
            learner.state["limits"] = restored.limits
        pacing = Pacing(pace, interrupts)
        measuring = Measuring(
            clock,
            metrics,
            display,
            every=settings.log_every,
            pacing=pacing,
            pending=restored.pending if restored else [],
        )
        checkpoints = Checkpoints(folder / "checkpoints", clock, measuring, every=settings.checkpoint_every, saved=step)
        rows = metrics.rows if metrics else []
        validated = max(((row.step, row.loss) for row in rows if row.split == "valid"), default=(-1, 0.0))
        share = Share(machine.rank, machine.processes, restored.batches if restored else 0)
        validating = Validating(
            pacing, measuring, held_out, share=share, validated=validated, save=checkpoints.save, best=best
        )
        trainer = pl.Trainer(
            accelerator=machine.accelerator,
            devices=machine.lightning_devices,
            num_nodes=machine.nodes,
            strategy=Processes() if machine.processes > 1 else "auto",
            plugins=[machine.environment, Files()],
            precision=machine.lightning_precision,
            max_steps=-1,  # the pace ends it
            max_epochs=-1,
            accumulate_grad_batches=job.data.accumulate,
            callbacks=[pacing, measuring, checkpoints, validating],
            logger=_tensorboard(folder) if settings.tensorboard else False,
            **_SILENT,
        )
        # Lightning lets all processes and their GPUs wait for one another in every step, to ask for a SIGTERM. Ours are
        # asked for by the pacing.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None
        return cls(
            job=job,
            trainer=trainer,
            learner=learner,
            clock=clock,
            batches=_batches(job, share),
            held_out=held_out,
            pacing=pacing,
            best=best,
            metrics=metrics,
        )

    def outcome(self) -> Outcome:
        """How it ended; the model is ready to be used."""
        self.job.model.eval()
        return Outcome(
            step=self.trainer.global_step,
            tokens=self.clock.tokens,
            seconds=self.clock.seconds,
            rows=self.metrics.rows if self.metrics else [],
            signal=self.pacing.signal or None,
            measured={name: some.windows for name, some in self.held_out.items()},
            best_step=self.best.step if self.best else None,
            stopped_early=bool(self.best and self.best.exhausted),
        )


def _fit(parts: _Parts, machine: Machine, restored: Restored | None) -> None:
    """Train to the end, with errors in words of ours."""
    loader = _loader(parts.batches, parts.job.data.workers)
    checkpoint = str(restored.path) if restored else None
    try:
        parts.trainer.fit(parts.learner, loader, ckpt_path=checkpoint, weights_only=True)
    except (GenoconvError, OSError, MemoryError):
        raise
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # which Lightning turns into exit code 1
            raise KeyboardInterrupt from None
        raise
    except torch.OutOfMemoryError as error:
        most = parts.job.at_once or parts.batches.tokens_per_batch
        batch = max(min(most, parts.batches.tokens_per_batch), parts.job.longest)
        raise TrainingError(
            f"out of GPU memory with {batch:,} bases at a time: set run.tokens_at_once to a smaller number, or"
            " run.activation_checkpointing=true"
        ) from error
    except Exception as error:
        if machine.processes > 1 and not machine.starts_workers and is_lost_connection(error):
            raise TrainingError("another process of this run failed; see its error message") from error
        if restored and not parts.pacing.begun:
            what = " ".join(str(error).split())[:200]
            raise ModelError(f"{restored.path}: cannot be restored ({type(error).__name__}: {what})") from error
        raise


def _held_out(job: Job) -> dict[str, HeldOut]:
    return {
        split: HeldOut(
            split,
            reader,
            bases=job.data.valid_tokens,
            tokens_per_batch=job.data.tokens_per_batch,
            parts=reader.parts if isinstance(reader, JoinedReader) else (),
            packed=job.packs(reader, longest=int(reader.lengths.max())),
        )
        for split, reader in job.held_out.items()
    }


def _batches(job: Job, share: Share) -> TrainingBatches:
    data, longest = job.data, job.longest
    plan = stages(data, longest=longest, max_steps=job.settings.max_steps)
    return TrainingBatches(
        job.train,
        stages=[Stage(length=stage.length, steps=stage.steps and stage.steps * data.accumulate) for stage in plan],
        tokens_per_batch=data.tokens_per_batch,
        flips=job.flips,
        seed=job.settings.seed,
        share=share,
        often=job.often,
        noise=job.noise,
        packed=[job.packs(job.train, longest=stage.length) for stage in plan],
    )


def _loader(batches: TrainingBatches, workers: int) -> DataLoader[Batch]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return DataLoader(
        batches,
        batch_size=None,
        collate_fn=Parcel,  # type: ignore[arg-type]  # of one batch
        prefetch_factor=_AHEAD if min(workers, cores) else None,
        num_workers=min(workers, cores),  # the order of the data does not depend on it
        worker_init_fn=begin_reading,
        pin_memory=torch.cuda.is_available(),
    )


def _tensorboard(folder: Path) -> Any:
    from pytorch_lightning.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name=None, version="tensorboard")


def _hush() -> None:
    """Lightning's banners, tips and advice are for people who wrote a training script."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for module in ("pytorch_lightning", "lightning_fabric"):
        warnings.filterwarnings("ignore", module=rf"{module}\b.*")
