"""``genoconv models``: published checkpoints in and out, and what a model folder is."""

from typing import Any

import typer

from genoconv.cli import console
from genoconv.cli.options import takes
from genoconv.pipelines.models.options import CalibrateOptions, ExportOptions, ImportOptions, RemoveOptions, ShowOptions
from genoconv.pipelines.options import NoOptions
from genoconv.pipelines.outcome import Outcome
from genoconv.wording import count, printable

app = typer.Typer(
    name="models",
    help="Import, export, calibrate and describe HyenaDNA models.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command("import")
@takes(ImportOptions)
def import_(options: ImportOptions) -> Outcome:
    """Convert a published HyenaDNA checkpoint to a model folder.

    SRC has the transformers layout (config.json, model.safetensors) or the original one (config.json, weights.ckpt).
    Only tensors and plain containers are read from a pickle; no code in it is ever run. Without -o the model is stored
    under its name, which every command accepts: -m medium-160k.

    **Examples**

        genoconv models import downloads/hyenadna-tiny-1k-seqlen-hf -o models/tiny

        genoconv models import medium-160k

        genoconv models import OWNER/NAME -o models/small
    """
    from genoconv.pipelines.models.run import import_model

    made = import_model(
        options.source,
        options.output,
        revision=options.revision,
        modulation_shift=options.modulation_shift,
        force=options.force,
    )
    for note in made.notes:
        console.summary(note)
    return Outcome(
        line=f"{made.folder}: {made.parameters:,} parameters, {count(made.config.n_layer, 'layer')} of"
        f" {made.config.d_model},"
        f" up to {made.config.max_length:,} tokens, from the {made.layout} layout; model digest {made.digest[:12]}",
        counts={"parameters": made.parameters},
        result={"layout": made.layout, "model_digest": made.digest, "notes": made.notes},
        outputs={"output": [made.folder]},
    )


@app.command("export")
@takes(ExportOptions)
def export(options: ExportOptions) -> Outcome:
    """Export a model in a layout that HyenaDNA's own code can load.

    An imported model is exported with the same tensors that it was imported with, bit for bit.

    **Examples**

        genoconv models export models/tiny --format hyenadna-hf -o back

        genoconv models export runs/yeast --format hyenadna-original -o out
    """
    from genoconv.pipelines.models.run import export_model, layout_named

    layout = layout_named(options.format)
    notes = export_model(options.model, options.output, layout=layout, force=options.force)
    for note in notes:
        console.summary(note)
    return Outcome(
        line=f"{options.output}: {options.model} in the {options.format} layout",
        result={"notes": notes},
        outputs={"output": sorted(path for path in options.output.iterdir() if path.is_file())},
    )


@app.command("calibrate")
@takes(CalibrateOptions)
def calibrate(options: CalibrateOptions) -> Outcome:
    """Calibrate a model, so that its scores are reported with percentiles.

    Scores random variants from a genome and stores the distribution of their scores in the model folder: SNVs by
    sequence context, indels by length. score-variants and scan then add GCONV_PCT, the percentile of a score among
    random variants of the same kind (low means unexpected), and GCONV_Z.

    **Examples**

        genoconv models calibrate runs/yeast --genome saccer3

        genoconv models calibrate models/tiny -f hg38.fa --sample 20m

        genoconv models calibrate models/tiny -f hg38.fa --window 512 --force
    """
    from genoconv.pipelines.models.calibrate import calibrate_model

    made = calibrate_model(options)
    return Outcome(line=str(made), counts=made.counts(), outputs={"model": list(made.files)})


@app.command("show")
@takes(ShowOptions, configurable=False)
def show(options: ShowOptions) -> Outcome:
    """Describe a model: sizes, parameters, tokenizer, provenance and digests.

    **Examples**

        genoconv models show runs/yeast

        genoconv models show models/tiny --json -
    """
    from genoconv.pipelines.models.run import describe_model

    facts = describe_model(options.model)
    for name, value in _facts(facts).items():
        console.line(f"{name:<12} {value}")
    console.line("provenance")
    _print_tree(facts["provenance"], depth=1)
    return Outcome(result=facts)


def _facts(facts: dict[str, Any]) -> dict[str, object]:
    """The lines of ``models show``."""
    sizes, tokenizer = facts["model"], facts["tokenizer"]
    head = facts["head"]
    return {
        "model": f"HyenaDNA, {facts['preset'] or 'custom sizes'}",
        "parameters": f"{facts['parameters']:,}",
        "sizes": f"{count(sizes['n_layer'], 'layer')} of {sizes['d_model']}, MLP {sizes['d_inner']}",
        "filters": f"network of width {sizes['filter_order']}, {sizes['emb_dim']} positional features, "
        f"decay above {sizes['modulation_shift']}",
        "head": _head(head) if "labels" in head else "the next base",
        "max length": f"{facts['max_length']:,} tokens",
        "tokenizer": f"{tokenizer['unit']}: {' '.join(tokenizer['vocabulary'])}",
        "weights": f"{facts['weights_bytes']:,} bytes, sha256 {facts['weights_sha256']}",
        "digest": facts["model_digest"],
        "calibration": _calibration(facts["calibration"]),
        "written by": f"genoconv {facts['genoconv_version']}",
    }


def _calibration(found: dict[str, Any] | None) -> str:
    if found is None:
        return "none; to make one, run genoconv models calibrate"
    return (
        f"{found['positions']:,} positions and {found['variants']:,} variants of {printable(str(found['genome']))}, "
        f"window {found['window']:,}"
    )


def _head(head: dict[str, Any]) -> str:
    each = " for every base" if head.get("pooling") == "none" else ""
    return f"{head['kind']}{each}: {', '.join(head['labels'])}"


@app.command("list")
@takes(NoOptions, configurable=False)
def list_(options: NoOptions) -> Outcome:
    """List named models: those on this machine, and those that can be imported from the hub.

    **Examples**

        genoconv models list

        genoconv models list --json -
    """
    from genoconv.pipelines.models.run import list_models

    rows = list_models()
    width = max(len(row["name"]) for row in rows)
    console.line(f"{'name':<{width}} {'layers':>6} {'width':>5} {'tokens':>9} {'parameters':>10}  where")
    for row in rows:
        sizes = f"{row['n_layer']:>6} {row['d_model']:>5} {row['max_length']:>9,} {row['parameters']:>10,}"
        where = f"hub: {row['repository']}" if row["folder"] is None else f"{row['kind']}: {row['folder']}"
        console.line(f"{row['name']:<{width}} {sizes}  {where}")
    return Outcome(counts={"models": len(rows)}, result=rows)


@app.command("remove")
@takes(RemoveOptions, configurable=False)
def remove(options: RemoveOptions) -> Outcome:
    """Delete a model that was imported without -o. Delete any other model folder yourself.

    **Examples**

        genoconv models remove medium-160k
    """
    from genoconv.pipelines.models.run import remove_model

    return Outcome(line=remove_model(options.name))


def _print_tree(values: dict[str, object], *, depth: int) -> None:
    """Nested values as indented lines; what is empty or longer than a screen is left to --json."""
    width = max([12, *(len(name) for name, value in values.items() if not isinstance(value, dict))])
    for name, value in values.items():
        if isinstance(value, dict) and value:
            console.line(f"{'  ' * depth}{name}")
            _print_tree(value, depth=depth + 1)
        elif value not in ({}, [], None):
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            console.line(f"{'  ' * depth}{name:<{width}} {text if len(text) <= 200 else text[:197] + '...'}")
