"""``genoconv genomes list | show | fetch | verify | path | add | remove``."""

import typer

from genoconv.cli import console
from genoconv.cli.options import takes
from genoconv.pipelines.genomes.options import (
    AddOptions,
    FetchOptions,
    NameOptions,
    PathOptions,
    RemoveOptions,
    VerifyOptions,
)

app = typer.Typer(name="genomes", help="Reference genomes: known by name, fetched, verified.", no_args_is_help=True)


@app.command("list")
def list_genomes() -> None:
    """List the genomes that are known by name, and which of them are here.

    **Examples**

        genoconv genomes list
    """
    from genoconv.pipelines.genomes.run import overview

    for line in overview():
        console.line(line)


@app.command()
@takes(NameOptions, configurable=False)
def show(options: NameOptions) -> None:
    """Show what is known of a genome: where it comes from, its sequences, its checksums.

    **Examples**

        genoconv genomes show hg38
    """
    from genoconv.pipelines.genomes.run import describe

    for line in describe(options.name):
        console.line(line)


@app.command()
@takes(FetchOptions)
def fetch(options: FetchOptions) -> None:
    """Fetch a genome and its genes: download, verify, unpack, index. Once; an interrupted fetch resumes.

    **Examples**

        genoconv genomes fetch saccer3

        genoconv genomes fetch hg38 --mirror /data/downloads

        GENOCONV_HOME=/shared/genoconv genoconv genomes fetch hg38
    """
    from genoconv.pipelines.genomes.run import fetched

    console.summary(fetched(options))


@app.command()
@takes(VerifyOptions, configurable=False)
def verify(options: VerifyOptions) -> None:
    """Read a genome's files again and compare them with its receipt. Exits 1 where anything differs.

    **Examples**

        genoconv genomes verify hg38
    """
    from genoconv.pipelines.genomes.run import verify as check

    console.summary(check(options.name, quiet=options.quiet))


@app.command()
@takes(PathOptions, configurable=False)
def path(options: PathOptions) -> None:
    """Print the path of a genome's FASTA, for scripts. Fetches nothing.

    **Examples**

        genoconv genomes path saccer3

        samtools faidx $(genoconv genomes path saccer3) chrI:1-100
    """
    from genoconv.pipelines.genomes.run import path_of

    console.data(f"{path_of(options.name, annotation=options.annotation)}\n")


@app.command()
@takes(AddOptions)
def add(options: AddOptions) -> None:
    """Register your own genome under a name. Its files stay where they are.

    **Examples**

        genoconv genomes add barley --fasta barley.fa.gz --annotation barley.gff3.gz
    """
    from genoconv.pipelines.genomes.run import register

    console.summary(
        register(
            options.name,
            fasta=options.fasta,
            annotation=options.annotation,
            force=options.force,
            quiet=options.quiet,
        )
    )


@app.command()
@takes(RemoveOptions, configurable=False)
def remove(options: RemoveOptions) -> None:
    """Delete a genome that was fetched, or forget one that was added. Files that were added stay where they are.

    **Examples**

        genoconv genomes remove hg38
    """
    from genoconv.pipelines.genomes.run import remove as delete

    console.summary(delete(options.name))
