"""The precision that torch computes in where an operator or a module decides it itself."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Turns autocast off on the device of ``x``; a device without values has no autocast."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def upcast(x: Tensor) -> Tensor:
    """``x`` in float32, or as it is if it is float64."""
    return x if x.dtype == torch.float64 else x.float()
