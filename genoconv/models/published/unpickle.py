"""Read PyTorch checkpoints without running them: tensors and plain containers only.

A pickle is a program, and torch's restricted reader (``weights_only=True``) runs only the part of it that rebuilds
tensors. Training checkpoints of HyenaDNA also mention classes of the tools that wrote them (a configuration object, a
callback). Those below are known by name and are replaced by an inert stand-in, so their libraries are neither needed
nor imported; anything else is refused before it can do something.
"""

import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

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


# What rebuilds tensors. torch's reader allows more: ``bytearray(9_900_000_000)`` takes 9.9 GB from a file of 60 bytes,
# and an untyped storage, which holds types of 8 bits, does the same.
_TENSORS = re.compile(
    r"collections\.OrderedDict|_codecs\.encode|torch\.(\w+Storage|Size|device|u?int\d+|b?float\d+\w*|complex\d+|bool)"
    r"|torch\._utils\._rebuild_\w+|torch\.serialization\._get_layout|builtins\.set"
)
_LEGACY_PICKLES = 5


def load_checkpoint(path: Path) -> dict[Any, Any]:
    """The dictionary in a ``torch.save`` file, tensors on the CPU.

    Raises:
        ModelError: it names a class or function that is not allowed, is damaged, or holds no dictionary.
    """
    _refuse_foreign(path)
    allowed = [(Inert, name) for name in STAND_INS] + [(kind, name) for name, kind in _PLAIN.items()]
    try:
        # Opened here: torch takes no path that is not UTF-8.
        with torch.serialization.safe_globals(allowed), path.open("rb") as stream:  # type: ignore[arg-type]
            content = torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, "it is not a plain checkpoint") from error
    except Exception as error:  # torch raises whatever its zip and pickle readers meet in a damaged file
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = str(error).split("\n")[0]
        raise ModelError(f"{path}: damaged or not a PyTorch checkpoint ({reason}); copy it again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}, not a dictionary of tensors")
    return content


def _refused(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path}: refused, {why}; only tensors and plain containers are read, and none of its code was run. "
        "Ask its author for a safetensors file"
    )


def _refuse_foreign(path: Path) -> None:
    """Look for names in the pickles of a file that nothing here needs, before anything is built.

    Raises:
        ModelError: there is one, or a compressed part, which can unpack to any size.
    """
    try:
        with path.open("rb") as stream:
            for name in _globals(stream, path):
                if not (_TENSORS.fullmatch(name) or name in STAND_INS or name in _PLAIN):
                    raise _refused(path, f"it asks for {name}")
    except (ValueError, EOFError, IndexError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        if isinstance(error, ModelError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: damaged or not a PyTorch checkpoint ({reason}); copy it again") from error


def _globals(stream: IO[bytes], path: Path) -> Iterator[str]:
    """Names of the classes and functions that the pickles of a ``torch.save`` file mention."""
    if not zipfile.is_zipfile(stream):
        stream.seek(0)
        for _ in range(_LEGACY_PICKLES):
            yield from _mentioned(stream)
        return
    with zipfile.ZipFile(stream) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise _refused(path, f"its part {entry.filename} is compressed, which torch never does")
            if entry.filename.endswith(".pkl"):
                with archive.open(entry) as part:
                    yield from _mentioned(part)


def _mentioned(stream: IO[bytes]) -> Iterator[str]:
    for operation, argument, _ in pickletools.genops(stream):
        if operation.name == "GLOBAL":
            yield str(argument).replace(" ", ".").replace("__builtin__.", "builtins.")
        elif operation.name in ("STACK_GLOBAL", "INST"):
            yield f"a class by {operation.name}, as torch does not"
