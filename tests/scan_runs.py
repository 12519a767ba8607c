"""Scans of a small genome by a tiny model, in this process."""

from pathlib import Path

import numpy as np
import pandas as pd
from calls import call
from click.testing import Result
from toy_scoring import write_fasta
from vcf_files import text

RNG = np.random.default_rng(13)
CONTIGS = {
    "c": "".join(RNG.choice(list("ACGT"), 900)),
    "b": "".join(RNG.choice(list("acgt"), 200)) + "N" * 30 + "".join(RNG.choice(list("ACGT"), 200)),
}
REGION = ("-r", "c:301-310")


class Bench:
    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.model = model
        self.fasta = write_fasta(folder / "g.fa", CONTIGS)
        self.out = folder / "o.tsv.gz"

    def call(self, *words: object, **instead: object) -> Result:
        base = {"--model": self.model, "--output": self.out, "--window": 96, "--context": 64, "--device": "cpu"}
        base |= {f"--{name}": value for name, value in instead.items() if name != "fasta"}
        options = [word for pair in base.items() if pair[1] is not None for word in pair]
        fasta = instead.get("fasta", self.fasta)
        return call("scan", *([fasta] if fasta else []), *options, *words)

    def table(self, *words: object, **instead: object) -> pd.DataFrame:
        self.call(*words, "--force", **instead)
        rows = [line.split("\t") for line in text(self.out).splitlines() if not line.startswith("##")]
        frame = pd.DataFrame(rows[1:], columns=["chrom", *rows[0][1:]])
        numbers = frame.columns[4:]
        frame[numbers] = frame[numbers].replace(".", "nan").astype(float)
        return frame.astype({"pos": int})
