"""Options of ``genoconv finetune``: the record of a run, and of a call that makes or resumes one."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from genoconv.pipelines.lengths import Bases
from genoconv.pipelines.options import RUN, Options, argument, option, to_yaml
from genoconv.pipelines.shared_options import (
    SHIPPED_MODEL,
    TRAINED_WINDOW,
    Force,
    Names,
    Precision,
    Quiet,
    ResumedRun,
    TrainingDevice,
    several,
)
from genoconv.train.settings import DataSettings, HeadOptimSettings, RunSettings

DATA, LABELS, HEAD, SPLITS = "Input", "Labels", "Head and training", "Splits"


class FinetuneOptim(HeadOptimSettings):
    """Optimiser and schedule; see :class:`.HeadOptimSettings`."""

    lr: Annotated[
        float, Field(gt=0), option("--lr", metavar="LR", panel=HEAD, help="Peak learning rate of the backbone.")
    ] = 1e-3
    filter_lr: Annotated[float, Field(gt=0)] = 3e-4
    head_lr: Annotated[
        float, Field(gt=0), option("--head-lr", metavar="LR", panel=HEAD, help="Peak learning rate of the head.")
    ] = 3e-3


class FinetuneRun(RunSettings):
    """How long, where, and what is logged; see :class:`.RunSettings`. ``max_steps`` follows from the epochs."""

    max_minutes: Annotated[
        float | None,
        Field(gt=0),
        option(
            "--max-minutes", metavar="M", panel=RUN, help="Stop training after M minutes, even before the last epoch."
        ),
    ] = None
    seed: Annotated[
        int,
        Field(ge=0, lt=2**31),
        option("--seed", metavar="N", panel=RUN, help="Random seed for the splits, the order of records and dropout."),
    ] = 0
    device: TrainingDevice = "auto"
    precision: Precision = "auto"


class FinetuneConfig(Options):
    """Everything that decides a run: what its ``run.yaml`` holds."""

    keeps_paths: ClassVar[bool] = True

    table: Annotated[
        Path | None,
        argument(
            "TABLE",
            help="CSV, TSV or Parquet with sequences and labels; BED with --fasta; FASTA with --labels; or a folder of"
            " classes. With --per-base: a BED file of windows with --fasta, or a FASTA.",
        ),
    ] = None
    model: Annotated[
        Path,
        option(
            "--model",
            "-m",
            metavar="MODEL",
            panel=DATA,
            model=True,
            help="Model folder to start from, or a name from genoconv models list.",
        ),
    ] = SHIPPED_MODEL
    fasta: Annotated[
        Path | None, option("--fasta", "-f", metavar="FASTA", panel=DATA, help="Reference FASTA for a BED file.")
    ] = None
    label_file: Annotated[
        Path | None,
        option("--labels", metavar="FILE", panel=DATA, help="Labels for a FASTA: a table with columns id and label."),
    ] = None
    per_base: Annotated[
        tuple[Path, ...],
        BeforeValidator(several),
        option(
            "--per-base",
            metavar="FILE",
            panel=LABELS,
            help="Predict every base: its value in this bigWig (may be repeated), or which intervals of this BED file"
            " it lies in.",
        ),
    ] = ()
    window: Annotated[
        Bases | None,
        Field(ge=2),
        option(
            "--window",
            "-w",
            metavar="N",
            panel=LABELS,
            default=TRAINED_WINDOW,
            help="With --per-base: cut contigs and longer intervals into windows of at most N bases.",
        ),
    ] = None
    label: Annotated[
        Names,
        option("--label", metavar="COLUMN", panel=LABELS, help="Label column; may be repeated."),
    ] = ()
    task: Annotated[
        Literal["binary", "multiclass", "multilabel", "regression"] | None,
        option("--task", panel=LABELS, default="inferred from the labels", help="Type of the labels."),
    ] = None
    class_weights: Annotated[
        Literal["none", "balanced"],
        option("--class-weights", panel=LABELS, help="balanced gives rare classes more weight in the loss."),
    ] = "none"
    split_column: Annotated[
        str | None,
        option(
            "--split-column", metavar="COLUMN", panel=SPLITS, help="Column with train, valid and test, or with folds."
        ),
    ] = None
    split_by: Annotated[
        Literal["auto", "contig", "random"],
        option(
            "--split-by",
            panel=SPLITS,
            help="Split by contig, or at random within each class; auto uses the split column, or contigs for BED.",
        ),
    ] = "auto"
    valid: Annotated[
        Names,
        option(
            "--valid",
            metavar="NAME",
            panel=SPLITS,
            help="Contig (BED) or value of the split column to use for validation; may be repeated.",
        ),
    ] = ()
    test: Annotated[
        Names,
        option(
            "--test",
            metavar="NAME",
            panel=SPLITS,
            help="Contig (BED) or value of the split column to use for testing; may be repeated.",
        ),
    ] = ()
    valid_fraction: Annotated[
        float,
        Field(gt=0, lt=1),
        option("--valid-fraction", metavar="F", panel=SPLITS, help="Fraction of records held out for validation."),
    ] = 0.1
    test_fraction: Annotated[
        float,
        Field(ge=0, lt=1),
        option("--test-fraction", metavar="F", panel=SPLITS, help="Fraction of records held out for testing."),
    ] = 0.1
    drop_leaks: Annotated[
        bool,
        option(
            "--drop-leaks",
            panel=SPLITS,
            help="Drop training records that are nearly identical to a validation or test record.",
        ),
    ] = False
    mode: Annotated[
        Literal["head", "lora", "full"],
        option(
            "--mode",
            panel=HEAD,
            help="Train only the head, also low-rank updates of the projections (lora), or all weights.",
        ),
    ] = "head"
    rank: Annotated[
        int, Field(ge=1), option("--rank", metavar="R", panel=HEAD, help="Rank of the low-rank updates (--mode lora).")
    ] = 8
    alpha: Annotated[
        float,
        Field(gt=0),
        option("--alpha", metavar="A", panel=HEAD, help="Scale the low-rank updates by A / R (--mode lora)."),
    ] = 16.0
    lora_targets: Annotated[
        Names,
        option(
            "--lora-target",
            metavar="NAME",
            panel=HEAD,
            default="all",
            help="Projection to update with --mode lora: in_proj, out_proj, fc1 or fc2; may be repeated.",
        ),
    ] = ()
    pooling: Annotated[
        Literal["mean", "last", "attention"] | None,
        option(
            "--pooling",
            panel=HEAD,
            default="mean for head, attention otherwise",
            help="How to pool the states of all bases into one vector.",
        ),
    ] = None
    layers: Annotated[
        Literal["last", "all"] | None,
        option(
            "--layers",
            panel=HEAD,
            default="all for head, last otherwise",
            help="Feed the head the states after the last block, or after every block.",
        ),
    ] = None
    strand: Annotated[
        Literal["forward", "both"] | None,
        option(
            "--strand",
            panel=HEAD,
            default="forward; both with --per-base",
            help="Read as given, or average with the reverse complement.",
        ),
    ] = None
    noise: Annotated[
        float | None,
        Field(ge=0, le=0.5),
        option(
            "--noise",
            metavar="F",
            panel=HEAD,
            default="0 for head and --per-base, 0.1 otherwise",
            help="Fraction of bases in training records replaced at random each time they are read.",
        ),
    ] = None
    epochs: Annotated[
        int | None,
        Field(ge=1),
        option("--epochs", metavar="N", panel=HEAD, default="50 for head, 12 otherwise", help="Passes over the data."),
    ] = None
    patience: Annotated[
        int | None,
        Field(ge=1),
        option(
            "--patience",
            metavar="N",
            panel=HEAD,
            default="10 for head, 5 otherwise",
            help="Stop after N epochs without a lower validation loss.",
        ),
    ] = None
    baselines: Annotated[
        bool,
        option(
            "--baselines/--no-baselines",
            panel=HEAD,
            help="Also evaluate linear baselines: GC content, k-mers, the frozen model and random weights.",
        ),
    ] = True
    data: DataSettings = DataSettings()
    optim: FinetuneOptim = FinetuneOptim()
    run: FinetuneRun = FinetuneRun()

    @property
    def both_strands(self) -> bool:
        """Whether sequences are also read in reverse complement."""
        return self.strand == "both" or (self.strand is None and bool(self.per_base))

    @property
    def learned_noise(self) -> float:
        """Share of the bases of training records that are replaced."""
        if self.noise is not None:
            return self.noise
        return 0.0 if self.mode == "head" or self.per_base else NOISE

    def pooled_by(self, longest: int) -> Literal["mean", "last", "attention", "none"]:
        """How the states of a whole record become one vector, where the longest one has so many bases."""
        if self.per_base:
            return "none"
        return self.pooling or ("mean" if self.mode == "head" or longest > MOST_ATTENDED else "attention")

    def seen_layers(self, longest: int) -> Literal["last", "all"]:
        """Whose states the head sees, where the longest record has so many bases."""
        every = self.mode == "head" and not self.per_base and longest <= MOST_OF_ALL_LAYERS
        return self.layers or ("all" if every else "last")

    def to_yaml(self) -> str:
        """As a file that ``genoconv finetune --config`` takes."""
        return to_yaml(self)


class FinetuneOptions(FinetuneConfig):
    """One call of ``genoconv finetune``."""

    output: Annotated[
        Path | None,
        option("--output", "-o", metavar="DIR", panel=RUN, written=True, help="Model folder to create. Required."),
    ] = None
    resume: ResumedRun = None
    force: Force = False
    quiet: Quiet = False


# Keys of a call that are not part of a run.
CALL = ("output", "resume", "force", "quiet")
EPOCHS = {"head": 50, "lora": 12, "full": 12}
PATIENCE = {"head": 10, "lora": 5, "full": 5}
NOISE = 0.1
MOST_ATTENDED, MOST_OF_ALL_LAYERS = 2**20, 2**17
"""Bases of a record whose states are held at once: for ``--pooling attention``, and of all layers by default."""
