"""Labelled tables for ``evaluation.py`` from the test data: promoters against other sequence, exons against introns.

    python benchmarks/labelled_sets.py [--data DATA] [--output runs/sets]

``tata-human.tsv`` and ``tata-mouse.tsv``: TATA promoters of 300 bases (EPDnew) and as many windows of the same genome,
as in ``promoters.py``; promoters that share a 32-mer are one group, and all windows of a chromosome are one.
``exons-by-gene.tsv`` and ``exons-by-species.tsv``: 511 bases around 122 positions in exons or not, of 8 species; groups
are genes or species. An ``id`` is ``GROUP:NAME``, for ``evaluation.py --grouped``, which holds out whole groups.
"""

import argparse
import csv
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from promoters import ROOT, known_mers, others, promoters

from genoconv.genome.fasta.records import read_records
from genoconv.tokens import Tokens, decode, encode, reverse_complement

HALF = 256
TATA = {
    "tata-human": ("sequences/promoters_tata_human.fa.gz", "windows_hg38/hg38.windows.train_valid.fa.gz"),
    "tata-mouse": ("sequences/promoters_tata_mouse.fa.gz", "windows_mm10/mm10.windows.train_valid.fa.gz"),
}

Row = tuple[str, Tokens, int]
"""Group, sequence and label."""


def tata(data: Path, name: str) -> list[Row]:
    """Promoters (1) and as many windows without a 32-mer of any (0)."""
    positive, windows = (data / file for file in TATA[name])
    yes, families = promoters(positive)
    no, chromosomes = others(windows, len(yes), known_mers(yes))
    return [
        *((family, sequence, 1) for family, sequence in zip(families, yes, strict=True)),
        *((chromosome, sequence, 0) for chromosome, sequence in zip(chromosomes, no, strict=True)),
    ]


def exons(data: Path, group: str) -> list[Row]:
    """511 bases around each position: what leads up to it on one strand, and on the other."""
    sequences = {r.name: encode(r.sequence) for r in read_records(data / "sequences/exon_windows_8species.fa.gz")}
    with (data / "sequences/exon_windows_8species.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    found = []
    for row in rows:
        before, behind = (sequences[f"{row['window']}_{side}"] for side in ("fwd", "rev"))
        around = np.concatenate([before[-HALF:], reverse_complement(behind[-HALF:])[1:]])  # both have the position
        found.append((row[group].replace(":", "_"), around, int(row["is_exon"])))
    return found


def write(path: Path, rows: Iterable[Row]) -> None:
    lines = [f"{group}:{n}\t{decode(tokens)}\t{label}" for n, (group, tokens, label) in enumerate(rows)]
    path.write_text("\n".join(["id\tsequence\tlabel", *lines]) + "\n")
    print(f"{path}: {len(lines):,} records")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("GENOCONV_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=data, help="folder of the test data")
    parser.add_argument("--output", type=Path, default=Path("runs/sets"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name in TATA:
        write(options.output / f"{name}.tsv", tata(options.data, name))
    write(options.output / "exons-by-gene.tsv", exons(options.data, "gene"))
    write(options.output / "exons-by-species.tsv", exons(options.data, "organism"))


if __name__ == "__main__":
    main()
