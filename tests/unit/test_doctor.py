"""The report on a machine: complete where all is well, and without a traceback where it is not."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from genoconv.genome.assemblies import store
from genoconv.paths import genomes_dir, home_dir, kernels_dir
from genoconv.pipelines import doctor
from genoconv.pipelines.doctor import Finding, examine, verdict

SUBJECTS = ["genoconv", "python", "system", "settings", "torch", "CUDA", "driver", "NVRTC", "kernels", "cache", "disk"]


def findings() -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in examine():
        found.setdefault(finding.subject, []).append(finding)
    return found


@pytest.fixture
def genome(tmp_path: Path) -> Iterator[Path]:
    fasta = tmp_path / "mine.fa"
    fasta.write_text(">a\nACGT\n")
    store.register("mine", fasta=fasta, annotation=None, force=False)
    return fasta


def test_everything_is_looked_at(genome: Path) -> None:
    found = findings()
    assert set(SUBJECTS) <= set(found)
    assert f"GENOCONV_HOME={home_dir()}" in found["settings"][0].value
    assert found["cache"] == [Finding("cache", str(home_dir()))]
    assert found["genomes"] == [Finding("genomes", "mine (0.00 GiB in the cache)")]
    assert verdict().startswith("genoconv will compute on ")


def test_no_genomes_are_no_fault() -> None:
    assert findings()["genomes"] == [Finding("genomes", "none stored yet; see genoconv genomes list")]
    assert not home_dir().joinpath("genomes").exists(), "the doctor looks and makes nothing"


def test_genomes_that_changed_or_are_half_there_are_reported(genome: Path) -> None:
    genome.write_text(">a\nACGTA\n")
    (genomes_dir() / "hg38/.work").mkdir(parents=True)
    changed, half = findings()["genomes"]
    assert not changed.ok
    assert changed.advice == "mine has changed: genoconv genomes verify mine"
    assert half.value == "hg38 is partly fetched; genoconv genomes fetch hg38 resumes"


@pytest.mark.parametrize(
    ("home", "message"),
    [
        ("{file}/home", "not a folder|Not a directory"),
        ("/proc/genoconv", "/proc: "),
        ("~no-such-user/x", "GENOCONV_HOME=~no-such-user/x: "),
    ],
)
def test_a_home_that_cannot_be_written_is_reported(
    home: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENOCONV_HOME", home.format(file=tmp_path / "file"))
    [cache] = findings()["cache"]
    assert not cache.ok
    assert re.search(message, f"{cache.value} {cache.advice}")
    assert "set GENOCONV_HOME to a folder that can be written" in cache.advice
    assert verdict()


def test_a_folder_below_a_good_home_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels_dir().parent.mkdir(parents=True, exist_ok=True)
    kernels_dir().write_text("a file where the folder should be")
    [cache] = findings()["cache"]
    assert not cache.ok
    assert cache.advice.startswith(f"{kernels_dir()}: ")


@pytest.mark.parametrize("module", ["torch", "genoconv.ops.longconv.doctor"])
def test_what_cannot_be_imported_is_a_finding(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    found = findings()
    [broken] = [f for group in found.values() for f in group if not f.ok]
    assert broken.subject == ("torch" if module == "torch" else "kernels")
    assert broken.value.startswith("ModuleNotFoundError: ")
    assert {"cache", "disk", "genomes"} <= set(found)
    if module == "torch":
        assert verdict() == "genoconv cannot compute: torch is missing or broken"


def test_a_missing_library_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_DEPENDENCIES", ("pysam", "no-such-distribution"))
    [broken] = [f for group in findings().values() for f in group if not f.ok]
    assert broken == Finding("no-such-distribution", "missing", ok=False, advice="reinstall genoconv")


def test_a_small_disk_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_LOW_DISK_BYTES", 1 << 60)
    [disk] = findings()["disk"]
    assert not disk.ok
    assert "set GENOCONV_HOME to a larger disk" in disk.advice


def test_a_read_only_cache_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels_dir().mkdir(parents=True)

    def refuse(dir: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    [cache] = findings()["cache"]
    assert cache.ok
    assert "(read-only)" in cache.value
    assert "Read-only file system; to add genomes or kernels set GENOCONV_HOME" in cache.advice
