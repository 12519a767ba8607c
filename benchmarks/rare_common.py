"""Common against rare SNVs of 1000 Genomes under a zero-shot score, beside GC content and k-mer tables.

    python benchmarks/rare_common.py --genome z.fa --train chr22.fa --scores z.z.npy --af z.af.tsv.gz

The scores are those of ``genoconv scan -o NAME.npy``. AUROC: how often a rare variant (below 0.1 %) has a lower score
than a common one (5 % and more); 0.5 is chance. The k-mer rows are the same score from counts of bases in the
training genome, on both strands; the row of GC content ranks by the 101 bases around.
"""

# mypy: disable-error-code="no-untyped-call, no-any-return"

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from areas import area, bootstrapped

from genoconv.genome.fasta.access import Fasta
from genoconv.tokens import A, T

RARE, COMMON = 0.001, 0.05


def codes(path: Path, contig: str) -> np.ndarray:
    """0 to 3 for A, C, G, T, -1 for all else, (L,) int64."""
    fasta = Fasta(path)
    code = fasta.tokens(contig, 0, fasta.contigs[contig]).astype(np.int64) - A
    return np.where(code <= T - A, code, -1).clip(-1)


def kmer_scores(train: np.ndarray, genome: np.ndarray, order: int) -> np.ndarray:
    """ln P(base | ``order`` bases before) minus that of the reference, mean of both strands, (L, 4)."""
    counts = np.full((4**order, 4), 0.5)
    for strand in (train, np.where(train < 0, -1, 3 - train)[::-1]):
        context, known = contexts(strand, order)
        keep = known & (strand >= 0)
        np.add.at(counts, (context[keep], strand[keep]), 1)
    log_p = np.log(counts / counts.sum(axis=1, keepdims=True))

    def ratios(strand: np.ndarray) -> np.ndarray:
        context, known = contexts(strand, order)
        found = log_p[context] - log_p[context, strand.clip(0)][:, None]
        return np.where((known & (strand >= 0))[:, None], found, np.nan)

    backwards = ratios((3 - genome)[::-1])[::-1, ::-1]
    return (ratios(genome) + backwards) / 2


def contexts(strand: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of the bases before each position, and whether all are known."""
    context, known = np.zeros(len(strand), np.int64), np.arange(len(strand)) >= order
    for back in range(1, order + 1):
        shifted = np.roll(strand, back)
        known &= shifted >= 0
        context += shifted.clip(0) * 4 ** (back - 1)
    return context, known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("genome", "train", "scores", "af"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--contig", default="z")
    parser.add_argument("--train-contig", default="chr22")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/rare-common.png"))
    options = parser.parse_args()
    genome, train = codes(options.genome, options.contig), codes(options.train, options.train_contig)
    model = np.load(options.scores).astype(np.float64)
    with gzip.open(options.af, "rt") as lines:
        names = next(lines).rstrip("\n").lstrip("#").split("\t")
        rows = [dict(zip(names, line.rstrip("\n").split("\t"), strict=True)) for line in lines]
    snvs = [r for r in rows if len(r["ref"]) == len(r["alt"]) == 1 and r["alt"] in "ACGT"]
    at = np.array([int(r["pos"]) - 1 for r in snvs])
    alt = np.array(["ACGT".index(r["alt"]) for r in snvs])
    frequency = np.array([float(r["AF"] if "AF" in r else r["af"]) for r in snvs])
    assert all("ACGT"[genome[p]] == r["ref"] for p, r in zip(at, snvs, strict=True))
    gc = np.convolve((genome == 1) | (genome == 2), np.ones(101) / 101, "same")
    cpg = (genome == 1) & (np.roll(genome, -1) == 2) | (genome == 2) & (np.roll(genome, 1) == 1)
    ways = {"model": model[at, alt], "GC content": gc[at], "not CpG": -cpg[at].astype(float)}
    ways |= {f"{order + 1}-mers": kmer_scores(train, genome, order)[at, alt] for order in (2, 4, 6, 8)}
    known = ~np.isnan(np.stack(list(ways.values()))).any(axis=0)
    rare, common = known & (frequency < RARE), known & (frequency >= COMMON)
    chosen = rare | common
    figures: dict[str, Any] = {n: round(area(-values[chosen], rare[chosen]), 4) for n, values in ways.items()}
    _, low, high = bootstrapped(-ways["model"][chosen], rare[chosen], samples=200)
    figures |= {
        "rare": int(rare.sum()),
        "common": int(common.sum()),
        "model 95 %": [round(low, 4), round(high, 4)],
    }
    print(json.dumps(figures, indent=1))
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for which, label in ((rare, "AF < 0.1 %"), (common, "AF >= 5 %")):
        left.hist(
            ways["model"][which],
            bins=60,
            range=(-4, 2),
            density=True,
            histtype="step",
            label=f"{label} (n = {which.sum():,})",
        )
    left.set_xlabel("score, nats")
    left.set_ylabel("density")
    left.legend(fontsize=7)
    names = list(ways)
    right.barh(names[::-1], [figures[name] for name in names][::-1])
    right.axvline(0.5, color="black", lw=0.8)
    right.set_xlim(0.4, 0.7)
    right.set_xlabel("AUROC, rare below common")
    figure.savefig(options.output, dpi=120)


if __name__ == "__main__":
    main()
