"""What a longer view is worth: held-out perplexity of the same bases, with more and more of what lies before them.

    python benchmarks/context.py MODEL... --config benchmarks/configs/whole-genes.yaml [--contexts 1024 4096 ... 0]
    python benchmarks/context.py MODEL... --fasta PGF.fa.gz --name beyond [--contexts ...]

Reads the held-out windows (validation and test) of a configuration of ``genoconv train``, or whole contigs of FASTA
files that no model learned from, cuts each into pieces of so many bases, and lets each model read every piece by
itself; 0 is the whole window. Longer pieces are longer views; the bases that are counted are the same for all, those
that do not begin a piece of the shortest kind. On a GPU in bf16. Writes ``context-NAME.json`` and ``.md``.
"""

# mypy: disable-error-code="no-untyped-call, no-any-return"

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recorded import commit, today, versions

from genoconv.genome.fasta.access import Fasta
from genoconv.models import HyenaDNA, load_model
from genoconv.models.likelihood import next_base_sums
from genoconv.pipelines.resolve import Call
from genoconv.pipelines.train.config import resolve
from genoconv.pipelines.train.inputs import Inputs, gather
from genoconv.pipelines.train.options import TrainConfig
from genoconv.tokens import PAD, Tokens

ROOT = Path(__file__).resolve().parent.parent
SPLITS = ("valid", "test")


def held_out(inputs: Inputs) -> dict[str, list[Tokens]]:
    """The held-out windows of each source."""
    found = {}
    for source in inputs.assemblies:
        windows = [source.split(split) for split in SPLITS]
        found[source.name] = [
            source.fasta.tokens(contig, start, end)
            for frame in windows
            for contig, start, end in zip(frame["contig"], frame["start"], frame["end"], strict=True)
        ]
    return found


def configured(options: argparse.Namespace) -> dict[str, list[Tokens]]:
    """The held-out windows of the sources of a configuration that are asked for."""
    filled = options.output / f"{options.config.stem}.filled.yaml"
    filled.write_text(options.config.read_text().replace("DATA/", f"{options.data.resolve()}/"))
    config = resolve(Call(TrainConfig, filled))
    filled.unlink()
    inputs = gather(config, max_length=config.sizes().max_bases, offline=True, quiet=True)
    return {name: some for name, some in held_out(inputs).items() if name in (options.sources or [name])}


def contigs(paths: list[Path]) -> dict[str, list[Tokens]]:
    """Whole contigs, by file."""
    files = {path.name.split(".")[0]: Fasta(path) for path in paths}
    return {name: [file.tokens(*contig) for contig in whole(file)] for name, file in files.items()}


def whole(file: Fasta) -> list[tuple[str, int, int]]:
    """Where the contigs of a file begin and end."""
    return [(contig, 0, length) for contig, length in file.contigs.items()]


def pieces(window: Tokens, context: int, *, counted: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A window in rows of ``context`` tokens, padded, and the weight of each: 0 for every ``counted``-th base."""
    width = context or len(window)
    rows = math.ceil(len(window) / width)
    ids = np.full(rows * width, PAD, np.uint8)
    ids[: len(window)] = window
    weights = (np.arange(rows * width) % counted != 0).astype(np.float32)
    return torch.from_numpy(ids).reshape(rows, width), torch.from_numpy(weights).reshape(rows, width)


@torch.inference_mode()
def loss(model: HyenaDNA, windows: list[Tokens], context: int, *, counted: int, tokens: int) -> tuple[float, float]:
    """Summed loss of the counted bases, nats, and their number."""
    device = next(model.parameters()).device
    total = torch.zeros(2, dtype=torch.float64, device=device)
    for window in windows:
        ids, weights = pieces(window, context, counted=counted)
        each = max(1, tokens // ids.shape[1])
        for some, weigh in zip(ids.split(each), weights.split(each), strict=True):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                logits = model(some.to(device))
            total += next_base_sums(logits, some.to(device), weigh.to(device)).double()
    return float(total[0]), float(total[1])


def measure(path: Path, windows: dict[str, list[Tokens]], options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each context that the model can read."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(path, device=device)
    rows = []
    for context in options.contexts:
        if context > (model.config.input_limit or context):
            continue
        sums = {
            name: loss(model, some, context, counted=min(c for c in options.contexts if c), tokens=options.tokens)
            for name, some in windows.items()
        }
        sums["all"] = (sum(total for total, _ in sums.values()), sum(number for _, number in sums.values()))
        rows.append(
            {
                "model": path.name,
                "context": context,
                **{name: math.exp(total / max(1.0, number)) for name, (total, number) in sums.items()},
                "bases": {name: int(number) for name, (_, number) in sums.items()},
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def write(path: Path, rows: list[dict[str, Any]], names: list[str], facts: dict[str, str]) -> None:
    """The table, as JSON and Markdown."""
    path.with_suffix(".json").write_text(json.dumps({"rows": rows, **facts}, indent=1) + "\n")
    lines = ["# Perplexity by context", "", "`benchmarks/context.py`, which says what is measured.", ""]
    lines += ["| model | bases before, at most | " + " | ".join(names) + " |", "|---|---:" + "|---:" * len(names) + "|"]
    for row in rows:
        shown = f"{row['context'] - 1:,}" if row["context"] else "whole windows"
        lines.append(f"| {row['model']} | {shown} | " + " | ".join(f"{row[name]:.4f}" for name in names) + " |")
    bases = "; ".join(f"{name} {number:,}" for name, number in rows[0]["bases"].items())
    lines += ["", f"Bases counted: {bases}.", "", "; ".join(f"{key}: {value}" for key, value in facts.items()) + "."]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    data = Path(os.environ.get("GENOCONV_TEST_DATA", ROOT.parent / "shared" / "data"))
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--fasta", type=Path, nargs="+", help="whole contigs of these; give --name")
    source.add_argument("--config", type=Path, help="of genoconv train; DATA in it is --data")
    parser.add_argument("--data", type=Path, default=data, help="folder of the test data")
    parser.add_argument("--contexts", type=int, nargs="+", default=[1_024, 4_096, 32_768, 131_072, 0])
    parser.add_argument("--sources", nargs="*", help="of the configuration; default: all")
    parser.add_argument("--tokens", type=int, default=1 << 19, help="computed at a time")
    parser.add_argument("--name", help="of the results; default: that of the configuration")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    windows = contigs(options.fasta) if options.fasta else configured(options)
    rows = [row for path in options.models for row in measure(path, windows, options)]
    facts = {
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {os.cpu_count()} cores",
        "versions": versions(),
        "commit": commit(),
        "date": today(),
    }
    write(
        options.output / f"context-{options.name or (options.config or options.fasta[0]).stem}",
        rows,
        [*windows, "all"],
        facts,
    )


if __name__ == "__main__":
    main()
