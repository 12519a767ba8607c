"""Fine-tuned models and runs of ``genoconv predict`` in this process."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from calls import call
from embed_files import small_model
from fasta_files import random_bases, write_fasta

from genoconv.models import load_model, save_model
from genoconv.models.heads import HeadConfig, Predictor
from genoconv.tokens import encode

SEQUENCES = {
    name: random_bases(length, seed=length, letters="ACGT") for name, length in (("a", 40), ("b", 250), ("c", 97))
}


def head_folder(folder: Path, **head: object) -> Path:
    """A model with a head of random weights."""
    config = HeadConfig(**{"kind": "multiclass", "labels": ("x", "y"), **head})  # type: ignore[arg-type]
    model = Predictor.on(small_model(), config)
    torch.manual_seed(3)
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter)
    save_model(model, folder, provenance={"source": "random weights for tests"})
    return folder


class Bench:
    def __init__(self, folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.model, self.monkeypatch = folder, model, monkeypatch
        self.fasta = write_fasta(folder / "in.fa", SEQUENCES)
        self.out = folder / "out.tsv"

    def run(self, *words: object, source: Path | None = None) -> pd.DataFrame:
        call("predict", source or self.fasta, "-m", self.model, "-o", self.out, "--force", "--device", "cpu", *words)
        return self.table()

    def table(self) -> pd.DataFrame:
        return pd.read_csv(self.out, sep="\t", skiprows=1)

    def facts(self) -> dict[str, object]:
        return json.loads(self.out.read_text().partition("\n")[0].removeprefix("## "))


def expected(model: Path, *sequences: str) -> np.ndarray:
    predictor = load_model(model)
    assert isinstance(predictor, Predictor)
    return np.concatenate([predictor.predict(torch.from_numpy(encode(s))[None].long()).numpy() for s in sequences])


def expected_logits(model: Path, sequence: str) -> np.ndarray:
    predictor = load_model(model)
    assert isinstance(predictor, Predictor)
    with torch.no_grad():
        return predictor.outputs(torch.from_numpy(encode(sequence))[None].long())[0].numpy()
