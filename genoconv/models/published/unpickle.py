"""Read PyTorch checkpoints without running them: tensors and plain containers only.

A pickle is a program, and torch's restricted reader (``weights_only=True``) runs only the part of it that rebuilds
tensors. Training checkpoints of HyenaDNA also mention classes of the tools that wrote them (a configuration object, a
callback). Those below are known by name and are replaced by an inert stand-in, so their libraries are neither needed
nor imported; anything else is refused before it can do something.
"""

import pickle
import re
from pathlib import Path
from typing import Any

import torch

from genoconv.errors import ModelError


class Inert:
    """Stands for an object whose class genoconv has no use for; swallows its arguments and its state."""

    def __new__(cls, *arguments: object, **named: object) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *arguments: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# What published and training checkpoints were seen to mention besides tensors. None of these is ever imported.
STAND_INS = (
    "argparse.Namespace",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.nodes.AnyNode",
    "omegaconf.nodes.BooleanNode",
    "omegaconf.nodes.FloatNode",
    "omegaconf.nodes.IntegerNode",
    "omegaconf.nodes.StringNode",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "typing.Any",
)
# Lightning's dictionary of hyper-parameters is a dictionary; the builtins are type annotations in configurations.
_PLAIN = {
    "pytorch_lightning.utilities.parsing.AttributeDict": dict,
    "lightning_fabric.utilities.data.AttributeDict": dict,
    "builtins.bool": bool,
    "builtins.dict": dict,
    "builtins.float": float,
    "builtins.int": int,
    "builtins.list": list,
    "builtins.str": str,
}


def load_checkpoint(path: Path) -> dict[Any, Any]:
    """The dictionary in a ``torch.save`` file, tensors on the CPU.

    Raises:
        ModelError: it names a class or function that is not allowed, is damaged, or holds no dictionary.
    """
    allowed = [(Inert, name) for name in STAND_INS] + [(kind, name) for name, kind in _PLAIN.items()]
    try:
        with torch.serialization.safe_globals(allowed):  # type: ignore[arg-type]
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f"it asks for {named[1]}" if named else "it is no plain checkpoint"
        raise ModelError(
            f"{path}: refused, {what}; only tensors and plain containers are read, and nothing of it was run. "
            "Ask its author for a safetensors file"
        ) from error
    except Exception as error:  # torch raises whatever its zip and pickle readers meet in a damaged file
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = str(error).split("\n")[0]
        raise ModelError(f"{path}: damaged or not a PyTorch checkpoint ({reason}); copy it again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}, not a dictionary of tensors")
    return content
