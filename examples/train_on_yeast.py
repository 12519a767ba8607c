"""Train a model on the yeast genome, and read its learning curve.

    python examples/train_on_yeast.py --max-minutes 10

Without ``--fasta`` the genome is downloaded from its provider (4 MB) the first time.
"""

import argparse
import json
import subprocess
from pathlib import Path

import pandas as pd


def train(options: list[str], folder: Path) -> dict[str, float]:
    """Run ``genoconv train``; its figures."""
    summary = folder.with_name(f"{folder.name}.json")
    subprocess.run(["genoconv", "train", *options, "-o", str(folder), "--json", str(summary)], check=True)
    counts: dict[str, float] = json.loads(summary.read_text())["counts"]
    return counts


def read_curve(folder: Path) -> pd.DataFrame:
    """Perplexity of the held-out windows after each measurement: one row per step."""
    rows = pd.read_csv(folder / "metrics.csv")
    curve = rows[rows["split"] == "valid"].set_index("step")[["tokens", "perplexity"]]
    return curve.assign(change=curve["perplexity"].diff())


def advise(curve: pd.DataFrame, *, best_markov: float) -> str:
    """What the end of the curve says."""
    last = curve["perplexity"].iloc[-1]
    falling = len(curve) > 1 and curve["change"].iloc[-1] < -0.001
    if last >= best_markov:
        return f"{last:.3f} is no better than k-mer counts ({best_markov:.3f}): train longer before you use the model"
    if falling:
        return f"{last:.3f} beats k-mer counts ({best_markov:.3f}) and is still falling: longer training will help"
    return f"{last:.3f} beats k-mer counts ({best_markov:.3f}) and has levelled off"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fasta", help="a genome of your own, instead of yeast")
    parser.add_argument("--annotation", help="its genes, GTF or GFF3; tiles without")
    parser.add_argument("--max-minutes", default="10")
    parser.add_argument("--max-steps")
    parser.add_argument("--preset", default="tiny-1k")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/yeast"))
    wanted = parser.parse_args()
    options = ["--fasta", wanted.fasta] if wanted.fasta else ["--genome", "saccer3"]
    options += ["--annotation", wanted.annotation] if wanted.annotation else []
    options += ["--max-steps", wanted.max_steps] if wanted.max_steps else ["--max-minutes", wanted.max_minutes]
    figures = train([*options, "--preset", wanted.preset], wanted.output)
    curve = read_curve(wanted.output)
    print(curve.to_string(float_format="{:.4f}".format))
    record = json.loads((wanted.output / "config.json").read_text())["provenance"]
    print(advise(curve, best_markov=min(record["markov_perplexities"])))
    print(f"{figures['steps']:,} steps, {figures['tokens']:,} bases read; see {wanted.output / 'training.png'}")


if __name__ == "__main__":
    main()
