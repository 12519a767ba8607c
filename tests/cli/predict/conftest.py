"""A model with a head and a bench to run it on."""

from pathlib import Path

import pytest
from predict_runs import Bench, head_folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model with a head, which no test may change."""
    return head_folder(tmp_path_factory.mktemp("models") / "tuned")


@pytest.fixture
def bench(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, model, monkeypatch)
