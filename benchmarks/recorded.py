"""What a figure depends on, recorded beside it: machine, versions, commit and date."""

import datetime
import os
import platform
import subprocess

import torch


def commit() -> str:
    """The commit that runs, short. ``GENOCONV_COMMIT`` names it where the sources are not in a checkout."""
    if given := os.environ.get("GENOCONV_COMMIT"):
        return given
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def today() -> str:
    """YYYY-MM-DD."""
    return datetime.date.today().isoformat()


def device_name(kind: str) -> str:
    """The GPU, or the CPU with its threads; ``kind`` is ``cpu`` or a CUDA device."""
    return f"CPU, {torch.get_num_threads()} threads" if kind == "cpu" else torch.cuda.get_device_name()


def host() -> str:
    """The GPU where there is one, else the CPU with its cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()}, {os.cpu_count()} cores, CPU"


def versions() -> str:
    """Of Python and torch."""
    return f"python {platform.python_version()}, torch {torch.__version__}"
