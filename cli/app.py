"""The commands and where they live. Command modules import only typer at the top, so that help is instant."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from genoconv.cli import (
    console,
    doctor,
    embed,
    finetune,
    genomes,
    kernels,
    models,
    plan,
    predict,
    reporting,
    scan,
    score,
    train,
    windows,
    workflow,
)

# What Typer raises for a command line that it does not accept; it has no public name.
Refused: type[Exception] = typer.BadParameter.__mro__[2]


class _Commands(TyperGroup):
    """All of the commands; Ctrl-C, or a reader that leaves, in any of them."""

    def invoke(self, ctx: Any) -> Any:
        report = reporting.current
        report.command = " ".join(_path(self, report.words))
        try:
            outcome = super().invoke(ctx)
            report.done(outcome)
            return report.outcome.exit_code
        except KeyboardInterrupt as stop:
            # Here, because Typer would end without a word.
            raise SystemExit(console.interrupted(stop)) from None
        except BrokenPipeError:
            # Here, because Typer would turn it into exit code 1.
            raise SystemExit(console.reader_left()) from None


def _path(command: Any, words: Sequence[str]) -> Iterator[str]:
    """The words at the start of a command line that name a command."""
    for word in words:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            return
        yield word


app = typer.Typer(
    name="genoconv",
    cls=_Commands,
    help="Long-context genomics: fetch genomes, train HyenaDNA-style models, embed DNA, score variants.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from genoconv.pipelines.version import VERSION

        console.line(VERSION)
        raise typer.Exit


@app.callback()
def genoconv(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            callback=_print_version,
            is_eager=True,
            metavar="",
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Long-context genomics: fetch genomes, train HyenaDNA-style models, embed DNA, score variants."""


# Order here is the order in the help: the way from an assembly's name to an annotated VCF.
app.add_typer(genomes.app, rich_help_panel="Genomes")
app.command("windows", rich_help_panel="Genomes")(windows.windows)
app.command("train", rich_help_panel="Models")(train.train)
app.command("finetune", rich_help_panel="Models")(finetune.finetune)
app.command("embed", rich_help_panel="Inference")(embed.embed)
app.command("predict", rich_help_panel="Inference")(predict.predict)
app.command("score-variants", rich_help_panel="Inference")(score.score_variants)
app.command("scan", rich_help_panel="Inference")(scan.scan)
app.add_typer(workflow.app, rich_help_panel="Inference")
app.add_typer(models.app, rich_help_panel="Models")
app.command("plan", rich_help_panel="Models")(plan.plan)
app.add_typer(kernels.app, rich_help_panel="This machine")
app.command("doctor", rich_help_panel="This machine")(doctor.doctor)
