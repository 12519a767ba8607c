"""Cross-validation of a labelled table: the honest rows beside a fine-tuned model, on predictions out of fold.

    python benchmarks/evaluation.py human_nontata_promoters.test.csv.gz --name nontata [--model DIR] [--rows ...]

Every record is predicted once, by a model that has not seen it: ``--folds`` folds, stratified by class, a tenth of each
training part for validation. Rows: ``gc`` and ``kmers`` (linear models; k of 3 to 6 and the penalty by validation),
``random`` (a linear model on the pooled vectors of random weights), ``frozen`` (the same on those of ``--model``), and
``head``, ``lora`` and ``full``, which run ``genoconv finetune`` on each fold. Rows of a model need ``--model``.
Figures are over all records, with 95 % bootstrap intervals. Writes ``evaluation-NAME.md`` and ``.json``.

Published figures for comparison stand in :data:`PUBLISHED`. They were measured on the published test set after training
on the published training set; cross-validation of one table is not the same experiment.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from genoconv.models import HyenaDNA, load_model, preset
from genoconv.models.heads import HeadConfig, Predictor
from genoconv.pipelines.finetune.inputs import Dataset, gather
from genoconv.pipelines.finetune.options import FinetuneConfig
from genoconv.pipelines.finetune.splits import stratified
from genoconv.pipelines.finetune.vectors import pooled
from genoconv.tokens import decode
from genoconv.train.evaluation import RESAMPLES, figures, intervals
from genoconv.train.probes import fit_probe, gc_share, kmer_shares

Array = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Row = Callable[[Numbers, Numbers, Numbers], Array]
"""Predictions (N, K) for the third numbers, from training on the first and validation on the second."""

PUBLISHED = {
    "nontata": "HyenaDNA (Nguyen et al. 2023): 96.6 % accuracy, fine-tuned from published weights on the"
    " published training set (27,097 sequences), measured on this table",
}
KS = (3, 4, 5, 6)


def folds(data: Dataset, count: int, seed: int) -> list[tuple[Numbers, Numbers, Numbers]]:
    """Records to learn from, to validate on and to predict, for each fold."""
    random = np.random.default_rng(seed)
    fold = np.zeros(len(data.names), np.int64)
    groups = np.array(data.groups())
    for group in np.unique(groups):
        members = random.permutation(np.flatnonzero(groups == group))
        fold[members] = np.arange(len(members)) % count
    found = []
    for number in range(count):
        split = stratified(data.groups(), fractions=(0.1, 0.0), seed=seed + number, among=fold != number)
        rest = fold != number
        found.append(
            (
                np.flatnonzero(rest & (split == "train")),
                np.flatnonzero(rest & (split == "valid")),
                np.flatnonzero(~rest),
            )
        )
    return found


def linear(data: Dataset, head: HeadConfig, choices: list[Array]) -> Row:
    """A linear model on the best of several kinds of features."""
    targets = data.labels.targets

    def row(train: Numbers, valid: Numbers, test: Numbers) -> Array:
        probes = [fit_probe(head, x[train], targets[train], valid=(x[valid], targets[valid])) for x in choices]
        best = min(range(len(probes)), key=lambda number: probes[number].loss)
        return probes[best].predict(choices[best][test])

    return row


def command(data: Dataset, options: argparse.Namespace, mode: str) -> Row:
    """``genoconv finetune`` on each fold."""

    def row(train: Numbers, valid: Numbers, test: Numbers) -> Array:
        split = np.full(len(data.names), "", "<U5")
        split[train], split[valid], split[test] = "train", "valid", "test"
        table = options.work / "fold.tsv"
        lines = ["id\tsequence\tlabel\tsplit"]
        for n, (tokens, target, part) in enumerate(zip(data.sequences, data.labels.targets, split, strict=True)):
            label = data.labels.names[int(target[0])] if data.labels.kind != "regression" else f"{target[0]:.7g}"
            lines.append(f"r{n}\t{decode(tokens).replace('?', 'N')}\t{label}\t{part}")
        table.write_text("\n".join(lines) + "\n")
        words = ["finetune", table, "-m", options.model, "-o", options.work / mode, "--force", "--no-baselines"]
        words += ["--mode", mode, "--seed", options.seed, "--strand", options.strand, "--quiet"]
        subprocess.run([str(Path(sys.executable).with_name("genoconv")), *map(str, words)], check=True)
        with (options.work / mode / "predictions.tsv").open() as stream:
            rows = [line.rstrip("\n").split("\t") for line in stream][1:]
        found = {name: list(map(float, values)) for name, part, _, *values in rows if part == "test"}
        return np.array([found[f"r{n}"] for n in test.tolist()], np.float32)

    return row


def vectors(data: Dataset, model: HyenaDNA, head: HeadConfig) -> Array:
    return pooled(Predictor.on(model, head).eval(), data.sequences)


def make_rows(data: Dataset, head: HeadConfig, options: argparse.Namespace) -> dict[str, Callable[[], Row]]:
    both = options.strand == "both"
    sizes = load_model(options.model).config if options.model else preset("tiny-1k")

    def random_weights() -> Row:
        torch.manual_seed(options.seed)
        return linear(data, head, [vectors(data, HyenaDNA(sizes), head)])

    return {
        "gc": lambda: linear(data, head, [gc_share(data.sequences)]),
        "kmers": lambda: linear(data, head, [kmer_shares(data.sequences, k, both_strands=both) for k in options.k]),
        "random": random_weights,
        "frozen": lambda: linear(data, head, [vectors(data, load_model(options.model), head)]),
        **{mode: lambda mode=mode: command(data, options, mode) for mode in ("head", "lora", "full")},  # type: ignore[misc]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--name", required=True, help="of the results")
    parser.add_argument("--model", type=Path, help="folder of a pretrained model")
    parser.add_argument("--rows", nargs="+", default=["gc", "kmers", "random"])
    parser.add_argument("--k", nargs="+", type=int, default=list(KS), help="lengths of k-mers")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strand", choices=["forward", "both"], default="forward")
    parser.add_argument("--work", type=Path, default=Path("runs/evaluation"))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    data = gather(FinetuneConfig(table=options.table, test_fraction=0.0))
    head = HeadConfig(kind=data.labels.kind, labels=data.labels.names, both_strands=options.strand == "both")
    rows = make_rows(data, head, options)
    found: dict[str, object] = {}
    for name in options.rows:
        began, row = time.process_time(), rows[name]()
        predicted = np.full((len(data.names), head.outputs), np.nan, np.float32)
        for train, valid, test in folds(data, options.folds, options.seed):
            predicted[test] = row(train, valid, test)
        measured = figures(head, predicted, data.labels.targets)
        found[name] = {
            "figures": measured,
            "intervals": intervals(head, predicted, data.labels.targets, resamples=RESAMPLES),
            "cpu_seconds": time.process_time() - began,
        }
        print(name, {key: round(value, 4) for key, value in measured.items()}, flush=True)
        write(options, data, found)


def write(options: argparse.Namespace, data: Dataset, rows: dict[str, object]) -> None:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    counts = np.bincount(data.labels.targets[:, 0].astype(np.int64)).tolist() if data.labels.kind == "binary" else []
    facts = {
        "table": f"{options.table.name}, {len(data.names):,} records {counts}",
        "folds": options.folds,
        "seed": options.seed,
        "strand": options.strand,
        "k": options.k,
        "model": str(options.model.name) if options.model else "none; sizes of tiny-1k",
        "commit": commit.stdout.strip() or "unknown",
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU",
        "versions": f"python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
    }
    report = {"rows": rows, **facts}
    (options.output / f"evaluation-{options.name}.json").write_text(json.dumps(report, indent=1) + "\n")
    names = list(next(iter(rows.values()))["figures"])  # type: ignore[index, call-overload]
    lines = [f"# Cross-validation: {options.name}", "", "`benchmarks/evaluation.py`, which says what is compared.", ""]
    lines += [f"| row | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for name, row in rows.items():
        cells = [
            f"{row['figures'][n]:.4f} ({row['intervals'][n][0]:.4f} to {row['intervals'][n][1]:.4f})"  # type: ignore[index]
            for n in names
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    missing = [name for name in ("frozen", "head", "lora", "full") if name not in rows]
    if missing:
        lines += [
            "",
            f"Not measured: {', '.join(missing)}. They need a model pretrained on a GPU; give it with `--model`.",
        ]
    if options.name in PUBLISHED:
        lines += ["", f"Published, for comparison: {PUBLISHED[options.name]}."]
    lines += ["", "; ".join(f"{key}: {value}" for key, value in facts.items()) + "."]
    (options.output / f"evaluation-{options.name}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
