"""Fine-tuning runs small enough for tests: records with something to learn, a model of a few thousand parameters."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from click.testing import Result
from embed_files import model_folder
from typer.testing import CliRunner

from genoconv.cli.app import app
from genoconv.errors import GenoconvError

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


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]], *, delimiter: str = ",") -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return path


def classed_table(path: Path, *, count: int = 60, length: int = 60) -> Path:
    found, classes = sequences(count, length=length)
    return write_table(path, ["sequence", "label"], list(zip(found, classes, strict=True)))


def base_model(folder: Path, *, max_length: int = 100) -> Path:
    return model_folder(folder, max_length=max_length)


QUICK = ("--epochs", "3", "--device", "cpu", "--no-baselines")


def call(*words: object, options: Mapping[str, object] | None = None) -> Result:
    """Run ``genoconv`` in this process; its errors are raised."""
    result = CliRunner().invoke(app, list(map(str, words)))
    if isinstance(result.exception, GenoconvError):
        raise result.exception
    if result.exit_code:
        raise SystemExit(result.exit_code) from result.exception
    return result


def finetune(table: Path, base: Path, output: Path, *words: object) -> Path:
    """Fine-tune to the end; the model folder."""
    call("finetune", table, "-m", base, "-o", output, *QUICK, *words)
    return output
