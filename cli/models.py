"""``genoconv models``: published checkpoints in and out, and what a model folder is."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from genoconv.cli import console
from genoconv.cli.options import Force, Quiet

app = typer.Typer(
    name="models",
    help="Import, export and describe HyenaDNA models.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("import")
def import_(
    source: Annotated[
        str,
        typer.Argument(metavar="SRC", help="A folder (config.json and weights), a published size, or OWNER/NAME."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The model folder to make.")],
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="COMMIT", help="Commit, branch or tag of a repository on the hub."),
    ] = None,
    modulation_shift: Annotated[
        float | None,
        typer.Option(
            "--modulation-shift",
            metavar="X",
            help="Floor under the filters' decay; default: as published, 0.05.",
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Make a model folder of a published HyenaDNA checkpoint.

    SRC is in the transformers layout (config.json, model.safetensors) or the original one (config.json,
    weights.ckpt). Of a pickle only tensors and plain containers are read; nothing in it is ever run.

    **Examples**

        genoconv models import downloads/hyenadna-tiny-1k-seqlen-hf -o models/tiny

        genoconv models import medium-160k -o models/medium

        genoconv models import LongSafari/hyenadna-small-32k-seqlen-hf -o models/small
    """
    console.quieten(quiet)
    from genoconv.pipelines.models import import_model

    made = import_model(source, output, revision=revision, modulation_shift=modulation_shift, force=force)
    for note in made.notes:
        console.summary(note)
    console.summary(
        f"{output}: {made.parameters:,} parameters, {made.config.n_layer} layers of {made.config.d_model}, up to "
        f"{made.config.max_length:,} tokens, from the {made.layout} layout; model digest {made.digest[:12]}"
    )


@app.command("export")
def export(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="Model folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The checkpoint folder to make.")],
    layout: Annotated[
        Literal["hyenadna-hf", "hyenadna-original"],
        typer.Option("--format", help="Transformers layout, or the original one (weights.ckpt)."),
    ] = "hyenadna-hf",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write a model as HyenaDNA's own code reads it.

    A model that was imported gives back bit for bit the tensors it came with.

    **Examples**

        genoconv models export models/tiny --format hyenadna-hf -o back

        genoconv models export runs/yeast --format hyenadna-original -o out
    """
    console.quieten(quiet)
    from genoconv.models.published.layouts import LAYOUTS
    from genoconv.pipelines.models import export_model

    for note in export_model(model, output, layout=LAYOUTS[layout], force=force):
        console.summary(note)
    console.summary(f"{output}: {model} in the {layout} layout")


@app.command("show")
def show(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="Model folder.")],
    as_json: Json = False,
) -> None:
    """Say what a model folder is: sizes, parameters, tokenizer, where it comes from, digests.

    **Examples**

        genoconv models show runs/yeast

        genoconv models show models/tiny --json
    """
    import json

    from genoconv.pipelines.models import describe_model

    facts = describe_model(model)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    sizes, tokenizer = facts["model"], facts["tokenizer"]
    lines = {
        "model": f"HyenaDNA, {facts['preset'] or 'own sizes'}",
        "parameters": f"{facts['parameters']:,}",
        "sizes": f"{sizes['n_layer']} layers of {sizes['d_model']}, MLP {sizes['d_inner']}",
        "filters": f"network of width {sizes['filter_order']}, {sizes['emb_dim']} positional features, "
        f"decay above {sizes['modulation_shift']}",
        "max length": f"{facts['max_length']:,} tokens",
        "tokenizer": f"{tokenizer['unit']}: {' '.join(tokenizer['vocabulary'])}",
        "weights": f"{facts['weights_bytes']:,} bytes, sha256 {facts['weights_sha256']}",
        "digest": facts["model_digest"],
        "written by": f"genoconv {facts['genoconv_version']}",
    }
    for name, value in lines.items():
        print(f"{name:<12} {value}")
    print("provenance")
    _print_tree(facts["provenance"], depth=1)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the published HyenaDNA models that `genoconv models import` knows by name.

    **Examples**

        genoconv models list

        genoconv models list --json
    """
    import json

    from genoconv.pipelines.models import list_published

    rows = list_published()
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'name':<13} {'layers':>6} {'width':>5} {'tokens':>9} {'parameters':>10}  repository")
    for row in rows:
        sizes = f"{row['n_layer']:>6} {row['d_model']:>5} {row['max_length']:>9,} {row['parameters']:>10,}"
        print(f"{row['name']:<13} {sizes}  {row['repository']}")


def _print_tree(values: dict[str, object], *, depth: int) -> None:
    """Nested values as indented lines; what is empty or longer than a screen is left to --json."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            print(f"{'  ' * depth}{name}")
            _print_tree(value, depth=depth + 1)
        elif value not in ({}, [], None):
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            print(f"{'  ' * depth}{name:<14} {text if len(text) <= 200 else text[:197] + '...'}")
