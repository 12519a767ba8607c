"""``genoconv train``."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from genoconv.cli import console
from genoconv.cli.options import Force, Precision, Quiet

INPUT, MODEL, RUN = "Input", "Model", "Run"


def train(
    file: Annotated[
        Path | None, typer.Argument(metavar="[RUN.yaml]", help="A configuration; --print-config shows all keys.")
    ] = None,
    genome: Annotated[
        str | None, typer.Option("--genome", metavar="NAME", rich_help_panel=INPUT, help="A genome by its name.")
    ] = None,
    fasta: Annotated[
        Path | None, typer.Option("--fasta", "-f", metavar="FILE", rich_help_panel=INPUT, help="A FASTA instead.")
    ] = None,
    annotation: Annotated[
        Path | None,
        typer.Option("--annotation", "-a", metavar="FILE", rich_help_panel=INPUT, help="GTF or GFF3: whole genes."),
    ] = None,
    genes: Annotated[
        bool | None,
        typer.Option("--genes/--tiles", rich_help_panel=INPUT, help="Genes of the named genome's own annotation."),
    ] = None,
    soft_mask: Annotated[
        Literal["fold", "keep"] | None,
        typer.Option("--soft-mask", rich_help_panel=INPUT, help="keep: lower case weighs less in the loss."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", rich_help_panel=INPUT, help="Never use the network; a genome must be here.")
    ] = False,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            "-p",
            metavar="NAME",
            rich_help_panel=MODEL,
            help="Sizes, by name: tiny-1k (the default), small-32k, ...; genoconv models list.",
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option("--max-length", "-l", metavar="N", rich_help_panel=MODEL, help="Longest window, in bases."),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option("--init", metavar="DIR", rich_help_panel=MODEL, help="Go on from this model's weights."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", rich_help_panel=RUN, help="Model folder. Default: runs/NAME."),
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", metavar="N", rich_help_panel=RUN, help="Optimiser steps.")
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option("--max-minutes", metavar="M", rich_help_panel=RUN, help="Minutes of training.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", rich_help_panel=RUN, help="Of weights, order and splits.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            envvar="GENOCONV_DEVICE",
            metavar="auto|cpu|cuda[:N]",
            rich_help_panel="Compute",
            help="Where to compute; auto, the default, takes every GPU there is.",
        ),
    ] = None,
    precision: Precision = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", rich_help_panel=RUN, help="Any key of the configuration."),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", rich_help_panel=RUN, help="Print what would be run, as YAML, and stop.")
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="DIR", rich_help_panel=RUN, help="Go on with an interrupted run, exactly."),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Train a HyenaDNA-style model on a genome: on its genes, or on tiles.

    With no arguments: a small model on the embedded synthetic genome, about two minutes on two cores. Ctrl-C saves a
    checkpoint; --resume goes on from it exactly.

    **Examples**

        genoconv train

        genoconv train -f yeast.fa.gz -a yeast.gff3.gz --max-minutes 3 \\
            -o runs/yeast

        genoconv train --genome hg38 --genes --preset medium-450k \\
            --max-steps 20000 -o runs/genes

        genoconv train --resume runs/genes
    """
    console.quieten(quiet)
    from genoconv.errors import UsageError
    from genoconv.pipelines.train import config as train_config
    from genoconv.pipelines.train import run as pipeline

    options = {
        "genome": genome,
        "fasta": None if fasta is None else str(fasta),
        "annotation": None if annotation is None else str(annotation),
        "genes": genes,
        "data.soft_mask": soft_mask,
        "preset": preset,
        "max_length": max_length,
        "init": None if init is None else str(init),
        "run.max_steps": max_steps,
        "run.max_minutes": max_minutes,
        "run.seed": seed,
        "run.device": device,
        "run.precision": precision,
    }
    if resume is not None:
        if file is not None or output is not None or force:
            raise UsageError("--resume DIR goes on in DIR with its own run.yaml: drop RUN.yaml, --output and --force")
        config = pipeline.resumed(resume, options=options, assignments=settings or [])
    else:
        config = train_config.configure(file, options=options, assignments=settings or [])
    if print_config:
        print(config.to_yaml(), end="")
        return
    command = shlex.join(["genoconv", *sys.argv[1:]])
    if resume is not None:
        raise typer.Exit(pipeline.resume(config, folder=resume, offline=offline, quiet=quiet, command=command))
    folder = output or train_config.default_folder(config)
    raise typer.Exit(pipeline.train(config, folder=folder, force=force, offline=offline, quiet=quiet, command=command))
