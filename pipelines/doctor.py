"""What this machine offers to genoconv, and what genoconv will make of it."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genoconv import __version__, paths

_DEPENDENCIES = ("pytorch-lightning", "pysam", "pyfaidx", "biopython", "pandas", "safetensors")
_EXTRAS = {
    "cuda": "cuda.core",
    "plot": "matplotlib",
    "parquet": "pyarrow",
    "h5ad": "anndata",
    "tensorboard": "tensorboard",
    "hub": "huggingface_hub",
}
_LOW_DISK_BYTES = 5 * 1024**3


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
    while not path.exists():
        path = path.parent
    return path


def _cache() -> Iterator[Finding]:
    home = paths.home_dir()
    anchor = _existing_parent(home)
    writable = anchor.is_dir() and os.access(anchor, os.W_OK)
    yield Finding(
        "cache",
        f"{home}{'' if home.exists() else ' (made at first use)'}",
        ok=writable,
        advice="" if writable else "not writable; set GENOCONV_HOME to a folder that is",
    )
    free = shutil.disk_usage(anchor).free
    yield Finding(
        "disk",
        f"{free / 1024**3:.1f} GiB free there",
        ok=free > _LOW_DISK_BYTES,
        advice="" if free > _LOW_DISK_BYTES else "a human genome needs 5 GiB; set GENOCONV_HOME to a larger disk",
    )


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


def examine() -> Iterator[Finding]:
    """Look at the machine, one finding at a time; importing torch takes a second or two."""
    yield Finding("genoconv", __version__)
    yield Finding("python", f"{platform.python_version()} ({sys.executable})")
    yield Finding("system", f"{platform.platform()}, {os.cpu_count()} cores")
    yield from _libraries()
    import torch

    yield Finding("torch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    from genoconv.ops.doctor import kernel_status

    for subject, value in kernel_status().items():
        yield Finding(subject, value)
    yield from _cache()


def verdict() -> str:
    """In plain words, what ``--device auto`` will use on this machine."""
    import torch

    if not torch.cuda.is_available():
        reason = "this torch is a CPU build" if torch.version.cuda is None else "torch sees no NVIDIA GPU or driver"
        return f"genoconv will compute on the CPU with torch.fft ({reason})"
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    from genoconv.ops.doctor import kernel_status

    return f"genoconv will compute on {names}; long convolutions: {kernel_status()['backend']}"
