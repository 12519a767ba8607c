"""Which data: models of one budget trained on different sequences, compared on the same held-out ones.

    python benchmarks/which_data.py [--data DATA] [--work DIR] [--toy] [NAME ...]

Trains each configuration of ``benchmarks/configs/which-data`` (human alone or several species, with and without weights
on functional regions) with ``genoconv train``, unless its model is in the work folder already, and measures each on:

* **perplexity per species**: the validation windows of ``all.yaml``, which no configuration learns from: windows and
  split depend on each source and the seed alone;
* **promoters**: the linear probe of ``promoters.py`` on frozen embeddings, accuracy on held-out sequences;
* **allele frequency**: the 1000 Genomes SNVs of chr20:1-2 Mb, which no model has seen. Are rare alternative alleles
  (below 0.1 %) scored below common ones (above 5 %)? Area under the ROC curve of minus the log-likelihood ratio, with
  the 95 % interval of 1,000 bootstrap samples of the variants.

Beside them rows that need no network: the GC content (for variants: whether a G or C is lost), and 5-mers (their
counts for promoters; for variants the log-likelihood ratio under a Markov model of order 5 counted in the human
training windows). ``--toy`` takes a model and a budget of seconds, to try the script: its figures mean nothing. Writes
``which_data.json`` and ``which_data.md``.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import promoters
import torch
from alleles import DRAWN, ORDER, Variants, markov_ratios, scores, select
from areas import bootstrapped
from recorded import commit, today, versions

from genoconv.models import load_model
from genoconv.pipelines.resolve import Call
from genoconv.pipelines.train.config import resolve
from genoconv.pipelines.train.inputs import Inputs, gather
from genoconv.pipelines.train.options import TrainConfig
from genoconv.tokens import A, decode, reverse_complement
from genoconv.train.held_out import HeldOut
from genoconv.train.objectives.next_base import NextBase
from genoconv.train.readers import WindowReader
from genoconv.train.stream import Share

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = Path(__file__).parent / "configs" / "which-data"
GENOCONV = Path(sys.executable).with_name("genoconv")
TOY = ("preset=tiny-1k", "max_length=256", "model.d_model=16", "model.n_layer=1", "run.max_steps=4", "run.device=cpu")
TOY_DATA = ("data.valid_tokens=20000", "data.tokens_per_batch=4096")

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


def configuration(name: str, options: argparse.Namespace) -> Path:
    """A configuration with the folder of the data and, where only the script is tried, with a toy model."""
    path: Path = options.work / f"{name}.yaml"
    path.write_text((CONFIGS / f"{name}.yaml").read_text().replace("DATA/", f"{options.data}/"))
    return path


def trained(name: str, options: argparse.Namespace) -> Path:
    """The model folder of a configuration; trained unless it is there."""
    folder: Path = options.work / name
    if not (folder / "config.json").exists():
        words = ["train", configuration(name, options), "-o", folder, "--force", *assignments(options)]
        subprocess.run([str(word) for word in (GENOCONV, *words)], check=True)
    return folder


def assignments(options: argparse.Namespace) -> list[str]:
    """``--set`` of a toy run."""
    return [word for text in (TOY + TOY_DATA if options.toy else ()) for word in ("--set", text)]


def common(options: argparse.Namespace) -> tuple[TrainConfig, Inputs]:
    """Every species with its windows, the same for all models."""
    config = resolve(
        Call(TrainConfig, configuration("all", options), assignments=TOY + TOY_DATA if options.toy else ())
    )
    return config, gather(config, max_length=config.sizes().max_bases, offline=True, quiet=True)


def perplexities(model: Path, config: TrainConfig, inputs: Inputs) -> dict[str, float]:
    """Perplexity of each species and region, and of all validation windows."""
    network, objective, reader = load_model(model), NextBase(inputs.strata), inputs.reader("valid")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device).eval()
    held_out = HeldOut(
        "valid",
        reader,
        bases=config.data.valid_tokens,
        tokens_per_batch=config.data.tokens_per_batch,
        parts=reader.parts,
    )
    total = np.zeros(objective.terms)
    with torch.inference_mode():
        for batch in held_out.batches(Share()):
            moved = batch._replace(
                ids=batch.ids.to(device), weights=batch.weights.to(device), strata=batch.strata.to(device)
            )
            total += objective.sums(network, moved).double().cpu().numpy()
    return {name: value for name, value in objective.figures(total.tolist()).items() if name.startswith("perplexity")}


def likelihood_ratios(model: Path, some: Variants, options: argparse.Namespace) -> Floats:
    """LLR of each variant, by the installed command."""
    output = options.work / f"{model.name}.vcf"
    words = ["score-variants", some.path, "-f", some.fasta, "-m", model, "-o", output, "--force", "-q", "-w", "1024"]
    subprocess.run([str(word) for word in (GENOCONV, *words)], check=True)
    return scores(output)


def promoter_sets(options: argparse.Namespace) -> tuple[list[Any], Labels, Labels]:
    """Sequences of ``promoters.py``, which of them are promoters, which are held out."""
    yes, families = promoters.promoters(options.data)
    mers = [m for s in yes for t in (s, reverse_complement(s)) for m in promoters.mers(t, promoters.SHARED)]
    no, chromosomes = promoters.others(options.data, len(yes), set(map(int, mers)))
    if options.toy:
        yes, families, no, chromosomes = yes[:300], families[:300], no[:300], chromosomes[:300]
    labels = np.array([True] * len(yes) + [False] * len(no))
    return yes + no, labels, np.concatenate([promoters.held_out(families), promoters.held_out(chromosomes)])


def probed(features: Floats, labels: Labels, test: Labels) -> float:
    """Accuracy of the linear probe on held-out sequences."""
    logits, _ = promoters.probe(features, labels, test)
    return float(((logits > 0) == labels[test]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"configurations; default: {', '.join(names)}")
    data = Path(os.environ.get("GENOCONV_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=data, help="folder of the test data")
    parser.add_argument("--work", type=Path, default=Path("runs/which-data"), help="where models and files go")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--variants", type=int, default=DRAWN, help="most rare and most common variants")
    parser.add_argument("--jobs", type=int, default=1, help="models trained at a time; the budget is in steps")
    parser.add_argument("--toy", action="store_true", help="models of seconds, to try the script")
    options = parser.parse_args()
    options.data = options.data.resolve()
    options.work.mkdir(parents=True, exist_ok=True)

    config, inputs = common(options)
    some = select(options.data, options.work / "variants.vcf", most=options.variants)
    sequences, labels, test = promoter_sets(options)
    fasta = options.work / "promoters.fa"
    fasta.write_text("".join(f">s{n}\n{decode(tokens)}\n" for n, tokens in enumerate(sequences)))

    def commands(name: str) -> tuple[Path, Floats, Floats]:
        model = trained(name, options)
        vectors = promoters.embeddings(model, fasta, options.work / f"{name}.npz")
        return model, likelihood_ratios(model, some, options), vectors

    rows: list[dict[str, Any]] = []
    chosen = options.names or names
    with ThreadPoolExecutor(options.jobs) as pool:
        for name, (model, ratios, vectors) in zip(chosen, pool.map(commands, chosen), strict=True):
            rows.append(
                {
                    "name": name,
                    **perplexities(model, config, inputs),
                    "promoters": probed(vectors, labels, test),
                    "alleles": bootstrapped(-ratios, some.rare),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    rows += plain_rows(inputs, some, sequences, labels, test)
    write(rows, inputs, options, some=some)


def plain_rows(
    inputs: Inputs, some: Variants, sequences: Sequence[Any], labels: Labels, test: Labels
) -> list[dict[str, Any]]:
    """What needs no network: the GC content, and 5-mers."""
    share = np.array([[((s == A + 1) | (s == A + 2)).mean()] for s in sequences])
    human = inputs.assemblies[0]
    windows = WindowReader(human.fasta, human.split("train"))
    counts = [np.bincount(promoters.mers(s, ORDER).astype(np.int64), minlength=4**ORDER) for s in sequences]
    return [
        {"name": "GC content", "promoters": probed(share, labels, test), "alleles": bootstrapped(some.lost, some.rare)},
        {
            "name": "5-mers",
            "promoters": probed(np.array(counts, np.float64), labels, test),
            "alleles": bootstrapped(-markov_ratios(windows, some), some.rare),
        },
    ]


def write(rows: list[dict[str, Any]], inputs: Inputs, options: argparse.Namespace, *, some: Variants) -> None:
    """The table, as JSON and Markdown."""
    facts = {
        "budget": "toy, its figures mean nothing" if options.toy else "that of the configurations",
        "variants": f"{some.rare.sum():,} rare, {(~some.rare).sum():,} common",
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {os.cpu_count()} cores",
        "versions": versions(),
        "commit": commit(),
        "date": today(),
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "which_data.json").write_text(json.dumps({"rows": rows, **facts}, indent=1) + "\n")
    parts = [*inputs.names, *inputs.regions]
    heads = ["trained on", *parts, "all", "promoters", "rare against common (95 %)"]
    lines = ["# Which data", "", "`benchmarks/which_data.py`, which says what is measured.", ""]
    lines += ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for row in rows:
        figures = [row.get(f"perplexity[{part}]", math.nan) for part in parts] + [row.get("perplexity", math.nan)]
        cells = ["" if math.isnan(value) else f"{value:.4f}" for value in figures]
        middle, low, high = row["alleles"]
        cells += [f"{row['promoters']:.1%}", f"{middle:.3f} ({low:.3f} to {high:.3f})"]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    lines += ["", "; ".join(f"{key}: {value}" for key, value in facts.items()) + "."]
    (options.output / "which_data.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
