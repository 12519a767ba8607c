"""Fixtures for every layer of the tests."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _private_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the cache of the person who runs it."""
    monkeypatch.setenv("GENOCONV_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A cache folder for commands that run as a subprocess."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder
