"""The worked example of ``docs/embed.md``: do embeddings separate human promoters from other human sequence?

    genoconv train -f chr22.1-22000000.fa.gz --tiles -l 1024 --max-minutes 8 ... -o runs/chr22
    python benchmarks/promoters.py runs/chr22 [--data DATA] [--work DIR]

Promoters are the 2,929 of ``sequences/promoters_tata_human.fa.gz`` (EPDnew, 249 bases before the start of transcription
to 50 after it); the others are as many windows of 300 bases from ``windows_hg38``, without N, without any 32-mer of a
promoter, half of them from the opposite strand. Held out are whole regions of the others (a chromosome is in one set)
and whole families of promoters (two that share a 32-mer are in one set). No window is from chr22, for the model.

One probe, logistic regression on standardised features, is trained on the embeddings of ``genoconv embed``, on those
of the same network with random weights, on the counts of 4-mers, and on the GC content. The strength of its
penalty is chosen on a fifth of the training set. Writes ``promoters.md``, ``promoters.json`` and ``promoters.png``.
"""

# mypy: disable-error-code="no-untyped-call, no-any-return"

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from recorded import commit, today

from genoconv.genome.fasta.access import Fasta
from genoconv.models import HyenaDNA, load_model, model_digest, save_model
from genoconv.tokens import A, T, Tokens, decode, reverse_complement

LENGTH = 300
SHARED = 32
HELD_OUT = 0.3
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
ROOT = Path(__file__).resolve().parent.parent

Features = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


def mers(tokens: Tokens, k: int) -> npt.NDArray[np.uint64]:
    """Every ``k``-mer of A, C, G, T as a number, (length - k + 1,)."""
    digits = (tokens - A).astype(np.uint64)
    found = np.zeros(len(tokens) - k + 1, np.uint64)
    for offset in range(k):
        found = found * np.uint64(4) + digits[offset : len(digits) - k + 1 + offset]
    return found


def promoters(path: Path) -> tuple[list[Tokens], list[str]]:
    """Sequences, and for each a family: promoters that share a 32-mer, directly or through others, have the same."""
    fasta = Fasta(path)
    sequences = [fasta.tokens(name, 0, LENGTH) for name in fasta.contigs]
    parent = list(range(len(sequences)))

    def root(n: int) -> int:
        while parent[n] != n:
            n = parent[n]
        return n

    first: dict[int, int] = {}
    for number, sequence in enumerate(sequences):
        for mer in mers(sequence, SHARED).tolist() + mers(reverse_complement(sequence), SHARED).tolist():
            parent[root(number)] = root(first.setdefault(mer, number))
    return sequences, [f"promoter {root(n)}" for n in range(len(sequences))]


def known_mers(sequences: list[Tokens]) -> set[int]:
    """Every 32-mer of the sequences and their reverse complements."""
    return {mer for s in sequences for strand in (s, reverse_complement(s)) for mer in mers(strand, SHARED).tolist()}


def others(path: Path, count: int, known: set[int], *, without: str = "") -> tuple[list[Tokens], list[str]]:
    """Windows without N and without a 32-mer of ``known``, drawn evenly, and their chromosomes.

    None is of a chromosome called ``without``.
    """
    fasta = Fasta(path)
    places = [
        (region, start)
        for region, length in fasta.contigs.items()
        if region.split("_")[0] != without
        for start in range(0, length - LENGTH + 1, LENGTH)
    ]
    draw = np.random.default_rng(0)
    sequences: list[Tokens] = []
    groups: list[str] = []
    for number in draw.permutation(len(places)):
        region, start = places[number]
        tokens = fasta.tokens(region, start, start + LENGTH)
        if ((tokens >= A) & (tokens <= T)).all() and known.isdisjoint(mers(tokens, SHARED).tolist()):
            sequences.append(tokens if len(sequences) % 2 else reverse_complement(tokens))
            groups.append(region.split("_")[0])
            if len(sequences) == count:
                break
    return sequences, groups


def held_out(groups: list[str]) -> Labels:
    """About a share of ``HELD_OUT`` of the sequences, whole groups at a time, in an order that the names decide."""
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    chosen, wanted = set(), HELD_OUT * len(groups)
    for group in sorted(sizes, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        if sizes[group] <= wanted:
            chosen.add(group)
            wanted -= sizes[group]
    return np.array([group in chosen for group in groups])


def embeddings(model: Path, fasta: Path, output: Path) -> Features:
    """What the installed command gives."""
    command = [Path(sys.executable).with_name("genoconv"), "embed", fasta, "-m", model, "-o", output, "--force"]
    subprocess.run([str(word) for word in command], check=True)
    with np.load(output) as found:
        vectors: Features = found["embeddings"].astype(np.float64)
    return vectors


def fit(x: Features, y: Labels, penalty: float) -> tuple[Features, float]:
    """Weights and bias of logistic regression: mean log loss + penalty |w|^2 / 2, in float64 to convergence."""
    features, labels = torch.from_numpy(x), torch.from_numpy(y.astype(np.float64))
    weights = torch.zeros(x.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=500, tolerance_grad=1e-8, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = features @ weights[:-1] + weights[-1]
        value = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
        value = value + penalty * weights[:-1].square().sum() / 2
        value.backward()
        return value

    optimiser.step(loss)
    found = weights.detach().numpy()
    return found[:-1], float(found[-1])


def probe(x: Features, y: Labels, test: Labels) -> tuple[Features, float]:
    """Logits of the held-out sequences, and the penalty; nothing of them is seen before."""
    train = np.flatnonzero(~test)
    inner = np.random.default_rng(1).permutation(train)
    cut = len(inner) // 5
    mean, scale = x[train].mean(0), x[train].std(0) + 1e-12
    scaled = (x - mean) / scale

    def right(penalty: float) -> float:
        w, b = fit(scaled[inner[cut:]], y[inner[cut:]], penalty)
        return float(((scaled[inner[:cut]] @ w + b > 0) == y[inner[:cut]]).mean())

    best = max(PENALTIES, key=right)
    w, b = fit(scaled[train], y[train], best)
    return scaled[test] @ w + b, best


def roc(logits: Features, y: Labels) -> tuple[Features, Features, float]:
    """False and true positive rate at every threshold, and the area under the curve."""
    ordered = y[np.argsort(-logits, kind="stable")]
    true = np.concatenate([[0], np.cumsum(ordered)]) / y.sum()
    false = np.concatenate([[0], np.cumsum(~ordered)]) / (~y).sum()
    return false, true, float(np.trapezoid(true, false))


def interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, p = 1.96, right / count
    centre = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    return centre - half, centre + half


def feature_sets(options: argparse.Namespace, sequences: list[Tokens]) -> Iterator[tuple[str, Features]]:
    """What the probe sees, by name."""
    work = options.work
    fasta = work / "sequences.fa"
    fasta.write_text("".join(f">s{number}\n{decode(tokens)}\n" for number, tokens in enumerate(sequences)))
    untrained = work / "untrained"
    torch.manual_seed(0)
    if not untrained.exists():
        save_model(HyenaDNA(load_model(options.model).config), untrained, provenance={"source": "random weights"})
    yield "embeddings, trained", embeddings(options.model, fasta, work / "trained.npz")
    yield "embeddings, random weights", embeddings(untrained, fasta, work / "untrained.npz")
    yield "4-mers", np.array([np.bincount(mers(s, 4).astype(np.int64), minlength=256) for s in sequences], np.float64)
    yield "GC content", np.array([[((s == A + 1) | (s == A + 2)).mean()] for s in sequences])


def plot(rows: list[dict[str, Any]], curves: dict[str, tuple[Features, Features, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.5, 3.4), width_ratios=(1.25, 1), layout="constrained")
    colours = ["#1b6ca8", "#9aa5b1", "#d9822b", "#e8c39e"]
    for place, (row, colour) in enumerate(zip(rows, colours, strict=True)):
        accuracy, (low, high) = row["accuracy"], row["interval"]
        left.barh(-place, accuracy, color=colour, xerr=[[accuracy - low], [high - accuracy]], capsize=3)
        left.text(0.505, -place, f"{row['features']}  {accuracy:.1%}", va="center", fontsize=8)
        false, true, area = curves[str(row["features"])]
        right.plot(false, true, color=colour, label=f"{area:.3f}")
    left.set(xlim=(0.5, 1), xlabel="accuracy on held-out sequences", yticks=[])
    right.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    right.legend(title="area", fontsize=8, frameon=False, loc="lower right")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of the trained model")
    data = Path(os.environ.get("GENOCONV_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=data, help="folder of the test data")
    parser.add_argument("--work", type=Path, default=Path("runs/promoters"), help="where FASTA and embeddings go")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "promoters.png")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    yes, families = promoters(options.data / "sequences/promoters_tata_human.fa.gz")
    windows = options.data / "windows_hg38/hg38.windows.train_valid.fa.gz"
    no, chromosomes = others(windows, len(yes), known_mers(yes), without="chr22")
    y = np.array([True] * len(yes) + [False] * len(no))
    test = np.concatenate([held_out(families), held_out(chromosomes)])
    print(f"{len(yes)} promoters in {len(set(families))} families, {len(no)} others; held out {test.sum()}", flush=True)

    rows, curves = [], {}
    for name, x in feature_sets(options, yes + no):
        logits, penalty = probe(x, y, test)
        right = int(((logits > 0) == y[test]).sum())
        curves[name] = roc(logits, y[test])
        low, high = interval(right, int(test.sum()))
        rows.append(
            {
                "features": name,
                "numbers": x.shape[1],
                "accuracy": right / int(test.sum()),
                "interval": (low, high),
                "area": curves[name][2],
                "penalty": penalty,
            }
        )
        print(f"{name}: {right / test.sum():.4f} ({low:.4f} to {high:.4f}), area {curves[name][2]:.4f}", flush=True)
    plot(rows, curves, options.plot)
    write_report(options, rows, y, test)


def write_report(options: argparse.Namespace, rows: list[dict[str, object]], y: Labels, test: Labels) -> None:
    record = json.loads((options.model / "config.json").read_text())
    facts = {
        "training set": f"{(y & ~test).sum()} promoters, {(~y & ~test).sum()} others",
        "held out": f"{(y & test).sum()} promoters, {(~y & test).sum()} others",
        "model": f"sha256 {model_digest(options.model)}",
        "commit": commit(),
        "date": today(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU",
        "versions": f"python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
    }
    report = {"rows": rows, **facts, "provenance": record["provenance"]}
    (options.output / "promoters.json").write_text(json.dumps(report, indent=1) + "\n")
    lines = [
        "# Human promoters beside other human sequence",
        "",
        "`benchmarks/promoters.py`, which describes the comparison: accuracy of a linear probe on held-out data.",
        "",
        "| features | numbers | accuracy | 95 % interval | area under the ROC curve |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        low, high = row["interval"]  # type: ignore[misc]
        shares = f"{row['accuracy']:.1%} | {low:.1%} to {high:.1%} | {row['area']:.3f}"  # type: ignore[has-type]
        lines.append(f"| {row['features']} | {row['numbers']} | {shares} |")
    lines += ["", "; ".join(f"{key}: {value}" for key, value in facts.items()) + "."]
    (options.output / "promoters.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
