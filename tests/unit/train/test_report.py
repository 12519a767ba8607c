"""What a person looks at first in a model folder: that all of it is there, and says what was measured."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from train_runs import configuration, patterned_genome, tiny_config, train_tiny

from genoconv import load_model
from genoconv.genome.fasta.access import Fasta
from genoconv.models.checkpoint import read_config
from genoconv.pipelines.train import report
from genoconv.pipelines.train.report import write_plot
from genoconv.train.metrics import Row

PARTS = {
    "model.safetensors",
    "config.json",
    "genome.json",
    "run.yaml",
    "metrics.csv",
    "training.png",
    "training_mqc.yaml",
    "README.md",
    "checkpoints",
}


@pytest.fixture(autouse=True)
def _no_plots() -> None:
    """Here they are drawn."""


def test_everything_that_was_promised_is_there(tmp_path: Path) -> None:
    fasta = patterned_genome(tmp_path / "genome.fa")
    folder = train_tiny(tmp_path / "deep" / "run", fasta, "windows.test_fraction=0.2")
    assert {path.name for path in folder.iterdir()} == PARTS
    genome = json.loads((folder / "genome.json").read_text())
    assert genome["contigs"] == {"chr1": {"length": 20_000, "md5": Fasta(fasta).digest("chr1")}}
    bases = [genome["split"][name]["bases"] for name in ("train", "valid", "test")]
    assert sum(bases) == pytest.approx(20_000, abs=64)
    assert bases[2] == pytest.approx(4000, rel=0.3)
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")
    curves = yaml.safe_load((folder / "training_mqc.yaml").read_text())["data"]
    assert set(curves) == {"run train", "run valid", "run test"}
    assert list(curves["run valid"].values())[-1] == pytest.approx(
        read_config(folder)["provenance"]["validation_perplexity"], abs=1e-4
    )
    assert yaml.safe_load((folder / "run.yaml").read_text())["fasta"] == str(fasta)
    assert configuration(file=folder / "run.yaml") == tiny_config(fasta, "windows.test_fraction=0.2")
    done = read_config(folder)["provenance"]
    card = (folder / "README.md").read_text()
    assert f"{done['validation_perplexity']:.4f}" in card
    assert f"{done['markov_perplexities'][8]:.4f}" in card
    assert done["steps"] == 6
    logits = load_model(folder)(torch.tensor([[7, 8, 9, 10]]))
    assert logits.shape == (1, 4, 16)


def test_without_matplotlib_there_is_no_plot_and_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not write_plot(tmp_path / "training.png", rows=[], baselines=[4.0])
    assert not (tmp_path / "training.png").exists()


@pytest.mark.parametrize(("losses", "top"), [([1.3], 1.4), ([9.0, *[1.3, 1.2] * 30], 1.4), ([2.0, 1.6, 1.3], 2.0)])
def test_the_curve_shows_one_step_and_is_not_flattened_by_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: list[float], top: float
) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(report, "save_figure", lambda figure, path: figures.append(figure))
    rows = [Row(i, i * 1000, "train", {"loss": x, "perplexity": 3 * x}, 1e-3) for i, x in enumerate(losses)]
    assert write_plot(tmp_path / "training.png", rows=rows, baselines=[4.0, 3.99, 3.98, 3.97, 3.9])
    loss, perplexity = figures[0].axes
    assert list(loss.lines[0].get_ydata()) == losses
    assert len(losses) > 40 or loss.lines[0].get_marker() == "o"
    assert loss.get_ylim()[1] == pytest.approx(top, abs=0.1)
    assert perplexity.get_ylim()[1] < 3.3 * top
    assert len({line.get_linestyle() for line in perplexity.lines[2:]}) == len(perplexity.lines[2:]) == 3
