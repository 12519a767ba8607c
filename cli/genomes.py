"""``genoconv genomes list | show | fetch | verify | path | add``."""

from pathlib import Path
from typing import Annotated

import typer

from genoconv.cli import console
from genoconv.cli.options import Quiet

app = typer.Typer(name="genomes", help="Reference genomes: known by name, fetched, verified.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of a genome; see genoconv genomes list.")]
Offline = Annotated[bool, typer.Option("--offline", help="Use what is on this machine; never the network.")]


@app.command("list")
def list_genomes() -> None:
    """List the genomes that are known by name, and which of them are here.

    **Examples**

        genoconv genomes list
    """
    from genoconv.pipelines.genomes import overview

    for line in overview():
        print(line)


@app.command()
def show(name: Name) -> None:
    """Show what is known of a genome: where it comes from, its sequences, its checksums.

    **Examples**

        genoconv genomes show hg38
    """
    from genoconv.pipelines.genomes import describe

    for line in describe(name):
        print(line)


@app.command()
def fetch(
    name: Name,
    mirror: Annotated[
        str | None,
        typer.Option(
            "--mirror", metavar="URL|DIR", help="Asked first: a url, or a folder with files downloaded before."
        ),
    ] = None,
    offline: Offline = False,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Accept a file that has changed at its provider, where the manifest has no checksum for it.",
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Fetch a genome and its genes: download, verify, unpack, index. Once; an interrupted fetch goes on.

    **Examples**

        genoconv genomes fetch saccer3

        genoconv genomes fetch hg38 --mirror /data/downloads

        GENOCONV_HOME=/shared/genoconv genoconv genomes fetch hg38
    """
    console.quieten(quiet)
    from genoconv.errors import Interrupted
    from genoconv.genome.assemblies.fetch import fetch as get

    try:
        genome = get(name, mirror=mirror, offline=offline, record=record, quiet=quiet)
    except KeyboardInterrupt as stop:
        raise Interrupted("run the command again: it goes on where it stopped") from stop
    console.summary(f"{name}: {genome.describe()}, in {genome.fasta.parent}")


@app.command()
def verify(name: Name, quiet: Quiet = False) -> None:
    """Read a genome's files again and compare them with its receipt. Exits 1 where anything differs.

    **Examples**

        genoconv genomes verify hg38
    """
    console.quieten(quiet)
    from genoconv.pipelines.genomes import verify as check

    console.summary(check(name, quiet=quiet))


@app.command()
def path(
    name: Name,
    annotation: Annotated[bool, typer.Option("--annotation", "-a", help="Of the genes instead.")] = False,
) -> None:
    """Print the path of a genome's FASTA, for scripts. Fetches nothing.

    **Examples**

        genoconv genomes path saccer3

        samtools faidx $(genoconv genomes path saccer3) chrI:1-100
    """
    from genoconv.pipelines.genomes import path_of

    print(path_of(name, annotation=annotation))


@app.command()
def add(
    name: Name,
    fasta: Annotated[Path, typer.Option("--fasta", "-f", metavar="FILE", help="FASTA: plain, bgzip or gzip.")],
    annotation: Annotated[
        Path | None, typer.Option("--annotation", "-a", metavar="FILE", help="Genes: GTF or GFF3.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the entry of that name.")] = False,
    quiet: Quiet = False,
) -> None:
    """Register your own genome under a name. Its files stay where they are.

    **Examples**

        genoconv genomes add barley --fasta barley.fa.gz --annotation barley.gff3.gz
    """
    console.quieten(quiet)
    from genoconv.pipelines.genomes import register

    console.summary(register(name, fasta=fasta, annotation=annotation, force=force, quiet=quiet))
