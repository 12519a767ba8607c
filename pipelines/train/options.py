"""Options of ``genoconv train``: the record of a run, and of a call that makes or resumes one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from genoconv.errors import ModelError, UsageError
from genoconv.pipelines.lengths import Bases
from genoconv.pipelines.options import RUN, Options, argument, option, to_yaml
from genoconv.pipelines.shared_options import Force, Offline, Precision, Quiet, ResumedRun, TrainingDevice, several
from genoconv.pipelines.train.regions import Region
from genoconv.pipelines.train.sources import Source, paired
from genoconv.pipelines.train.synthetic import Repeats
from genoconv.pipelines.windows.options import INPUT, WINDOWS, WindowSettings
from genoconv.train.settings import DataSettings, OptimSettings, RunSettings

if TYPE_CHECKING:
    from genoconv.models.config import ModelConfig

MODEL = "Model"


def _single(values: tuple[Any, ...]) -> Any:
    """One value is written as it may be read, without a list."""
    plain = [str(value) for value in values]
    return plain if len(plain) > 1 else plain[0] if plain else None


_Several = (BeforeValidator(several), PlainSerializer(_single, when_used="json"))


class TrainWindows(WindowSettings):
    """The windows that are learned from; those of ``genoconv windows``, but for shorter ones, which teach little."""

    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    min_length: Annotated[Bases, Field(ge=2)] = Bases(64)
    regions: Annotated[
        tuple[Region, ...],
        option(
            "--regions",
            metavar="BED|FEATURE[:W[:L]]",
            panel=WINDOWS,
            help="Report perplexity for a BED file or a feature (cds, utr, exon, promoter, intron, intergenic),"
            " sample its bases W times as often, and weight them by L in the loss. May be repeated; a base belongs to"
            " the first region that covers it.",
        ),
    ] = ()


class TrainData(DataSettings):
    """How windows become batches; see :class:`.DataSettings`.

    Attributes:
        packing: ``true`` puts windows of any lengths end to end in one row, where none sees another; ``false`` pads
            windows of similar length to the longest of them; ``auto`` packs where padding would be a quarter or more of
            what is computed, or 7 % of it where windows are longer than 32,768 bases.
    """

    soft_mask: Annotated[
        Literal["fold", "keep"],
        option(
            "--soft-mask",
            panel=INPUT,
            help="fold: treat lower-case bases like all others; keep: give them less weight in the loss.",
        ),
    ] = "fold"
    length_warmup: Annotated[
        Literal["auto", "always", "never"],
        option(
            "--length-warmup",
            panel=WINDOWS,
            help="Start with short random stretches of each window and quadruple their length until whole windows are"
            " read; auto does so for windows of 8,192 bases or more.",
        ),
    ] = "auto"
    packing: Literal["auto"] | bool = "auto"


class TrainRun(RunSettings):
    """How long, where, and what is logged; see :class:`.RunSettings`."""

    max_steps: Annotated[
        int | None, Field(gt=0), option("--max-steps", metavar="N", panel=RUN, help="Stop after N optimiser steps.")
    ] = None
    max_minutes: Annotated[
        float | None,
        Field(gt=0),
        option(
            "--max-minutes",
            metavar="M",
            panel=RUN,
            default="10 if --max-steps is not given",
            help="Stop after M minutes, including validation and testing.",
        ),
    ] = None
    seed: Annotated[
        int,
        Field(ge=0, lt=2**31),
        option(
            "--seed", metavar="N", panel=RUN, help="Random seed for the weights, the order of windows and the splits."
        ),
    ] = 0
    device: TrainingDevice = "auto"
    precision: Precision = "auto"
    calibrate: Annotated[
        bool,
        option(
            "--calibrate/--no-calibrate",
            panel=RUN,
            help="Calibrate the finished model on a small sample of its genome, as genoconv models calibrate does."
            " Takes at most 5 % of the run's time, and at most 20 seconds.",
        ),
    ] = True


class TrainConfig(Options):
    """Everything that decides a run: what its ``run.yaml`` holds. Lengths are bases.

    With no source at all it is the embedded demo.
    """

    keeps_paths: ClassVar[bool] = True

    fasta: Annotated[
        tuple[Path, ...],
        *_Several,
        option(
            "--fasta",
            "-f",
            metavar="FILE",
            panel=INPUT,
            help="FASTA: plain, bgzip or gzip; may be repeated to train on several genomes.",
        ),
    ] = ()
    annotation: Annotated[
        tuple[Path, ...],
        *_Several,
        option(
            "--annotation",
            "-a",
            metavar="FILE",
            panel=INPUT,
            help="Gene annotation: GTF or GFF3, plain or gzip; one per --fasta, in the same order.",
        ),
    ] = ()
    genome: Annotated[
        tuple[str, ...],
        *_Several,
        option(
            "--genome",
            "-g",
            metavar="NAME",
            panel=INPUT,
            help="Named genome, downloaded on first use; may be repeated. See genoconv genomes list.",
        ),
    ] = ()
    demo: Annotated[
        Literal["short", "long"] | None,
        option(
            "--demo",
            panel=INPUT,
            default="short, if no genome is given",
            help="Train on synthetic sequence: short has domains that are easier to predict with more context; long has"
            " contigs whose ends can only be predicted from thousands of bases upstream.",
        ),
    ] = None
    genes: Annotated[
        bool | None,
        option(
            "--genes/--tiles",
            panel=INPUT,
            help="Train on genes (named genomes have an annotation), or on tiles of the whole genome.",
        ),
    ] = None
    window_file: Annotated[
        tuple[Path, ...],
        *_Several,
        option(
            "--windows",
            "-w",
            metavar="FILE",
            panel=INPUT,
            help="Use the windows and split in this file from genoconv windows (BED or TSV); one per genome.",
        ),
    ] = ()
    sources: tuple[Source, ...] = ()
    repeats: Repeats = Repeats()
    preset: Annotated[
        str | None,
        option(
            "--preset",
            "-p",
            metavar="NAME",
            panel=MODEL,
            default="tiny-1k",
            help="Model size by name: tiny-1k, small-32k, ...; see genoconv models list.",
        ),
    ] = None
    init: Annotated[
        Path | None,
        option(
            "--init",
            metavar="MODEL",
            panel=MODEL,
            model=True,
            help="Start from the weights of this model: a folder, or a name from genoconv models list.",
        ),
    ] = None
    max_length: Annotated[
        Bases | None,
        Field(ge=16),
        option(
            "--max-length", "-l", metavar="N", panel=MODEL, default="the preset's", help="Longest window, in bases."
        ),
    ] = None
    model: Annotated[dict[str, Any], Field(default_factory=dict)]
    windows: TrainWindows = TrainWindows()
    data: TrainData = TrainData()
    optim: OptimSettings = OptimSettings()
    run: TrainRun = TrainRun()

    def sizes(self) -> "ModelConfig":
        """Sizes of the fresh model that this describes.

        Raises:
            UsageError: no such preset, or an impossible size.
        """
        from genoconv.models.config import ModelConfig, preset  # numpy, which help has no use for

        assert self.preset is not None
        length = {"max_length": self.max_length} if self.max_length else {}
        try:
            return ModelConfig.from_dict({**preset(self.preset).to_dict(), **length, **self.model})
        except ModelError as error:
            raise UsageError("\n".join(f"model.{line}" for line in str(error).split("\n"))) from None

    def all_sources(self) -> tuple[Source, ...]:
        """What is learned from: the ``sources`` of the file, then those of the options; or the long demo.

        Raises:
            UsageError: options whose counts do not match.
        """
        if self.demo == "long":
            return (self.repeats.source(),)
        return *self.sources, *paired(
            genomes=self.genome,
            fastas=self.fasta,
            annotations=self.annotation,
            window_files=self.window_file,
            genes=self.genes,
        )

    def to_yaml(self) -> str:
        """As a file that ``genoconv train`` takes."""
        return to_yaml(self)


class TrainOptions(TrainConfig):
    """One call of ``genoconv train``."""

    file: Annotated[
        Path | None,
        argument("[RUN.yaml]", help="Configuration file, as with --config; --print-config prints all keys."),
    ] = None
    output: Annotated[
        Path | None,
        option(
            "--output",
            "-o",
            metavar="DIR",
            panel=RUN,
            default="runs/NAME",
            written=True,
            help="Model folder to create.",
        ),
    ] = None
    resume: ResumedRun = None
    offline: Offline = False
    force: Force = False
    quiet: Quiet = False


# Keys of a call that are not part of a run.
CALL = ("file", "output", "resume", "offline", "force", "quiet")
