"""A genome to learn from, and runs that draw nothing."""

from pathlib import Path

import pytest
from train_runs import patterned_genome


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than these runs; test_report.py draws."""
    monkeypatch.setattr("genoconv.pipelines.train.report.write_plot", lambda *_, **__: True)


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return patterned_genome(tmp_path / "genome.fa")
