"""GPUs by name, as the cost model sees them."""

import re
from dataclasses import dataclass

from genoconv.errors import UsageError
from genoconv.gpu.targets import Card, card_of

GIB = 2**30


@dataclass(frozen=True)
class Accelerator:
    """One GPU.

    Attributes:
        name: as ``--gpu`` takes it.
        title: as the maker calls it.
        card: what the kernels' plans need to know.
        memory: bytes that a program can have.
        bandwidth: bytes per second of a copy, read and written.
        matrix: bf16 floating-point operations per second that the model's matrix products attain.
        measured: whether predictions were fitted on this card; others are scaled by bandwidth and matrix rate.
    """

    name: str
    title: str
    card: Card
    memory: float
    bandwidth: float
    matrix: float
    measured: bool = False


# name: (title, arch, usable GiB, copy GB/s, matrix TFLOP/s, measured)
_TABLE = {
    "h200": ("NVIDIA H200", "sm_90", 139.8, 4230, 600, True),
    "h100": ("NVIDIA H100 80GB HBM3", "sm_90", 79.2, 3020, 600, False),
    "b200": ("NVIDIA B200", "sm_100", 178.0, 6800, 1350, False),
    "a100": ("NVIDIA A100 80GB", "sm_80", 79.2, 1750, 190, False),
    "a100-40gb": ("NVIDIA A100 40GB", "sm_80", 39.4, 1340, 190, False),
    "rtx3090": ("NVIDIA GeForce RTX 3090", "sm_86", 23.5, 820, 43, False),
    "rtx4090": ("NVIDIA GeForce RTX 4090", "sm_89", 23.5, 890, 100, False),
    "rtx5090": ("NVIDIA GeForce RTX 5090", "sm_120", 31.3, 1570, 126, False),
    "l4": ("NVIDIA L4", "sm_89", 22.0, 265, 60, False),
    "a10": ("NVIDIA A10", "sm_86", 22.0, 525, 75, False),
}
ACCELERATORS = tuple(_TABLE)
"""Names that ``--gpu`` takes."""


# What makers and drivers put around a name: NVIDIA A100-SXM4-40GB, NVIDIA GeForce RTX 4090, NVIDIA H100 80GB HBM3.
_AROUND = re.compile(r"nvidia|geforce|tesla|sxm\d*|pcie|hbm\d?e?|[^a-z0-9]")
_CAPACITY = {
    "h200": 141,
    "h100": 80,
    "b200": 180,
    "a100": 80,
    "rtx3090": 24,
    "rtx4090": 24,
    "rtx5090": 32,
    "l4": 24,
    "a10": 24,
}


def _key(name: str) -> str | None:
    """The key in the table of a GPU as makers, drivers and users call it; None where there is none."""
    plain = _AROUND.sub("", name.lower())
    for key in _TABLE:
        short = key.replace("-", "")
        names = {short, short.removeprefix("rtx"), f"{short}{_CAPACITY.get(key)}gb"}
        if plain in names:
            return key
    return None


def accelerator(name: str) -> Accelerator:
    """A GPU by name, in any case: ``h200``, ``RTX 4090``, ``NVIDIA A100-SXM4-40GB``.

    Raises:
        UsageError: an unknown name; lists the known ones.
    """
    key = _key(name)
    if key is None:
        raise UsageError(f"--gpu {name}: choose one of {', '.join(ACCELERATORS)}")
    title, arch, memory, bandwidth, matrix, measured = _TABLE[key]
    return Accelerator(key, title, card_of(arch), memory * GIB, bandwidth * 1e9, matrix * 1e12, measured)


def local_accelerator() -> Accelerator:
    """The first GPU of this machine.

    Raises:
        UsageError: there is none, or it is of a kind without figures.
    """
    import torch

    if not torch.cuda.is_available():
        raise UsageError(f"this machine has no GPU: name one with --gpu ({', '.join(ACCELERATORS)})")
    title = torch.cuda.get_device_name(0)
    if _key(title) is None:
        raise UsageError(f"no performance data for {title}: name a similar GPU with --gpu ({', '.join(ACCELERATORS)})")
    return accelerator(title)
