"""A server on loopback, and manifests of genomes that it serves."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from downloads import CONTENT, MIRROR, PATH, Downloads
from genome_manifests import serve_phix
from loopback import Loopback


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENOCONV_RETRY_WAIT", "0")
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of manifests of genomes."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    monkeypatch.setenv("GENOCONV_MANIFESTS", str(folder))
    return folder


@pytest.fixture
def server() -> Iterator[Loopback]:
    """Serves one file of random bytes, also as its mirror, and phiX174."""
    with Loopback({PATH: CONTENT, MIRROR: CONTENT}) as running:
        serve_phix(running)
        yield running


@pytest.fixture
def files(server: Loopback, tmp_path: Path) -> Downloads:
    return Downloads(server, tmp_path)
