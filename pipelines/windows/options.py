"""The options of ``genoconv windows``, of which ``genoconv train`` has the windows' own too."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from genoconv.pipelines.lengths import Bases
from genoconv.pipelines.options import Options, option, output_option
from genoconv.pipelines.shared_options import Force, Genome, Names, Offline, Quiet, one_genome

if TYPE_CHECKING:
    from genoconv.genome.windows.training import WindowPlan

INPUT, WINDOWS, SETS, OUTPUT = "Input", "Windows", "Train, valid, test", "Output"


class SequenceInput(Options):
    """Where the sequence and the genes come from."""

    fasta: Annotated[
        Path | None, option("--fasta", "-f", metavar="FILE", panel=INPUT, help="FASTA: plain, bgzip or gzip.")
    ] = None
    annotation: Annotated[
        Path | None,
        option("--annotation", "-a", metavar="FILE", panel=INPUT, help="Gene annotation: GTF or GFF3, plain or gzip."),
    ] = None
    genome: Genome = None


class GenomeInput(SequenceInput):
    """A :class:`SequenceInput` that may have to be fetched."""

    offline: Offline = False


class WindowSettings(Options):
    """Which windows there are, and how they are divided into sets. Lengths are bases."""

    flank: Annotated[
        Bases, Field(ge=0), option("--flank", metavar="N", panel=WINDOWS, help="Bases added on both sides of a gene.")
    ] = Bases(0)
    long_genes: Annotated[
        Literal["split", "skip"],
        option(
            "--long-genes", panel=WINDOWS, help="Split genes longer than --max-length into equal parts, or skip them."
        ),
    ] = "split"
    step: Annotated[
        Bases | None,
        Field(ge=1),
        option(
            "--step",
            metavar="N",
            panel=WINDOWS,
            default="--max-length",
            help="Distance between tile starts, in bases.",
        ),
    ] = None
    min_length: Annotated[
        Bases,
        Field(ge=1),
        option("--min-length", metavar="N", panel=WINDOWS, help="Shortest window to keep, in bases."),
    ] = Bases(16)
    max_unknown: Annotated[
        float,
        Field(ge=0, le=1),
        option(
            "--max-unknown",
            metavar="X",
            panel=WINDOWS,
            help="Drop windows in which more than this fraction of bases are not A, C, G or T.",
        ),
    ] = 0.5
    biotypes: Annotated[
        Names,
        option(
            "--biotype",
            metavar="NAME",
            panel=WINDOWS,
            help="Use only genes of this biotype, such as protein_coding; may be repeated.",
        ),
    ] = ()
    split_by: Annotated[
        Literal["auto", "chromosome", "block"],
        option(
            "--split-by",
            panel=SETS,
            help="Split by whole chromosomes or by blocks; auto uses blocks if there are few chromosomes.",
        ),
    ] = "auto"
    valid: Annotated[
        Names,
        option(
            "--valid",
            metavar="CONTIG",
            panel=SETS,
            help="Contig for validation; may be repeated. All other contigs are used for training.",
        ),
    ] = ()
    test: Annotated[
        Names, option("--test", metavar="CONTIG", panel=SETS, help="Contig for the test set; may be repeated.")
    ] = ()
    valid_fraction: Annotated[
        float,
        Field(ge=0, lt=1),
        option(
            "--valid-fraction",
            metavar="X",
            panel=SETS,
            help="Fraction of bases held out for validation if no contigs are named.",
        ),
    ] = 0.1
    test_fraction: Annotated[
        float,
        Field(ge=0, lt=1),
        option(
            "--test-fraction",
            metavar="X",
            panel=SETS,
            help="Fraction of bases held out for testing if no contigs are named.",
        ),
    ] = 0.1

    def plan(self, *, max_length: int, seed: int) -> "WindowPlan":
        """The windows as :mod:`genoconv.genome.windows` makes them.

        Raises:
            UsageError: settings that exclude each other.
        """
        from genoconv.genome.windows.splits import SplitPlan
        from genoconv.genome.windows.training import WindowPlan

        return WindowPlan(
            max_length=max_length,
            flank=self.flank,
            long_genes=self.long_genes,
            step=self.step,
            min_length=self.min_length,
            max_unknown=self.max_unknown,
            split=SplitPlan(
                by=self.split_by,
                valid=self.valid,
                test=self.test,
                valid_fraction=self.valid_fraction,
                test_fraction=self.test_fraction,
                seed=seed,
            ),
        )


class WindowsOptions(WindowSettings, GenomeInput):
    """One call of ``genoconv windows``. ``output`` may be ``Path("-")``."""

    tiles: Annotated[bool, option("--tiles", panel=WINDOWS, help="Tile the whole genome instead of using genes.")] = (
        False
    )
    max_length: Annotated[
        Bases,
        Field(ge=1),
        option("--max-length", "-l", metavar="N", panel=WINDOWS, help="Longest window, in bases."),
    ] = Bases(32768)
    seed: Annotated[int, option("--seed", metavar="N", panel=SETS, help="Random seed for the split into sets.")] = 0
    output: Annotated[
        Path,
        output_option(
            metavar="FILE",
            dash=True,
            panel=OUTPUT,
            help="Output file: .bed or .tsv, optionally .gz; - for standard output.",
        ),
    ] = Path("-")
    format: Annotated[
        Literal["bed", "tsv"] | None,
        option("--format", panel=OUTPUT, recorded=False, help="Format on standard output; files use their extension."),
    ] = None
    force: Force = False
    quiet: Quiet = False

    _one_genome = one_genome("--fasta FILE")

    def writes_stdout(self) -> bool:
        """Whether the windows go to standard output."""
        return str(self.output) == "-"
