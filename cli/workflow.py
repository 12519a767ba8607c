"""``genoconv workflow``: a Snakemake project, and the steps of it that are not commands of their own."""

import typer

from genoconv.cli.options import takes
from genoconv.pipelines.outcome import Outcome
from genoconv.pipelines.workflow.options import GatherOptions, InitOptions, ReportOptions
from genoconv.wording import count

app = typer.Typer(
    name="workflow",
    help="Run a Snakemake workflow from genome to scored variants, on one machine or a cluster.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command()
@takes(InitOptions, configurable=False)
def init(options: InitOptions) -> Outcome:
    """Create a Snakemake project, with configuration and profiles for one machine and for SLURM.

    A new project runs on the synthetic demo genome. Edit config/config.yaml to use your own data.

    **Examples**

        genoconv workflow init study

        cd study && snakemake --workflow-profile profiles/local
    """
    from genoconv.pipelines.workflow.project import init_project

    folder = options.folder
    files = init_project(folder, force=options.force)
    return Outcome(
        line=f"{folder}: {len(files)} files; edit {folder / 'config' / 'config.yaml'}, then: snakemake -n",
        counts={"files": len(files)},
        outputs={"folder": [folder / file for file in files]},
    )


@app.command()
@takes(GatherOptions, configurable=False)
def gather(options: GatherOptions) -> Outcome:
    """Join shards of score-variants. The result is byte-identical to one run without shards.

    **Examples**

        genoconv workflow gather part1.vcf.gz part2.vcf.gz -o scored.vcf.gz
    """
    from genoconv.pipelines.workflow.gather import gather as run

    records = run(options.shards, options.output, force=options.force)
    return Outcome(
        line=f"{options.output}: {count(records, 'record')} of {count(len(options.shards), 'shard')}",
        counts={"records": records, "shards": len(options.shards)},
    )


@app.command()
@takes(ReportOptions, configurable=False)
def report(options: ReportOptions) -> Outcome:
    """Summarise the scores of one or more samples in a table and a plot.

    **Examples**

        genoconv workflow report scored/*.vcf.gz --table scores.tsv --plot scores.png
    """
    from genoconv.pipelines.workflow.report import named_samples, report_scores

    samples = named_samples(options.samples)
    found = report_scores(samples, table=options.table, plot=options.plot, force=options.force)
    scored, names = int(found["scored"].sum()), found["sample"].nunique()
    return Outcome(
        line=f"{options.table}, {options.plot}: {count(scored, 'score')} of {count(names, 'sample')}",
        counts={"scores": scored, "samples": names},
    )
