"""A small model and a bench to fine-tune it on."""

from pathlib import Path

import pytest
from finetune_runs import Bench, base_model


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model, which no test may change."""
    return base_model(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def bench(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, base, monkeypatch)
