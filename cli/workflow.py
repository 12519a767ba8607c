"""``genoconv workflow``: a Snakemake project, and the steps of it that are not commands of their own."""

from pathlib import Path
from typing import Annotated

import typer

from genoconv.cli import console
from genoconv.cli.options import Force, Quiet

app = typer.Typer(
    name="workflow",
    help="A Snakemake workflow from a genome to scored variants: on one machine or a cluster.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The project's folder.")],
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write a workflow project: Snakefile, configuration with its schema, profiles for one machine and for SLURM.

    As written, it runs on the synthetic demo genome. Edit config/config.yaml for your own.

    **Examples**

        genoconv workflow init study

        cd study && snakemake --workflow-profile profiles/local
    """
    console.quieten(quiet)
    from genoconv.pipelines.workflow.project import init_project

    files = init_project(folder, force=force)
    console.summary(f"{folder}: {len(files)} files; edit {folder / 'config' / 'config.yaml'}, then: snakemake -n")


@app.command()
def gather(
    shards: Annotated[list[Path], typer.Argument(metavar="SHARD...", help="Shards 1 to N, in that order.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The joined .vcf, .vcf.gz or .bcf.")],
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Join the shards of score-variants: the result equals one run without shards, byte for byte.

    **Examples**

        genoconv workflow gather part1.vcf.gz part2.vcf.gz -o scored.vcf.gz
    """
    console.quieten(quiet)
    from genoconv.pipelines.workflow.gather import gather as run

    records = run(shards, output, force=force)
    console.summary(f"{output}: {records:,} records of {len(shards)} shards")


@app.command()
def report(
    samples: Annotated[
        list[str], typer.Argument(metavar="[NAME=]VCF...", help="Scored files; the name is the file's by default.")
    ],
    table: Annotated[Path, typer.Option("--table", metavar="TSV", help="One row per sample and score field.")],
    plot: Annotated[Path, typer.Option("--plot", metavar="PNG", help="Histograms of the scores.")],
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Describe the scores of one or many samples in a table and a plot.

    **Examples**

        genoconv workflow report scored/*.vcf.gz --table scores.tsv --plot scores.png
    """
    console.quieten(quiet)
    from genoconv.pipelines.workflow.report import named_samples, report_scores

    found = report_scores(named_samples(samples), table=table, plot=plot, force=force)
    console.summary(f"{table}, {plot}: {found['scored'].sum():,} scores of {found['sample'].nunique()} samples")
