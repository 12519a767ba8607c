"""Score the variants of a VCF, and list those that the model finds least likely.

python examples/score_and_rank.py calls.vcf.gz --fasta hg38.fa --model models/medium --top 20
"""

import argparse
import subprocess
from pathlib import Path

import pandas as pd


def score(vcf: str, fasta: str, model: str, table: Path, options: list[str]) -> None:
    """Run ``genoconv score-variants``, which writes one row per allele to ``table``."""
    command = ["genoconv", "score-variants", vcf, "-f", fasta, "-m", model, "--tsv", str(table), "--force", *options]
    subprocess.run(command, check=True)


def rank(table: Path) -> pd.DataFrame:
    """Alleles with a score, least likely first. A score is comparable with others of its kind only: see ``kind``."""
    alleles = pd.read_csv(table, sep="\t", na_values=["."], dtype={"contig": str, "ref": str, "alt": str})
    change = alleles["alt"].str.len() - alleles["ref"].str.len()
    alleles["kind"] = change.map(lambda n: "deletion" if n < 0 else "insertion" if n > 0 else "substitution")
    score = next(column for column in alleles.columns if column.startswith("llr"))  # the first window's
    alleles = alleles.rename(columns={score: "score"}).dropna(subset="score")
    alleles["percentile"] = alleles.groupby("kind")["score"].rank(pct=True) * 100
    return alleles.sort_values("score", ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vcf")
    parser.add_argument("--fasta", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--table", type=Path, default=Path("scores.tsv"))
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--window", help="bases around each variant")
    wanted = parser.parse_args()
    score(wanted.vcf, wanted.fasta, wanted.model, wanted.table, ["--window", wanted.window] if wanted.window else [])
    alleles = rank(wanted.table)
    shown = ["contig", "pos", "ref", "alt", "kind", "score", "percentile"]
    print(alleles[shown].head(wanted.top).to_string(index=False))
    print(f"{len(alleles):,} alleles with a score; median {alleles['score'].median():.3f}")


if __name__ == "__main__":
    main()
