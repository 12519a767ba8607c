"""One process's part of a fine-tuning run: model and records put together, trained, and written down."""

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genoconv.errors import ModelError, UsageError
from genoconv.pipelines.finetune.bases import BaseLabels, gather_bases
from genoconv.pipelines.finetune.inputs import Dataset, gather
from genoconv.pipelines.finetune.options import EPOCHS, MOST_ATTENDED, PATIENCE, FinetuneConfig
from genoconv.pipelines.train.folder import RECORDS, RunFolder, write_json
from genoconv.pipelines.train.session import advice, end_by_signal
from genoconv.progress import progress_bar

if TYPE_CHECKING:
    from genoconv.models.heads import Predictor
    from genoconv.pipelines.finetune.results import Rows
    from genoconv.train.job import Job, Outcome
    from genoconv.train.machine import Machine
    from genoconv.train.objectives.labelled import Labelled
    from genoconv.train.readers import Reader

log = logging.getLogger(__name__)

_LOOKED_AT = 512
"""Records whose vectors decide how those of a model that is trained as a whole are scaled."""

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Session:
    """Everything that a run of ``config`` needs.

    Attributes:
        folder: the model folder, held by the first process.
        machine: where to compute.
        model: with the weights of the model that it starts from, and a head that has learned nothing.
        data: the records.
        quiet: no progress bars.
        command: what was typed, for the record.
    """

    config: FinetuneConfig
    folder: Path
    machine: "Machine"
    model: "Predictor"
    data: Dataset
    quiet: bool
    command: str | None

    @classmethod
    def prepare(
        cls, config: FinetuneConfig, folder: Path, machine: "Machine", *, quiet: bool, command: str | None
    ) -> "Session":
        """Read and check all that the run needs; nothing is written."""
        quiet = quiet or not machine.is_first
        data = _data(config)
        model = _model(config, data).to(machine.device)
        return cls(config=config, folder=folder, machine=machine, model=model, data=data, quiet=quiet, command=command)

    @cached_property
    def _description(self) -> dict[str, Any]:
        from genoconv.models.checkpoint import model_digest

        return {
            **self.data.describe(),
            "model": {"name": self.config.model.name, "sha256": model_digest(self.config.model)},
        }

    def describe(self) -> dict[str, Any]:
        """For ``data.json``: what a resumed run must find again."""
        return self._description

    def complete(self, checkpoint: Path | None, held: RunFolder | None) -> int:
        """Train to the end and fill the model folder; returns the exit code.

        Args:
            checkpoint: to resume from.
            held: the folder, on the first process.
        """
        from genoconv.train import loop

        features = self._features()
        job = self._job(features)
        self._introduce(job)
        optim = self.config.optim
        rates = f"--lr {optim.lr / 4:.2g} --head-lr {optim.head_lr / 4:.2g}"
        with advice("finetune", self.folder, rates=rates, first=held is not None):
            outcome = loop.run(job, machine=self.machine, folder=self.folder, resume=checkpoint, quiet=self.quiet)
            if held is None:
                return 0
            end_by_signal(outcome)
            self._fill(held, outcome, features, planned=job.settings.max_steps or 0)
        return 0

    def _features(self) -> Array | None:
        """The vectors of all records, where they stay as they are; those of some of them scale the head in any case."""
        from genoconv.pipelines.finetune.base_vectors import sample
        from genoconv.pipelines.finetune.vectors import pooled

        train = self.data.members("train")
        if self.config.per_base:
            self._scale(sample(self, train).vectors(self.model))
            return None
        cached = self.config.mode == "head" and self.model.head.attention is None
        wanted = np.arange(len(self.data.sequences)) if cached else train[:: -(-len(train) // _LOOKED_AT)]
        bases = sum(len(self.data.sequences[number]) for number in wanted)
        with progress_bar("Embedding", total=bases, unit="bases", quiet=self.quiet) as advance:
            vectors = pooled(self.model, [self.data.sequences[number] for number in wanted], advance=advance)
        self._scale(vectors[train] if cached else vectors)
        if cached and self.config.class_weights == "none":
            self._begin_with_linear_fit(vectors)
        return vectors if cached else None

    def _begin_with_linear_fit(self, vectors: Array) -> None:
        """Start at the linear model with the best penalty, which training alone comes near to but seldom reaches."""
        from genoconv.pipelines.finetune.baselines import MOST_RECORDS
        from genoconv.train.probes import fit_probe

        train, valid = self.data.members("train"), self.data.members("valid")
        train = train[:: -(-len(train) // MOST_RECORDS)]
        known = self.data.labels.known
        fit_probe(self.model.head.config, vectors[train], known(train), valid=(vectors[valid], known(valid))).give(
            self.model.head
        )

    def _scale(self, vectors: Array) -> None:
        import torch

        head = self.model.head
        head.standardise(torch.from_numpy(vectors))
        if self.data.labels.kind == "regression":
            known = self.data.labels.known(self.data.members("train"))
            head.offset.copy_(torch.from_numpy(np.nanmean(known, 0, dtype=np.float64)))
            spread = np.nanstd(known, 0, dtype=np.float64)
            head.unit.copy_(torch.from_numpy(np.where(spread > 0, spread, 1).astype(np.float32)))

    @cached_property
    def objective(self) -> "Labelled":
        """What is learned."""
        from genoconv.train.objectives.labelled import Labelled

        return Labelled(self.model.head.config, weights=self._class_weights())

    def _class_weights(self) -> list[float] | None:
        """Weights with which every class counts alike, their mean over the records one; None without weights."""
        kind = self.data.labels.kind
        if self.config.class_weights == "none" or kind == "regression":
            return None
        targets = self.data.labels.known(self.data.members("train"))
        if kind == "multilabel":
            positive = np.nanmean(targets, axis=0)
            return [float(w) for w in (1 - positive).clip(1e-3) / positive.clip(1e-3)]
        counts = np.bincount(targets[:, 0].astype(np.int64), minlength=len(self.data.labels.names)).clip(1)
        return [float(w) for w in counts.sum() / (len(counts) * counts)]

    def _job(self, features: Array | None) -> "Job":
        from genoconv.train.job import Job
        from genoconv.train.settings import Stage

        def reader(split: str) -> "Reader":
            return self.data.labels.reader(self.data.sequences, self.data.members(split), features)

        train = reader("train")
        present = [split for split in ("valid", "test") if len(self.data.members(split))]
        held_out: dict[str, Reader] = {split: reader(split) for split in present}
        bases = max(int(some.lengths.sum()) for some in held_out.values())
        data = self.config.data.model_copy(
            update={"stages": (Stage(length=int(train.lengths.max())),), "valid_tokens": bases, "workers": 0}
        )
        steps = self._steps_per_epoch(train.lengths)
        epochs = self.config.epochs or EPOCHS[self.config.mode]
        run = self.config.run
        settings = run.model_copy(
            update={
                "max_steps": min(run.max_steps or epochs * steps, epochs * steps),
                "validate_every": run.validate_every or steps,
            }
        )
        return Job(
            model=self.model,
            objective=self.objective,
            train=train,
            held_out=held_out,
            flips=data.reverse_complement is True,
            noise=self.config.learned_noise,
            data=data,
            optim=self.config.optim,
            settings=settings,
            keep_best=True,
            patience=self.config.patience or PATIENCE[self.config.mode],
        )

    def _steps_per_epoch(self, lengths: npt.NDArray[np.int64]) -> int:
        from genoconv.genome.windows.batches import batch_plan

        data = self.config.data
        most = max(data.tokens_per_batch, int(lengths.max()))
        batches = len(batch_plan(lengths.tolist(), tokens_per_batch=most, seed=self.config.run.seed, epoch=0))
        return max(1, batches // (data.accumulate * self.machine.processes))

    def _introduce(self, job: "Job") -> None:
        trained = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        every = sum(p.numel() for p in self.model.parameters())
        log.info(
            "training %s of %s parameters for up to %s steps, %s per epoch",
            f"{trained:,}",
            f"{every:,}",
            f"{job.settings.max_steps:,}",
            f"{job.settings.validate_every:,}",
        )

    def _fill(self, held: RunFolder, outcome: "Outcome", features: Array | None, *, planned: int) -> None:
        """Write what makes the folder of a run a model folder, the weights and ``config.json`` last."""
        from genoconv.models.checkpoint import save_model
        from genoconv.pipelines.finetune.base_results import evaluate_bases
        from genoconv.pipelines.finetune.report import CARD, PLOT, write_card, write_plot
        from genoconv.pipelines.finetune.results import evaluate, main_figure, provenance, summary

        self.model.to(self.machine.device)  # training leaves it on the CPU
        if self.config.mode == "lora":
            self._merge()
        write_json(held.path / RECORDS, self.describe())
        if self.config.per_base:
            results = evaluate_bases(self)
        else:
            results = evaluate(self, features, self._baselines(features))
        plotted = write_plot(held.path / PLOT, splits=results, figure=main_figure(results))
        if not plotted:
            log.info("no %s: matplotlib is missing; pip install 'genoconv[plot]'", PLOT)
        write_card(held.path / CARD, session=self, results=results, steps=outcome.step, plotted=plotted)
        save_model(self.model, held.path, provenance=provenance(self, outcome, results, planned=planned))
        held.end()
        log.info("%s; model in %s", summary(results), self.folder)

    def _merge(self) -> None:
        """Merge the low-rank updates into the weights, and see that the model computes what it did.

        Raises:
            ModelError: it does not.
        """
        import torch

        from genoconv.models.lora import merge_lora

        tokens = max(self.data.sequences[:_LOOKED_AT], key=len)[: self.model.config.max_bases]
        ids = torch.from_numpy(tokens)[None].long().to(next(self.model.parameters()).device)
        with torch.no_grad():
            before = self.model.eval().outputs(ids)
            merge_lora(self.model)
            after = self.model.outputs(ids)
        if not torch.allclose(before, after, rtol=1e-3, atol=1e-4):
            difference = float((before - after).abs().max())
            raise ModelError(f"the outputs of the merged weights differ from those of the updates by {difference:.3g}")

    def _baselines(self, features: Array | None) -> "dict[str, Rows]":
        """Predictions of the baselines by their names, where they are wanted."""
        from genoconv.pipelines.finetune.baselines import baselines

        if not self.config.baselines:
            return {}
        found = {}
        with progress_bar("Measuring baselines", unit="models", quiet=self.quiet) as advance:
            for name, predicted in baselines(self, features):
                found[name] = predicted
                advance(1)
        return found


def _data(config: FinetuneConfig) -> Dataset:
    if not config.per_base:
        return gather(config)
    from genoconv.models.checkpoint import model_config

    return gather_bases(config, longest=model_config(config.model).max_bases)


def _model(config: FinetuneConfig, data: Dataset) -> "Predictor":
    """The model to start from, with a new head for the labels of ``data``."""
    import torch

    from genoconv.models import load_model
    from genoconv.models.heads import HeadConfig, Predictor
    from genoconv.models.lora import TARGETS, add_lora

    longest = max(map(len, data.sequences))
    head = HeadConfig(
        kind=data.labels.kind,
        labels=data.labels.names,
        pooling=config.pooled_by(longest),
        layers=config.seen_layers(longest),
        both_strands=config.both_strands,
        stranded=isinstance(data.labels, BaseLabels) and data.labels.stranded,
    )
    torch.manual_seed(config.run.seed)
    model = Predictor.on(load_model(config.model), head)
    if config.mode == "head":
        model.freeze()
    elif config.mode == "lora":
        add_lora(model, rank=config.rank, alpha=config.alpha, targets=config.lora_targets or TARGETS)
    if longest > model.config.max_bases:
        log.info(
            "sequences longer than the maximum of %s bases (up to %s) are read in parts",
            f"{model.config.max_bases:,}",
            f"{longest:,}",
        )
    if config.pooling == "attention" and longest > MOST_ATTENDED:
        raise UsageError(
            "--pooling attention keeps the states of a whole record in memory; use mean for records of megabases"
        )
    return model
