"""Cross-validation of a labelled table: the honest rows beside a fine-tuned model, on predictions out of fold.

    python benchmarks/evaluation.py human_nontata_promoters.test.csv.gz --name nontata [--model DIR] [--rows ...]

Every record is predicted once, by a model that has not seen it: ``--folds`` folds, stratified by class, a tenth of each
training part for validation. With ``--grouped``, ids are ``GROUP:NAME`` and a group is never divided. A table with a
split column that has a test set (or a folder with ``test`` in it) is not cross-validated: its test set is predicted, by
a model of its training set. Rows: ``gc`` and ``kmers`` (linear models; k of 3 to 6 and the penalty by validation),
``frozen`` (a linear model on the states of ``--model``, averaged over the bases: those of all ``--layers``, as
``finetune --mode head`` sees them, or of the last one), ``random`` (the same on random weights), and ``head``, ``lora``
and ``full``, which run ``genoconv finetune`` on each fold, ``--jobs`` at once; ``--with full "--lr 1e-3"`` adds
options to it. Rows of a model need ``--model``; rows of an earlier call on the same folds are kept.
Figures are over all records, with 95 % bootstrap intervals. Writes ``evaluation-NAME.md`` and ``.json``.

Published figures for comparison stand in :data:`PUBLISHED`. They were measured on the published test set after training
on the published training set; cross-validation of one table is not the same experiment.
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from recorded import commit, today

from genoconv.models import HyenaDNA, load_model, preset
from genoconv.models.devices import resolve_device
from genoconv.models.heads import HeadConfig, Predictor
from genoconv.pipelines.finetune.inputs import Dataset, gather
from genoconv.pipelines.finetune.labels import Labels
from genoconv.pipelines.finetune.options import FinetuneConfig
from genoconv.pipelines.finetune.splits import stratified
from genoconv.pipelines.finetune.vectors import pooled
from genoconv.tokens import decode
from genoconv.train.evaluation import RESAMPLES, figures, intervals
from genoconv.train.probes import fit_probe, gc_share, kmer_shares

Array = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


class Fold(NamedTuple):
    """Numbers of records to learn from, to validate on and to predict."""

    train: Numbers
    valid: Numbers
    test: Numbers


Row = Callable[[int, Fold], Array]
"""Predictions (N, K) for ``test`` of a fold and its number."""

PUBLISHED = {
    "nontata": "HyenaDNA (Nguyen et al. 2023): 96.6 % accuracy, fine-tuned from published weights on the"
    " published training set (27,097 sequences), measured on this table",
}
KS = (3, 4, 5, 6)
MODES = ("head", "lora", "full")
ROWS = ("gc", "kmers", "random", "frozen", *MODES)
GENOCONV = shutil.which("genoconv") or str(Path(sys.executable).with_name("genoconv"))


def labels(data: Dataset) -> Labels:
    """Labels of whole records; this benchmark has no rows for targets of every base."""
    assert isinstance(data.labels, Labels)
    return data.labels


def folds(data: Dataset, options: argparse.Namespace) -> list[Fold]:
    """Records to learn from, to validate on and to predict, for each fold; one where the table has a test set."""
    if has_test_set(data):
        return [Fold(*map(data.members, ("train", "valid", "test")))]
    fold = _folds_of_groups(data, options) if options.grouped else _stratified_folds(data, options)
    found = []
    for number in range(options.folds):
        split = stratified(
            labels(data).groups(), fractions=(0.1, 0.0), seed=options.seed + number, among=fold != number
        )
        rest = fold != number
        members = (rest & (split == "train"), rest & (split == "valid"), ~rest)
        found.append(Fold(*map(np.flatnonzero, members)))
    return found


def has_test_set(data: Dataset) -> bool:
    """Whether the table itself says which records are for testing: :func:`main` asks for none by chance."""
    return len(data.members("test")) > 0


def _stratified_folds(data: Dataset, options: argparse.Namespace) -> Numbers:
    random = np.random.default_rng(options.seed)
    fold = np.zeros(len(data.names), np.int64)
    classes = np.array(labels(data).groups())
    for one in np.unique(classes):
        members = random.permutation(np.flatnonzero(classes == one))
        fold[members] = np.arange(len(members)) % options.folds
    return fold


def _folds_of_groups(data: Dataset, options: argparse.Namespace) -> Numbers:
    """Whole groups, the largest first, each to the fold that has the fewest records of its most frequent class."""
    random = np.random.default_rng(options.seed)
    names = np.array([name.partition(":")[0] for name in data.names])
    classes = np.array(labels(data).groups()).astype(np.int64)
    sizes = {name: np.bincount(classes[names == name], minlength=classes.max() + 1) for name in np.unique(names)}
    held = np.zeros((options.folds, classes.max() + 1), np.int64)
    fold = np.zeros(len(names), np.int64)
    order = random.permutation(sorted(sizes))
    for name in sorted(order, key=lambda name: -int(sizes[name].sum())):
        chosen = int(held[:, sizes[name].argmax()].argmin())
        held[chosen] += sizes[name]
        fold[names == name] = chosen
    return fold


def linear(data: Dataset, head: HeadConfig, choices: list[Array]) -> Row:
    """A linear model on the best of several kinds of features."""
    targets = labels(data).targets

    def row(_: int, fold: Fold) -> Array:
        held_out = [(x[fold.valid], targets[fold.valid]) for x in choices]
        probes = [
            fit_probe(head, x[fold.train], targets[fold.train], valid=some)
            for x, some in zip(choices, held_out, strict=True)
        ]
        best = min(range(len(probes)), key=lambda number: probes[number].loss)
        return probes[best].predict(choices[best][fold.test])

    return row


def command(data: Dataset, options: argparse.Namespace, mode: str, pool: Executor) -> Row:
    """``genoconv finetune`` on each fold; all folds are begun at once."""
    running = [pool.submit(_finetuned, data, options, mode, n, fold) for n, fold in enumerate(folds(data, options))]
    return lambda number, fold: running[number].result()


def _finetuned(data: Dataset, options: argparse.Namespace, mode: str, number: int, fold: Fold) -> Array:
    split = np.full(len(data.names), "", "<U5")
    split[fold.train], split[fold.valid], split[fold.test] = "train", "valid", "test"
    folder = options.work / f"{options.name}-{mode}-{number}"
    table = folder.with_suffix(".tsv")
    lines = ["id\tsequence\tlabel\tsplit"]
    for n, (tokens, target, part) in enumerate(zip(data.sequences, labels(data).targets, split, strict=True)):
        label = labels(data).names[int(target[0])] if labels(data).kind != "regression" else f"{target[0]:.7g}"
        lines.append(f"r{n}\t{decode(tokens).replace('?', 'N')}\t{label}\t{part}")
    table.write_text("\n".join(lines) + "\n")
    words = ["finetune", table, "-m", options.model, "-o", folder, "--force", "--no-baselines", "--mode", mode]
    words += ["--seed", options.seed, "--strand", options.strand, "--quiet", *more_options(options, mode)]
    began = time.monotonic()
    done = subprocess.run([GENOCONV, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{mode}, fold {number}: {done.stderr}")
    seconds = time.monotonic() - began
    best = json.loads((folder / "config.json").read_text())["provenance"]
    print(f"{mode}, fold {number}: {seconds:.0f} s, {best['steps']} steps, best {best['best_step']}", flush=True)
    with (folder / "predictions.tsv").open() as stream:
        rows = [line.rstrip("\n").split("\t") for line in stream][1:]
    found = {name: list(map(float, values)) for name, part, _, *values in rows if part == "test"}
    return np.array([found[f"r{n}"] for n in fold.test.tolist()], np.float32)


def more_options(options: argparse.Namespace, mode: str) -> list[str]:
    return [word for one, words in options.extra if one == mode for word in shlex.split(words)]


def vectors(data: Dataset, model: HyenaDNA, head: HeadConfig) -> Array:
    return pooled(Predictor.on(model.to(resolve_device("auto")), head).eval(), data.sequences)


def make_rows(
    data: Dataset, head: HeadConfig, options: argparse.Namespace, pool: Executor
) -> dict[str, Callable[[], Row]]:
    both = options.strand == "both"
    sizes = load_model(options.model).config if options.model else preset("tiny-1k")

    def random_weights() -> Row:
        torch.manual_seed(options.seed)
        return linear(data, head, [vectors(data, HyenaDNA(sizes), head)])

    running = {mode: command(data, options, mode, pool) for mode in MODES if mode in options.rows}
    return {
        "gc": lambda: linear(data, head, [gc_share(data.sequences)]),
        "kmers": lambda: linear(data, head, [kmer_shares(data.sequences, k, both_strands=both) for k in options.k]),
        "random": random_weights,
        "frozen": lambda: linear(data, head, [vectors(data, load_model(options.model), head)]),
        **{mode: partial(lambda row: row, running[mode]) for mode in running},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--name", required=True, help="of the results")
    parser.add_argument("--model", type=Path, help="folder of a pretrained model")
    parser.add_argument("--rows", nargs="+", default=["gc", "kmers", "random"])
    parser.add_argument("--k", nargs="+", type=int, default=list(KS), help="lengths of k-mers")
    parser.add_argument("--layers", choices=["last", "all"], default="all", help="that random and frozen see")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--grouped", action="store_true", help="hold out whole groups")
    parser.add_argument("--jobs", type=int, default=1, help="fine-tuning runs at once")
    parser.add_argument("--with", nargs=2, action="append", default=[], dest="extra", metavar=("ROW", "OPTIONS"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strand", choices=["forward", "both"], default="forward")
    parser.add_argument("--work", type=Path, default=Path("runs/evaluation"))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    for folder in (options.work, options.output):
        folder.mkdir(parents=True, exist_ok=True)
    data = gather(FinetuneConfig(table=options.table, test_fraction=0.0))
    both = options.strand == "both"
    head = HeadConfig(kind=labels(data).kind, labels=labels(data).names, layers=options.layers, both_strands=both)
    with ThreadPoolExecutor(options.jobs) as pool:
        rows = make_rows(data, head, options, pool)
        found = earlier(options, data)
        for name in options.rows:
            began, row = time.process_time(), rows[name]()
            predicted = np.full((len(data.names), head.outputs), np.nan, np.float32)
            each = folds(data, options)
            for number, fold in enumerate(each):
                predicted[fold.test] = row(number, fold)
            tested = np.sort(np.concatenate([fold.test for fold in each]))
            predicted, targets = predicted[tested], labels(data).targets[tested]
            measured = figures(head, predicted, targets)
            found[name] = {
                "figures": measured,
                "intervals": intervals(head, predicted, targets, resamples=RESAMPLES),
                "cpu_seconds": time.process_time() - began,
                **facts_of_a_row(options, name),
            }
            print(name, {key: round(value, 4) for key, value in measured.items()}, flush=True)
            write(options, data, found)


def facts(options: argparse.Namespace, data: Dataset) -> dict[str, object]:
    """What all rows of a report have in common."""
    counts = np.bincount(labels(data).targets[:, 0].astype(np.int64)).tolist() if labels(data).kind == "binary" else []
    whole = ", whole groups" if options.grouped else ""
    return {
        "table": f"{options.table.name}, {len(data.names):,} records {counts}",
        "folds": "none, the test set of the table" if has_test_set(data) else f"{options.folds}{whole}",
        "seed": options.seed,
        "strand": options.strand,
        "k": options.k,
    }


def facts_of_a_row(options: argparse.Namespace, name: str) -> dict[str, object]:
    own = {"options": " ".join(more_options(options, name)) or "defaults"} if name in MODES else {}
    own = {"options": f"--layers {options.layers}"} if name in ("random", "frozen") else own
    model = {"model": options.model.name} if options.model and name not in ("gc", "kmers") else {}
    return {
        **model,
        **own,
        "commit": commit(),
        "date": today(),
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {os.cpu_count()} cores",
        "versions": f"python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
    }


def earlier(options: argparse.Namespace, data: Dataset) -> dict[str, object]:
    """Rows of an earlier call on the same folds."""
    path = options.output / f"evaluation-{options.name}.json"
    if not path.exists():
        return {}
    report = json.loads(path.read_text())
    same = all(report.get(key) == value for key, value in facts(options, data).items())
    return dict(report["rows"]) if same else {}


def write(options: argparse.Namespace, data: Dataset, rows: dict[str, Any]) -> None:
    common = facts(options, data)
    report = {"rows": rows, **common}
    (options.output / f"evaluation-{options.name}.json").write_text(json.dumps(report, indent=1) + "\n")
    names = list(next(iter(rows.values()))["figures"])
    lines = [f"# Cross-validation: {options.name}", "", "`benchmarks/evaluation.py`, which says what is compared.", ""]
    lines += [
        f"| row | {' | '.join(names)} | model | options | machine, commit, date |",
        "|---" * (len(names) + 4) + "|",
    ]
    for name in (name for name in ROWS if name in rows):
        row = rows[name]
        cells = [
            f"{row['figures'][n]:.4f} ({row['intervals'][n][0]:.4f} to {row['intervals'][n][1]:.4f})" for n in names
        ]
        cells += [row.get("model", ""), row.get("options", ""), f"{row['machine']}, {row['commit']}, {row['date']}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    missing = [name for name in ROWS if name not in rows]
    if missing:
        lines += ["", f"Not measured: {', '.join(missing)}. They need a pretrained model: `--model`."]
    if options.name in PUBLISHED:
        lines += ["", f"Published, for comparison: {PUBLISHED[options.name]}."]
    lines += ["", "; ".join(f"{key}: {value}" for key, value in common.items()) + "."]
    lines += ["", "; ".join(sorted({row["versions"] for row in rows.values()})) + "."]
    (options.output / f"evaluation-{options.name}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
