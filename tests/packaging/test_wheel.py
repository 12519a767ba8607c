"""What a wheel and an sdist hold, and that the wheel works away from the checkout."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from support import ROOT, cli_environment


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A wheel and an sdist, built from the tracked files in a folder of their own."""
    folder = tmp_path_factory.mktemp("build")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, map(bytes.decode, names)):
        source, target = ROOT / name, folder / "tree" / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "tree"],
        check=True,
        capture_output=True,
    )
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    return wheel, sdist


def test_all_that_is_tracked_ships_in_both_and_nothing_else_in_the_wheel(archives: tuple[Path, Path]) -> None:
    """setuptools takes no folder and no file beside code that pyproject.toml does not list."""
    folders = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]
    names = subprocess.run(
        ["git", "ls-files", "-z", *folders.values()], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.split("\0")
    tracked = {name for name in names if (ROOT / name).is_file()}
    in_wheel = {name for name in zipfile.ZipFile(archives[0]).namelist() if ".dist-info/" not in name}
    assert in_wheel == {f"genoconv/{name.removeprefix('genoconv/')}" for name in tracked}
    with tarfile.open(archives[1]) as tar:
        in_sdist = {name.split("/", 1)[1] for name in tar.getnames() if "/" in name}
    assert tracked <= in_sdist, tracked - in_sdist


def test_the_wheel_runs_away_from_the_checkout(archives: tuple[Path, Path], tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(archives[0]).extractall(site)
    # -I keeps the editable install's folder mapping out only if the extracted package comes first on the path.
    code = (
        f"import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        f"sys.path.insert(0, {str(site)!r})\n"
        "import genoconv, genoconv.cli, genoconv.pipelines\n"
        "from genoconv.paths import shipped\n"
        "print(genoconv.__file__)\n"
        "for name in ('csrc', 'data_manifests', 'pipelines'): print(shipped(name))\n"
        "try:\n    import cli\n    print('LEAK')\nexcept ImportError:\n    print('clean')\n"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=cli_environment(tmp_path),
        check=True,
    )
    *folders, verdict = result.stdout.splitlines()
    assert all(folder.startswith(str(site)) for folder in folders), folders
    assert verdict == "clean"


def test_importing_the_package_is_instant_and_bare_names_do_not_exist() -> None:
    code = (
        "import sys, genoconv\n"
        "assert 'torch' not in sys.modules\n"
        "import importlib.util\n"
        "assert all(importlib.util.find_spec(n) is None for n in ('cli', 'csrc', 'pipelines', 'data_manifests'))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")
