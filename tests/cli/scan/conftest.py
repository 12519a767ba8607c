"""A bench to scan a small genome on."""

from pathlib import Path

import pytest
from scan_runs import Bench


@pytest.fixture
def bench(tmp_path: Path, model: Path) -> Bench:
    return Bench(tmp_path, model)
