"""What this machine offers to genoconv, and what genoconv will make of it. Looks, repairs nothing, never raises."""

import errno
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genoconv import __version__, paths
from genoconv.errors import GenoconvError
from genoconv.genome.assemblies import store
from genoconv.wording import count

_DEPENDENCIES = ("pytorch-lightning", "pysam", "pyfaidx", "pandas", "safetensors")
_EXTRAS = {
    "cuda": "cuda.core",
    "plot": "matplotlib",
    "parquet": "pyarrow",
    "h5ad": "h5py",
    "bigwig": "pybigtools",
    "zarr": "zarr",
    "tensorboard": "tensorboard",
    "hub": "huggingface_hub",
    "workflow": "snakemake",
}
_LOW_DISK_BYTES = 5 * 1024**3
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_OTHER_HOME = "set GENOCONV_HOME to a folder that can be written"


@dataclass(frozen=True)
class Finding:
    """One line of the report: ``ok`` is False where something will not work, with ``advice`` saying what to do."""

    subject: str
    value: str
    ok: bool = True
    advice: str = ""


def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _existing_parent(path: Path) -> Path:
    while not _exists(path):
        path = path.parent
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # in a folder that may not be searched
        return False


def _why_closed(folder: Path) -> OSError | None:
    """Why no file can be made in a folder, tried with one that leaves no trace: permission bits do not say it all."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return OSError(error.errno, error.strerror, str(folder))


def _cache() -> Iterator[Finding]:
    try:
        home = paths.home_dir()
        anchor = _existing_parent(home.absolute())
        places = [anchor, *filter(_exists, (paths.genomes_dir(), paths.kernels_dir(), paths.scratch_dir()))]
        closed = [error for error in map(_why_closed, places) if error]
        free = shutil.disk_usage(anchor).free
    except (OSError, GenoconvError) as error:
        yield Finding("cache", str(error), ok=False, advice=_OTHER_HOME)
        return
    there = anchor == home.absolute()
    state = "" if there and not closed else " (read-only)" if there else " (created on first use)"
    why = f"{closed[0].filename}: {closed[0].strerror}" if closed else ""
    # What lies in a read-only cache, as a cluster shares it, is used all the same.
    works = there and all(error.errno in _READ_ONLY for error in closed)
    advice = f"{why}; {'to add genomes or kernels ' if works else ''}{_OTHER_HOME}" if closed else ""
    yield Finding("cache", f"{home}{state}", ok=works or not closed, advice=advice)
    yield Finding(
        "disk",
        f"{free / 1024**3:.1f} GiB free",
        ok=free > _LOW_DISK_BYTES,
        advice="" if free > _LOW_DISK_BYTES else "a human genome needs 5 GiB; set GENOCONV_HOME to a larger disk",
    )
    yield from _genomes()


def _genomes() -> Iterator[Finding]:
    """Which genomes are here, and which are not as they were."""
    try:
        genomes = list(store.receipts())
        broken = [genome.name for genome in genomes if store.stored(genome.name) is None]
        begun = sorted(path.parent.name for path in paths.genomes_dir().glob("*/.work"))
    except (OSError, GenoconvError) as error:
        yield Finding("genomes", str(error), ok=False)
        return
    size = sum(file.bytes for genome in genomes if not genome.registered for file in genome.files)
    names = ", ".join(genome.name for genome in genomes)
    text = (
        f"{names} ({size / 1024**3:.2f} GiB in the cache)" if genomes else "none stored yet; see genoconv genomes list"
    )
    advice = [f"{name} has changed: genoconv genomes verify {name}" for name in broken]
    yield Finding("genomes", text, ok=not broken, advice="; ".join(advice))
    for name in begun:
        yield Finding("genomes", f"{name} is partly fetched; genoconv genomes fetch {name} resumes")


def _libraries() -> Iterator[Finding]:
    for name in _DEPENDENCIES:
        found = _installed(name)
        yield Finding(name, found or "missing", ok=found is not None, advice="" if found else "reinstall genoconv")
    present = [extra for extra, module in _EXTRAS.items() if _importable(module)]
    absent = [extra for extra in _EXTRAS if extra not in present]
    hint = f"; add one with: pip install 'genoconv[{absent[0]}]'" if absent else ""
    yield Finding("extras", f"{', '.join(present) or 'none'} (not installed: {', '.join(absent) or 'none'}{hint})")


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _compute() -> Iterator[Finding]:
    """torch, CUDA and the kernels. A broken torch, driver or cache fails in ways that nobody has listed."""
    try:
        import torch

        yield Finding("torch", f"{torch.__version__}, {count(torch.get_num_threads(), 'thread')}")
    except Exception as error:
        yield Finding("torch", _words(error), ok=False, advice="reinstall torch for this machine")
        return
    try:
        from genoconv.ops.longconv.doctor import kernel_status

        for subject, value in kernel_status().items():
            yield Finding(subject, value)
    except Exception as error:
        yield Finding("kernels", _words(error), ok=False, advice="GENOCONV_KERNELS=torch does without them")


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def examine() -> Iterator[Finding]:
    """Look at the machine, one finding at a time; importing torch takes a second or two."""
    yield Finding("genoconv", __version__)
    yield Finding("python", f"{platform.python_version()} ({sys.executable})")
    yield Finding("system", f"{platform.platform()}, {os.cpu_count()} cores")
    settings = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("GENOCONV_")]
    if settings:
        yield Finding("settings", " ".join(settings))
    yield from _libraries()
    yield from _compute()
    yield from _cache()


def verdict() -> str:
    """In plain words, what ``--device auto`` will use on this machine."""
    try:
        import torch

        if not torch.cuda.is_available():
            return f"genoconv will compute on the CPU with torch.fft ({_why_no_gpu(torch.version.cuda)})"
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        from genoconv.ops.longconv.doctor import kernel_status

        return f"genoconv will compute on {names}; long convolutions: {kernel_status()['backend']}"
    except Exception:  # reported by examine()
        return "genoconv cannot compute: torch is missing or broken"


def _why_no_gpu(cuda: str | None) -> str:
    if cuda is not None:
        return "torch sees no NVIDIA GPU or driver"
    if Path("/proc/driver/nvidia/version").exists():
        return "there is an NVIDIA driver, but this torch is a CPU build: install a CUDA build of torch to use the GPU"
    return "this torch is a CPU build"
