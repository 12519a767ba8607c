"""Fine-tuning runs small enough for tests: records with something to learn, a model of a few thousand parameters."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calls import call
from embed_files import model_folder

from genoconv.pipelines.finetune import inputs
from genoconv.pipelines.finetune.options import FinetuneConfig

MOTIF = "TTGACATTGACA"


def sequences(count: int, *, seed: int = 0, length: int = 60) -> tuple[list[str], list[int]]:
    """Random DNA and a class for each: 1 is rich in G and C and holds a motif."""
    random = np.random.default_rng(seed)
    found, classes = [], []
    for number in range(count):
        positive = number % 2
        odds = (0.15, 0.35, 0.35, 0.15) if positive else (0.3, 0.2, 0.2, 0.3)
        bases = list(random.choice(list("ACGT"), length, p=odds))
        if positive:
            bases[5 : 5 + len(MOTIF)] = MOTIF
        found.append("".join(bases))
        classes.append(positive)
    return found, classes


SEQUENCES, CLASSES = sequences(60)
GOOD = [[s, c] for s, c in zip(SEQUENCES, CLASSES, strict=True)]
"""Rows of a table with these sequences and classes."""


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]], *, delimiter: str = ",") -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return path


def classed_table(path: Path, *, count: int = 60) -> Path:
    found, classes = sequences(count)
    return write_table(path, ["sequence", "label"], list(zip(found, classes, strict=True)))


def base_model(folder: Path, *, max_length: int = 100) -> Path:
    return model_folder(folder, max_length=max_length)


QUICK = ("--epochs", "3", "--device", "cpu", "--no-baselines")


def finetune(table: Path, base: Path, output: Path, *words: object) -> Path:
    """Fine-tune to the end; the model folder."""
    call("finetune", table, "-m", base, "-o", output, *QUICK, *words)
    return output


class Killed(BaseException):
    """Stands for SIGKILL."""


class Bench:
    """A base model, a table, and a way to run the command in this process."""

    def __init__(self, folder: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.base, self.monkeypatch = folder, base, monkeypatch
        self.table = classed_table(folder / "x.csv")
        self.out = folder / "out"
        monkeypatch.setattr("genoconv.train.evaluation.RESAMPLES", 5)

    def run(self, *words: object, table: Path | None = None) -> dict[str, Any]:
        """Fine-tune; what ``config.json`` says of it."""
        finetune(table or self.table, self.base, self.out, "--force", *words)
        return json.loads((self.out / "config.json").read_text())

    def gathered(self, *words: object, table: Path | None = None) -> inputs.Dataset:
        """The records that a call would learn from."""
        return inputs.gather(self.config(*words, table=table))

    def config(self, *words: object, table: Path | None = None) -> FinetuneConfig:
        """The configuration that a call amounts to."""
        found: list[FinetuneConfig] = []
        with self.monkeypatch.context() as patch:
            patch.setattr("genoconv.pipelines.finetune.run.finetune", lambda w, **_: found.append(w.config) or 0)
            call("finetune", table or self.table, "-m", self.base, "-o", self.out, *words)
        return found[0]
