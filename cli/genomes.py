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
from genoconv.pipelines.options import NoOptions
from genoconv.pipelines.outcome import Outcome

app = typer.Typer(name="genomes", help="Download, verify and register reference genomes.", no_args_is_help=True)


@app.command("list")
@takes(NoOptions, configurable=False)
def list_genomes(options: NoOptions) -> Outcome:
    """List all named genomes, and which of them are stored on this machine.

    **Examples**

        genoconv genomes list
    """
    from genoconv.pipelines.genomes.run import overview

    found = list(overview())
    for known in found:
        console.line(str(known))
    return Outcome(counts={"genomes": len(found)}, result=[vars(known) for known in found])


@app.command()
@takes(NameOptions, configurable=False)
def show(options: NameOptions) -> Outcome:
    """Show the origin, sequences, checksums and licence of a genome.

    **Examples**

        genoconv genomes show hg38
    """
    from genoconv.pipelines.genomes.run import describe, facts

    for line in describe(options.name):
        console.line(line)
    return Outcome(result=facts(options.name))


@app.command()
@takes(FetchOptions)
def fetch(options: FetchOptions) -> Outcome:
    """Download, verify, unpack and index a genome and its annotation. An interrupted download resumes.

    **Examples**

        genoconv genomes fetch saccer3

        genoconv genomes fetch hg38 --mirror /data/downloads

        GENOCONV_HOME=/shared/genoconv genoconv genomes fetch hg38
    """
    from genoconv.pipelines.genomes.run import facts, fetched

    return Outcome(line=fetched(options), result=facts(options.name))


@app.command()
@takes(VerifyOptions, configurable=False)
def verify(options: VerifyOptions) -> Outcome:
    """Compare the files of a genome with the checksums in its receipt. Exits with 1 if anything differs.

    **Examples**

        genoconv genomes verify hg38
    """
    from genoconv.pipelines.genomes.run import facts
    from genoconv.pipelines.genomes.run import verify as check

    return Outcome(line=check(options.name, quiet=options.quiet), result=facts(options.name))


@app.command()
@takes(PathOptions, configurable=False)
def path(options: PathOptions) -> Outcome:
    """Print the path of a genome's FASTA, for use in scripts. Downloads nothing.

    **Examples**

        genoconv genomes path saccer3

        samtools faidx $(genoconv genomes path saccer3) chrI:1-100
    """
    from genoconv.pipelines.genomes.run import path_of

    found = path_of(options.name, annotation=options.annotation)
    console.data(f"{found}\n")
    return Outcome(result={"path": found})


@app.command()
@takes(AddOptions)
def add(options: AddOptions) -> Outcome:
    """Register your own genome under a name. Its files are not copied or moved.

    **Examples**

        genoconv genomes add barley --fasta barley.fa.gz --annotation barley.gff3.gz
    """
    from genoconv.pipelines.genomes.run import facts, register

    line = register(
        options.name,
        fasta=options.fasta,
        annotation=options.annotation,
        force=options.force,
        quiet=options.quiet,
    )
    return Outcome(line=line, result=facts(options.name))


@app.command()
@takes(RemoveOptions, configurable=False)
def remove(options: RemoveOptions) -> Outcome:
    """Delete a fetched genome, or unregister an added one. Files of an added genome are kept.

    **Examples**

        genoconv genomes remove hg38
    """
    from genoconv.pipelines.genomes.run import remove as delete

    return Outcome(line=delete(options.name))
