"""The options of ``genoconv score-variants``."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from genoconv.pipelines.lengths import parse_length
from genoconv.pipelines.options import Options, argument, option, output_option
from genoconv.pipelines.shared_options import (
    SHIPPED_MODEL,
    TRAINED_WINDOW,
    BatchSize,
    Device,
    Devices,
    DryRun,
    Force,
    Genome,
    Model,
    Names,
    Offline,
    Precision,
    Quiet,
    Resume,
    Shard,
    one_genome,
    whole_numbers,
)

OUTPUT, SCORE, RECORDS = "Output", "Score", "Records"


def _window(value: Any) -> Any:
    """A number or several, as a file may hold them, in the form of the command line."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return ",".join(map(str, value)) or None if isinstance(value, list | tuple) else value


def _lengths(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        plain = ",".join(str(parse_length(part)) for part in text.split(","))
    except ValueError:
        plain = ""
    if whole_numbers(plain, ",") is None or re.search(r"[\s_]", text):
        raise ValueError(f"{text[:60]!r} is not a length in bases, or several with commas: 1024,8192")
    return plain


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][0-9A-Za-z_.]*", text, re.ASCII):
        raise ValueError(f"{text[:60]!r}: INFO keys are letters, digits, _ and . and begin with a letter or _")
    return text


class ScoreOptions(Options):
    """One call of ``genoconv score-variants``.

    ``output`` and ``tsv`` are None where they are not wanted; ``Path("-")`` is standard output.
    """

    vcf: Annotated[Path, argument("VCF", dash=True, help="VCF, VCF.gz or BCF; - for standard input.")]
    fasta: Annotated[
        Path | None,
        option("--fasta", "--reference", "-f", metavar="REF.fa", help="Reference FASTA (plain, bgzip or gzip)."),
    ] = None
    genome: Genome = None
    offline: Offline = False
    model: Model = SHIPPED_MODEL
    output: Annotated[
        Path | None,
        output_option(
            metavar="FILE",
            dash=True,
            panel=OUTPUT,
            default="standard output, unless there is a --tsv",
            help="Annotated VCF; - for standard output.",
        ),
    ] = None
    output_type: Annotated[
        Literal["v", "z", "u", "b"] | None,
        option(
            "--output-type",
            "-O",
            panel=OUTPUT,
            recorded=False,
            default="from the file's name",
            help="v VCF, z VCF.gz, u uncompressed BCF, b BCF.",
        ),
    ] = None
    tsv: Annotated[
        Path | None,
        option(
            "--tsv",
            written=True,
            metavar="FILE",
            panel=OUTPUT,
            recorded=False,
            help="Also write a table with one row per allele.",
        ),
    ] = None
    multiqc: Annotated[
        Path | None,
        option(
            "--multiqc",
            metavar="DIR",
            panel=OUTPUT,
            recorded=False,
            written=True,
            help="Also write tables for MultiQC to this folder: NAME_status_mqc.tsv, NAME_scores_mqc.yaml.",
        ),
    ] = None
    explain: Annotated[
        bool,
        option("--explain", panel=OUTPUT, help="Also write the score of each strand, and why an allele has no score."),
    ] = False
    info_prefix: Annotated[
        str,
        AfterValidator(_prefix),
        option("--info-prefix", metavar="NAME", panel=OUTPUT, help="Prefix of the INFO keys: NAME_LLR, ..."),
    ] = "GCONV"
    index: Annotated[
        bool, option("--index/--no-index", panel=OUTPUT, recorded=False, help="Index VCF.gz and BCF files.")
    ] = True
    window: Annotated[
        str | None,
        BeforeValidator(_window),
        AfterValidator(_lengths),
        option(
            "--window",
            "-w",
            metavar="N[,N...]",
            panel=SCORE,
            default=TRAINED_WINDOW,
            help="Window length in bases, such as 1024 or 10k; with several lengths, each gets its own field.",
        ),
    ] = None
    grid: Annotated[
        int | None,
        Field(ge=1),
        option(
            "--grid",
            metavar="G",
            panel=SCORE,
            default="a sixteenth of the window",
            help="Distance between window centres; 1 centres each variant.",
        ),
    ] = None
    reduce: Annotated[
        Literal["sum", "mean", "site"],
        option("--reduce", panel=SCORE, help="Sum over all bases, mean per base, or sum over the variant's own bases."),
    ] = "sum"
    strand: Annotated[
        Literal["both", "forward", "reverse"] | None,
        option(
            "--strand",
            panel=SCORE,
            default="both; with --context gene, forward (the gene's own strand)",
            help="Read the window in both directions and average, or in one direction.",
        ),
    ] = None
    context: Annotated[
        Literal["window", "gene"],
        option("--context", panel=SCORE, help="Fixed-length windows, or whole gene bodies."),
    ] = "window"
    annotation: Annotated[
        Path | None,
        option(
            "--annotation",
            metavar="GTF",
            panel=SCORE,
            default="the annotation of --genome",
            help="Genes for --context gene (GTF or GFF3).",
        ),
    ] = None
    max_indel: Annotated[
        int | None,
        Field(ge=1),
        option(
            "--max-indel",
            metavar="N",
            panel=SCORE,
            default="50, or a quarter of the window if shorter",
            help="Longest allele to score, in bases.",
        ),
    ] = None
    regions: Annotated[
        Names,
        option(
            "--region",
            "-r",
            metavar="CHR:FROM-TO",
            panel=RECORDS,
            help="Process only records in this region; may be repeated.",
        ),
    ] = ()
    regions_file: Annotated[
        Path | None,
        option(
            "--regions-file",
            "-R",
            metavar="BED",
            panel=RECORDS,
            help="Process only records in the regions of this BED file.",
        ),
    ] = None
    pass_only: Annotated[
        bool, option("--pass-only", panel=RECORDS, help="Process only records whose FILTER is PASS.")
    ] = False
    ref_mismatch: Annotated[
        Literal["stop", "skip"],
        option(
            "--ref-mismatch",
            panel=RECORDS,
            help="If REF differs from the FASTA in more than 10 % of the first 1,000 records: stop, or leave such"
            " records unscored.",
        ),
    ] = "stop"
    shard: Shard = None
    batch_size: BatchSize = None
    device: Device = "auto"
    devices: Devices = None
    precision: Precision = "auto"
    resume: Resume = False
    dry_run: DryRun = False
    force: Force = False
    quiet: Quiet = False

    _one_genome = one_genome("--fasta FILE")

    @property
    def windows(self) -> tuple[int, ...]:
        """Lengths of ``window``; empty for the default, which depends on the model."""
        return (whole_numbers(self.window, ",") or ()) if self.window else ()

    @property
    def vcf_output(self) -> Path | None:
        """Where the VCF goes: ``output``, or standard output if nothing else is wanted."""
        return self.output if self.output is not None or self.tsv is not None else Path("-")

    def writes_stdout(self) -> bool:
        """Whether the VCF or the table goes to standard output."""
        return any(str(path) == "-" for path in (self.vcf_output, self.tsv))

    @property
    def files(self) -> list[Path]:
        """The outputs that are files, the VCF first."""
        return [path for path in (self.vcf_output, self.tsv) if path is not None and str(path) != "-"]
