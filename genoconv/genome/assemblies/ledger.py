"""Checksums that no manifest knows: recorded at the first download from here, held ever after."""

import json
from typing import Any

from genoconv import atomic
from genoconv.errors import DataError
from genoconv.genome.cache import locked
from genoconv.paths import genomes_dir

RECORDED = "recorded-checksums.json"


def recorded_checksum(url: str) -> str | None:
    """SHA-256 of what a url served at its first download from here."""
    value = _records().get(url)
    return value if isinstance(value, str) else None


def record_checksum(url: str, sha256: str) -> None:
    """Remember what a url served."""
    folder = genomes_dir()
    with locked(folder, waiting="another process is recording a checksum; waiting for it"):
        atomic.write_text(folder / RECORDED, json.dumps({**_records(), url: sha256}, indent=2) + "\n")


def _records() -> dict[str, Any]:
    path = genomes_dir() / RECORDED
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"{path}: damaged ({error}); restore it, or delete it to record new checksums") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: damaged; restore it, or delete it to record new checksums")
    return values
