"""How an output says where its numbers come from."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genoconv import __version__

if TYPE_CHECKING:
    from genoconv.train.machine import Machine


def file_name(path: Path) -> str:
    """The last part of a path, also of ``.`` or ``dir/..``."""
    return path.resolve().name


def origin(machine: "Machine", *, seed: int, command: str) -> dict[str, Any]:
    """When, by what and on what a model was made, for ``config.json``."""
    import torch

    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "genoconv_version": __version__,
        "torch_version": torch.__version__,
        "device": machine.describe(),
        "precision": machine.precision,
        "seed": seed,
        "command": command,
    }
