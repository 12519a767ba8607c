"""``genoconv score-variants``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from genoconv.cli import console
from genoconv.cli.options import Device, Force, Model, Precision, Quiet, Reference


def score_variants(
    vcf: Annotated[
        Path, typer.Argument(metavar="VCF", allow_dash=True, help="VCF, VCF.gz or BCF; - for standard input.")
    ],
    fasta: Reference,
    model: Model,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            allow_dash=True,
            rich_help_panel="Output",
            help="Annotated VCF; - (the default without --tsv) for standard output.",
        ),
    ] = None,
    output_type: Annotated[
        Literal["v", "z", "u", "b"] | None,
        typer.Option(
            "--output-type",
            "-O",
            rich_help_panel="Output",
            help="v VCF, z VCF.gz, u uncompressed BCF, b BCF; by default from the file's name.",
        ),
    ] = None,
    tsv: Annotated[
        Path | None,
        typer.Option("--tsv", metavar="FILE", rich_help_panel="Output", help="Also a table: one row an allele."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", rich_help_panel="Output", help="Also each strand, and why there is no score.")
    ] = False,
    info_prefix: Annotated[
        str, typer.Option("--info-prefix", metavar="NAME", rich_help_panel="Output", help="INFO keys: NAME_LLR, ...")
    ] = "GCONV",
    index: Annotated[
        bool, typer.Option("--index/--no-index", rich_help_panel="Output", help="Index VCF.gz and BCF files.")
    ] = True,
    window: Annotated[
        str | None,
        typer.Option(
            "--window",
            "-w",
            metavar="N[,N...]",
            rich_help_panel="Score",
            help="Bases around the variant; several give one field each. Default: the model's length, up to 32768.",
        ),
    ] = None,
    grid: Annotated[
        int | None,
        typer.Option(
            "--grid",
            metavar="G",
            min=1,
            rich_help_panel="Score",
            help="Distance between window centres; 1 centres each variant. Default: a sixteenth of the window.",
        ),
    ] = None,
    reduce: Annotated[
        Literal["sum", "mean", "site"],
        typer.Option("--reduce", rich_help_panel="Score", help="All bases, per base, or the variant's own bases."),
    ] = "sum",
    strand: Annotated[
        Literal["both", "forward", "reverse"] | None,
        typer.Option(
            "--strand",
            rich_help_panel="Score",
            help="Read the window in both directions and average, or in one. Default: both; with genes, the gene's.",
        ),
    ] = None,
    context: Annotated[
        Literal["window", "gene"],
        typer.Option("--context", rich_help_panel="Score", help="Fixed windows, or the whole body of the gene."),
    ] = "window",
    annotation: Annotated[
        Path | None,
        typer.Option(
            "--annotation", metavar="GTF", rich_help_panel="Score", help="Genes for --context gene (GTF or GFF3)."
        ),
    ] = None,
    max_indel: Annotated[
        int | None,
        typer.Option("--max-indel", metavar="N", rich_help_panel="Score", help="Longest allele to score. Default: 50."),
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(
            "--region", "-r", metavar="CHR:FROM-TO", rich_help_panel="Records", help="Only these; repeatable."
        ),
    ] = None,
    regions_file: Annotated[
        Path | None,
        typer.Option("--regions-file", "-R", metavar="BED", rich_help_panel="Records", help="Only these regions."),
    ] = None,
    pass_only: Annotated[
        bool, typer.Option("--pass-only", rich_help_panel="Records", help="Only records whose FILTER is PASS.")
    ] = False,
    ref_mismatch: Annotated[
        Literal["stop", "skip"],
        typer.Option(
            "--ref-mismatch",
            rich_help_panel="Records",
            help="If more than 10 % of the first 1,000 REF differ from the FASTA: stop, or leave them unscored.",
        ),
    ] = "stop",
    resume: Annotated[
        bool, typer.Option("--resume", rich_help_panel="Run", help="Go on with an interrupted run of the same call.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", rich_help_panel="Run", help="Only the I-th of N parts (1/4 ... 4/4)."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", "-b", min=1, rich_help_panel="Compute", help="Windows at once. Default: by memory."
        ),
    ] = None,
    device: Device = "auto",
    precision: Precision = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Annotate a VCF with how much less likely a model finds each ALT allele than REF.

    Every record is kept, in order, with its other fields as they are. INFO gains
    GCONV_LLR = ln P(alt window) - ln P(ref window), one value an ALT; negative
    means less likely than REF. Alleles that cannot be scored get a dot;
    --explain says why.

    **Examples**

        genoconv score-variants in.vcf.gz -f hg38.fa -m model -o out.vcf.gz

        bcftools view -r chr9 in.bcf | genoconv score-variants - -f hg38.fa -m model

        genoconv score-variants in.vcf -f hg38.fa -m model --window 1024,8192 --tsv t.tsv

        genoconv score-variants in.vcf -f hg38.fa -m model --context gene
        --annotation genes.gtf.gz -o out.bcf

        genoconv score-variants in.vcf -f hg38.fa -m model -o 1.bcf --shard 1/2
        --device cuda:0
    """
    console.quieten(quiet)
    from genoconv.pipelines.score.inputs import parse_shard, parse_windows
    from genoconv.pipelines.score.plan import ScoreRun
    from genoconv.pipelines.score.run import score_variants

    run = ScoreRun(
        vcf=vcf,
        fasta=fasta,
        model=model,
        output=output if output is not None or tsv is not None else Path("-"),
        output_type=output_type,
        tsv=tsv,
        windows=parse_windows(window),
        grid=grid,
        reduce=reduce,
        strand=strand,
        context=context,
        annotation=annotation,
        max_indel=max_indel,
        regions=tuple(region or ()),
        regions_file=regions_file,
        pass_only=pass_only,
        ref_mismatch=ref_mismatch,
        explain=explain,
        info_prefix=info_prefix,
        shard=parse_shard(shard),
        batch_size=batch_size,
        device=device,
        precision=precision or "auto",
        resume=resume,
        force=force,
        index=index,
        quiet=quiet,
    )
    try:
        summary = score_variants(run)
    except BrokenPipeError:
        # Here, because Typer would turn it into exit code 1.
        raise SystemExit(console.reader_left()) from None
    console.summary(str(summary))
