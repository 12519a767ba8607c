"""Run a command in this process through its real entry, and read what ``--json`` says of it."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from genoconv.cli import entry


def enter(*words: object) -> int:
    """The exit code of ``genoconv`` with these words; the streams are those of the test."""
    with mock.patch.object(sys, "argv", ["genoconv", *map(str, words)]):
        with pytest.raises(SystemExit) as stop:
            entry.main()
        assert isinstance(stop.value.code, int)
        return stop.value.code


def reported(*words: object, code: int = 0) -> dict[str, Any]:
    """The summary of a run that ends with ``code``."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "run.json"
        assert enter(*words, "--json", target) == code
        found: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
        return found
