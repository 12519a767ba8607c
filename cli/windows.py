"""``genoconv windows``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from genoconv.cli import console
from genoconv.cli.options import Force, Quiet


def windows(
    fasta: Annotated[
        Path | None,
        typer.Option("--fasta", "-f", metavar="FILE", rich_help_panel="Input", help="FASTA: plain, bgzip or gzip."),
    ] = None,
    annotation: Annotated[
        Path | None,
        typer.Option(
            "--annotation", "-a", metavar="FILE", rich_help_panel="Input", help="Genes: GTF or GFF3, plain or gzip."
        ),
    ] = None,
    genome: Annotated[
        str | None,
        typer.Option(
            "--genome",
            "-g",
            metavar="NAME",
            rich_help_panel="Input",
            help="Instead of files: a genome known to genoconv genomes list, fetched if it is not here.",
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", rich_help_panel="Input", help="Fetch nothing; use what is here.")
    ] = False,
    tile: Annotated[
        bool, typer.Option("--tile", rich_help_panel="Windows", help="Cover the whole genome instead of its genes.")
    ] = False,
    max_length: Annotated[
        int,
        typer.Option(
            "--max-length", "-l", metavar="N", min=1, rich_help_panel="Windows", help="Longest window, in bases."
        ),
    ] = 32768,
    step: Annotated[
        int | None,
        typer.Option(
            "--step",
            metavar="N",
            min=1,
            rich_help_panel="Windows",
            help="Bases from one tile's start to the next. Default: --max-length.",
        ),
    ] = None,
    flank: Annotated[
        int,
        typer.Option("--flank", metavar="N", min=0, rich_help_panel="Windows", help="Bases added beside each gene."),
    ] = 0,
    long_genes: Annotated[
        Literal["split", "skip"],
        typer.Option("--long-genes", rich_help_panel="Windows", help="What to do with genes longer than --max-length."),
    ] = "split",
    min_length: Annotated[
        int,
        typer.Option("--min-length", metavar="N", min=1, rich_help_panel="Windows", help="Shortest window kept."),
    ] = 16,
    max_unknown: Annotated[
        float,
        typer.Option(
            "--max-unknown",
            metavar="X",
            rich_help_panel="Windows",
            help="Drop windows with a larger fraction of bases other than A, C, G, T.",
        ),
    ] = 0.5,
    biotype: Annotated[
        list[str] | None,
        typer.Option(
            "--biotype",
            metavar="NAME",
            rich_help_panel="Windows",
            help="Only genes of this biotype, e.g. protein_coding; may be repeated.",
        ),
    ] = None,
    split_by: Annotated[
        Literal["auto", "chromosome", "block"],
        typer.Option(
            "--split-by",
            rich_help_panel="Train, valid, test",
            help="Divide whole chromosomes or, in a small genome, blocks.",
        ),
    ] = "auto",
    valid: Annotated[
        list[str] | None,
        typer.Option(
            "--valid",
            metavar="CONTIG",
            rich_help_panel="Train, valid, test",
            help="Contig for validation; may be repeated. What is not named is for training.",
        ),
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(
            "--test",
            metavar="CONTIG",
            rich_help_panel="Train, valid, test",
            help="Contig for the final test; may be repeated.",
        ),
    ] = None,
    valid_fraction: Annotated[
        float,
        typer.Option(
            "--valid-fraction",
            metavar="X",
            rich_help_panel="Train, valid, test",
            help="Share of the bases for validation, where no contig is named.",
        ),
    ] = 0.1,
    test_fraction: Annotated[
        float,
        typer.Option(
            "--test-fraction",
            metavar="X",
            rich_help_panel="Train, valid, test",
            help="Share of the bases for the test, where no contig is named.",
        ),
    ] = 0.1,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", rich_help_panel="Train, valid, test", help="Another seed, another division."
        ),
    ] = 0,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            allow_dash=True,
            rich_help_panel="Output",
            help="A .bed or .tsv file, also .gz; - for standard output.",
        ),
    ] = Path("-"),
    fmt: Annotated[
        Literal["bed", "tsv"] | None,
        typer.Option("--format", rich_help_panel="Output", help="For standard output; a file's name says it itself."),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write the windows that a model learns from: whole genes, or tiles over the genome.

    Rows are 0-based and half-open. Windows of train, valid and test never share a base: overlapping genes stay
    together. The same seed gives the same file.

    **Examples**

        genoconv windows -f yeast.fa.gz -a yeast.gff3.gz -o yeast.bed

        genoconv windows --genome hg38 --flank 2000 -l 450000 \\
            --biotype protein_coding --valid chr9 --test chr22 -o genes.tsv

        genoconv windows -f ecoli.fa --tile -l 8192 --seed 1 > tiles.bed
    """
    console.quieten(quiet)
    from genoconv.genome.windows.splits import SplitPlan
    from genoconv.genome.windows.training import WindowPlan
    from genoconv.pipelines.windows import choose_inputs, output_format, run

    target = None if str(output) == "-" else output
    chosen_format = output_format(target, fmt)
    plan = WindowPlan(
        max_length=max_length,
        flank=flank,
        long_genes=long_genes,
        step=step,
        min_length=min_length,
        max_unknown=max_unknown,
        split=SplitPlan(
            by=split_by,
            valid=tuple(valid or ()),
            test=tuple(test or ()),
            valid_fraction=valid_fraction,
            test_fraction=test_fraction,
            seed=seed,
        ),
    )
    inputs = choose_inputs(
        fasta=fasta,
        annotation=annotation,
        genome=genome,
        tile=tile,
        biotypes=tuple(biotype or ()),
        offline=offline,
    )
    try:
        console.summary(run(inputs, plan, output=target, fmt=chosen_format, force=force, quiet=quiet))
    except BrokenPipeError:
        console.reader_left()
