"""One process's part of a run: model, inputs and machine put together, trained, and written down."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genoconv.errors import DivergedError, Interrupted, UsageError
from genoconv.pipelines.train.folder import GENOME, RunFolder, write_json
from genoconv.pipelines.train.inputs import Inputs, gather
from genoconv.pipelines.train.options import TrainConfig
from genoconv.pipelines.train.results import measure_baselines, provenance, results_of, summary
from genoconv.wording import count, shell

if TYPE_CHECKING:
    from genoconv.models.hyena import HyenaDNA
    from genoconv.pipelines.train.memory import Fit
    from genoconv.train.job import Job, Outcome
    from genoconv.train.machine import Machine

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Session:
    """Everything that a run of ``config`` needs.

    Attributes:
        folder: the model folder, held by the first process.
        machine: where to compute.
        model: with its first weights.
        inputs: sequence and windows.
        quiet: no progress bars.
        command: what was typed, for the record.
    """

    config: TrainConfig
    folder: Path
    machine: "Machine"
    model: "HyenaDNA"
    inputs: Inputs
    quiet: bool
    command: str | None

    @classmethod
    def prepare(
        cls,
        config: TrainConfig,
        folder: Path,
        machine: "Machine",
        *,
        offline: bool,
        quiet: bool,
        command: str | None,
    ) -> "Session":
        """Read and check all that the run needs; nothing is written."""
        from genoconv.train.job import stages

        quiet = quiet or not machine.is_first
        model = _model(config)
        longest = min(config.max_length or model.config.max_bases, model.config.max_bases)
        read = stages(config.data, longest=longest, max_steps=config.run.max_steps)
        if machine.accelerator == "cuda":
            from genoconv.pipelines.train.kernels import compile_ahead

            compile_ahead((stage.length for stage in read), sizes=model.config, machine=machine)
        inputs = gather(config, max_length=longest, offline=offline, quiet=quiet)
        return cls(
            config=config,
            folder=folder,
            machine=machine,
            model=model,
            inputs=inputs,
            quiet=quiet,
            command=command,
        )

    @cached_property
    def _description(self) -> dict[str, Any]:
        record = self.inputs.describe()
        if self.config.init is not None:
            from genoconv.models.checkpoint import model_digest

            record["init_sha256"] = model_digest(self.config.init)
        return record

    def describe(self) -> dict[str, Any]:
        """For ``genome.json``; reads the whole sequence the first time."""
        return self._description

    @property
    def flips(self) -> tuple[bool, ...]:
        """Whether half of the windows are read on the other strand, for each source."""
        wanted = self.config.data.reverse_complement
        return tuple(not one.stranded if wanted == "auto" else wanted for one in self.inputs.assemblies)

    def complete(self, checkpoint: Path | None, held: RunFolder | None) -> int:
        """Train to the end and fill the model folder; returns the exit code.

        Args:
            checkpoint: to resume from.
            held: the folder, on the first process.
        """
        from genoconv.train import loop

        self._introduce()
        optim = self.config.optim
        rates = f"--set optim.lr={optim.lr / 4:.2g} --set optim.filter_lr={optim.filter_lr / 4:.2g}"
        with advice("train", self.folder, rates=rates, first=held is not None):
            outcome = loop.run(
                self.job(), machine=self.machine, folder=self.folder, resume=checkpoint, quiet=self.quiet
            )
            if held is None:
                return 0
            end_by_signal(outcome)
            baselines = measure_baselines(self.inputs, outcome, both_strands=any(self.flips), quiet=self.quiet)
            results = results_of(self.inputs, outcome, baselines)
            self._fill(held, outcome, results)
        log.info("%s; model in %s", summary(results), self.folder)
        if self.config.run.calibrate:
            from genoconv.pipelines.train.calibration import calibrate_run

            calibrate_run(self, seconds=outcome.seconds, tokens=outcome.tokens)
        return 0

    @cached_property
    def _fit(self) -> "Fit":
        from genoconv.pipelines.train.memory import fit
        from genoconv.train.job import stages

        run, data = self.config.run, self.config.data
        lengths = self.inputs.reader("train").lengths
        read = stages(data, longest=int(lengths.max()), max_steps=run.max_steps)
        longest = min(int(lengths.max()), max(stage.length for stage in read))
        return fit(run, data, sizes=self.model.config, longest=longest, machine=self.machine)

    def job(self) -> "Job":
        """What the training loop has to do."""
        import numpy as np

        from genoconv.train.job import Job
        from genoconv.train.objectives.next_base import NextBase

        train = self.inputs.reader("train", learn=True)
        held_out = {split: self.inputs.reader(split) for split in ("valid", "test")}
        return Job(
            model=self.model,
            objective=NextBase(self.inputs.strata),
            train=train,
            held_out={split: reader for split, reader in held_out.items() if len(reader)},
            flips=np.repeat(np.array(self.flips), train.parts),
            data=self.config.data,
            optim=self.config.optim,
            settings=self.config.run,
            often=self.inputs.often(),
            recompute=self._fit.recompute,
            at_once=self._fit.at_once,
            packing=self.config.data.packing,
        )

    def _introduce(self) -> None:
        if self.inputs.demo:
            log.info("the demo genome is synthetic: it was generated by genoconv and is not biological")
        lengths = self.inputs.reader("train").lengths
        log.info(
            "%s parameters, up to %s bases; training on %s (%s bases, the longest %s) of %s",
            f"{sum(p.numel() for p in self.model.parameters()):,}",
            f"{self.model.config.max_bases:,}",
            self.inputs.summary("train"),
            f"{lengths.sum():,}",
            f"{lengths.max():,}",
            self.inputs.name,
        )
        if self.inputs.notes():
            log.info("windows: %s", "; ".join(self.inputs.notes()))
        self._introduce_stages(int(lengths.max()))
        if self._fit.reason:
            state = "on" if self._fit.recompute else "off"
            log.info("activation checkpointing is %s: %s", state, self._fit.reason)
        if self._fit.at_once is not None:
            batch = self.config.data.tokens_per_batch
            log.info("batches of %s bases are computed %s at a time", f"{batch:,}", f"{self._fit.at_once:,}")
        if self.config.run.calibrate:
            log.info("the finished model will be calibrated on a sample, in up to 5% of the run's time and 20 seconds")
        shares = self.inputs.shares()
        if shares:
            log.info("bases read: %s", ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))

    def _introduce_stages(self, longest: int) -> None:
        from genoconv.train.job import stages

        steps = stages(self.config.data, longest=longest, max_steps=self.config.run.max_steps)
        parts = [f"{stage.length:,} bases for {count(stage.steps, 'step')}" for stage in steps if stage.steps]
        last = steps[-1].length
        if parts or last < longest:
            end = "whole windows" if last >= longest else f"{last:,} bases"
            log.info("training on random stretches of longer windows: %s", ", then ".join([*parts, end]))
        self._introduce_packing(last)

    def _introduce_packing(self, longest: int) -> None:
        from genoconv.genome.windows.batches import expected_padding
        from genoconv.train.packing import packs

        data, lengths = self.config.data, self.inputs.reader("train").lengths
        if packs(data.packing, lengths, longest=longest, tokens_per_batch=data.tokens_per_batch):
            share = expected_padding(lengths.clip(max=longest).tolist(), tokens_per_batch=data.tokens_per_batch)
            log.info(
                "windows of different lengths are packed end to end: padding would be %.0f%% of a batch", 100 * share
            )

    def _fill(self, held: RunFolder, outcome: "Outcome", results: dict[str, Any]) -> None:
        """Write what makes the folder of a run a model folder, the weights and ``config.json`` last."""
        from genoconv.models.checkpoint import save_model
        from genoconv.pipelines.train.report import write_card, write_curve, write_plot
        from genoconv.tasks.calibration import NAME

        write_json(held.path / GENOME, self.describe())
        baselines = results["markov_perplexities"]
        plotted = write_plot(held.path / "training.png", rows=outcome.rows, baselines=baselines)
        if not plotted:
            log.info("no training.png: matplotlib is missing; pip install 'genoconv[plot]'")
        write_curve(held.path / "training_mqc.yaml", name=held.path.resolve().name, rows=outcome.rows)
        write_card(held.path / "README.md", session=self, results=results, plotted=plotted)
        (held.path / NAME).unlink(missing_ok=True)  # of the weights before a run that is trained further
        save_model(self.model, held.path, provenance=provenance(self, results))
        held.end()


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


@contextmanager
def advice(command: str, folder: Path, *, rates: str, first: bool) -> Iterator[None]:
    """Say how to resume a run that ends early.

    Args:
        command: that made the run: ``train``.
        folder: of the run.
        rates: options of that command which lower the learning rates.
        first: whether this is the first process; the others leave it to speak.
    """
    again = shell("genoconv", command, "--resume", folder)
    try:
        yield
    except DivergedError as error:
        if not first:
            raise SystemExit(0) from None  # all of them met it, and the first one says so
        raise DivergedError(f"{error}; lower the learning rates and resume: {again} {rates}") from error
    except KeyboardInterrupt as stop:
        if not first:
            raise SystemExit(128 + signal.SIGINT) from None
        raise Interrupted(f"resume with: {again}") from stop
    except SystemExit:
        if first:
            log.warning("interrupted; resume with: %s", again)
        raise


def end_by_signal(outcome: "Outcome") -> None:
    """Leave with the code of the signal that ended a run early, 128 + its number."""
    if outcome.signal is not None:
        log.warning("stopped by %s after step %d", signal.Signals(outcome.signal).name, outcome.step)
        raise SystemExit(128 + outcome.signal)
