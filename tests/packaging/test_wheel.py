"""What a wheel and an sdist hold, and that the wheel works away from the checkout."""

import subprocess
import sys
import tarfile
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


def test_the_wheel_leaks_no_bare_module(archives: tuple[Path, Path]) -> None:
    names = zipfile.ZipFile(archives[0]).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"genoconv"}


def test_everything_that_ships_is_in_both(archives: tuple[Path, Path]) -> None:
    in_wheel = {n for n in zipfile.ZipFile(archives[0]).namelist() if ".dist-info/" not in n}
    with tarfile.open(archives[1]) as tar:
        in_sdist = {name.split("/", 1)[1] for name in tar.getnames() if "/" in name}
    expected = {f"genoconv/{p.relative_to(ROOT)}" for p in ROOT.glob("cli/**/*.py")}
    expected |= {f"genoconv/{p.relative_to(ROOT)}" for p in ROOT.glob("pipelines/**/*.py")}
    expected |= {f"genoconv/{p.relative_to(ROOT)}" for p in ROOT.glob("pipelines/recipes/*.yaml")}
    expected |= {f"genoconv/{p.relative_to(ROOT)}" for p in ROOT.glob("data_manifests/*.toml")}
    expected |= {f"genoconv/{p.relative_to(ROOT)}" for p in ROOT.glob("csrc/**/*.cu*")}
    expected |= {str(p.relative_to(ROOT)) for p in ROOT.glob("genoconv/**/*.py")}
    expected |= {str(p.relative_to(ROOT)) for p in ROOT.glob("genoconv/models/shipped/*/*")}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True, text=True).stdout.split()
    expected &= set(tracked) | {f"genoconv/{name}" for name in tracked}
    assert len(expected) > 20
    assert expected <= in_wheel, expected - in_wheel
    for folder in ("cli", "pipelines", "csrc", "data_manifests"):
        moved = {n.removeprefix("genoconv/") for n in expected if n.startswith(f"genoconv/{folder}/")}
        assert moved <= in_sdist, moved - in_sdist


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
        "assert all(importlib.util.find_spec(n) is None for n in ('cli', 'csrc', 'pipelines', 'data_manifests'))\n"
        "assert callable(genoconv.load_model) and callable(genoconv.fftconv)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")
