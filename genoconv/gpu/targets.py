"""GPUs as plans see them: what a kernel may use there, known without the GPU."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from genoconv.errors import UsageError

KERNEL_TARGETS = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100")
"""Architectures that every kernel is compiled for in the tests."""


@dataclass(frozen=True)
class Card:
    """What plans need to know of a GPU.

    Attributes:
        arch: ``sm_90`` and so on.
        smem: bytes of shared memory that a block may use.
        sm_count: multiprocessors.
        l2_bytes: size of the L2 cache.
    """

    arch: str
    smem: int
    sm_count: int
    l2_bytes: int

    @property
    def capability(self) -> int:
        """Ten times the major compute capability plus the minor one: 90 for sm_90."""
        return int(self.arch.removeprefix("sm_").rstrip("a"))


# Shared memory of a block: CUDA C++ programming guide, compute capabilities. SMs and L2 of a common card of each:
# A100, RTX 3090, Orin, RTX 4090, H100, B200, RTX 5090.
_CARDS = {
    "sm_80": (163, 108, 40),
    "sm_86": (99, 84, 6),
    "sm_87": (163, 16, 4),
    "sm_89": (99, 128, 72),
    "sm_90": (227, 132, 50),
    "sm_100": (227, 148, 126),
    "sm_120": (99, 170, 96),
}
ARCHS = tuple(_CARDS)
"""Architectures that plans are known for."""


def card_of(arch: str) -> Card:
    """A common card of an architecture, which need not be here.

    Raises:
        UsageError: an unknown architecture.
    """
    if arch not in _CARDS:
        raise UsageError(f"--arch {arch}: choose one of {', '.join(ARCHS)}")
    smem, sm_count, l2_megabytes = _CARDS[arch]
    return Card(arch, smem * 1024, sm_count, l2_megabytes * 2**20)


@cache
def local_card(index: int) -> Card:
    """GPU ``index`` of this machine."""
    import torch

    p: Any = torch.cuda.get_device_properties(index)
    return Card(
        f"sm_{p.major}{p.minor}", p.shared_memory_per_block_optin, p.multi_processor_count, int(p.L2_cache_size)
    )
