"""What tests of several commands start from."""

from pathlib import Path

import pytest
from vcf_files import tiny_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of random weights, which no test may change."""
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")
