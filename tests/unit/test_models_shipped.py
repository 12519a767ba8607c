"""The model that installs with genoconv: found by name, small, whole, and with the scores that were recorded."""

import logging
import re
from pathlib import Path

import pytest
from calls import call

import genoconv
from genoconv.errors import UsageError
from genoconv.genome.fasta.access import Fasta
from genoconv.models import load_model, model_digest, registry
from genoconv.models.hyena import HyenaDNA
from genoconv.pipelines.models.run import list_models, remove_model
from genoconv.pipelines.shared_options import SHIPPED_MODEL
from genoconv.tasks.calibration import Calibration
from genoconv.tokens import decode
from support import ROOT

NAME = str(SHIPPED_MODEL)
MOST_BYTES = 15_000_000
RECORDED = -1.00889
"""Nats; float32 on a CPU, torch 2.13."""


@pytest.fixture(scope="module")
def model() -> HyenaDNA:
    return load_model(NAME)


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder and a home without any model."""
    monkeypatch.setenv("GENOCONV_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_is_listed_as_shipped_and_cannot_be_removed(away: Path) -> None:
    row = {row["name"]: row for row in list_models()}[NAME]
    assert (row["kind"], row["parameters"], row["max_length"]) == ("shipped", 3_277_568, 1024)
    with pytest.raises(UsageError, match="is included with genoconv"):
        remove_model(NAME)


def test_it_is_small_and_whole() -> None:
    folder = registry.model_folder(NAME)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MOST_BYTES
    calibration = Calibration.load(folder)
    assert calibration is not None
    assert calibration.facts["model"] == model_digest(NAME)
    assert calibration.facts["variants"] >= 4_000, "score-variants has percentiles as well as scan"
    assert not re.search(r"(^| )/", calibration.facts["command"]), "a path of the machine that made it"
    assert (folder / "README.md").read_text().startswith(f"# {NAME}\n")


def test_it_scores_a_known_variant(model: HyenaDNA) -> None:
    fasta = Fasta(ROOT / "tests" / "data" / "phix174" / "NC_001422.1.fa.gz")
    reference = decode(fasta.tokens(next(iter(fasta.contigs)), 1000, 1400))
    changed = reference[:200] + ("A" if reference[200] != "A" else "C") + reference[201:]
    assert genoconv.score(model, reference, changed) == pytest.approx(RECORDED, abs=2e-3)


def test_it_is_used_where_no_model_is_named(away: Path, caplog: pytest.LogCaptureFixture) -> None:
    (away / "x.fa").write_text(">x\n" + "ACGT" * 10 + "\n")
    with caplog.at_level(logging.INFO):
        call("embed", "x.fa", "-o", "x.npz", "--device", "cpu")
        said = f"using the included model {NAME}; choose another with -m"
        assert said in caplog.text
        caplog.clear()
        call("embed", "x.fa", "-m", NAME, "-o", "y.npz", "--device", "cpu")
        assert said not in caplog.text
