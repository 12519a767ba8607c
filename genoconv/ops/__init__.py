"""The long convolution and what it is made of. Names resolve on first use: importing this loads no torch."""

from importlib import import_module
from typing import Any

_LAZY = {"fftconv": "fftconv", "prepare_filter": "fftconv"}

__all__ = ["fftconv", "prepare_filter"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        # The function shadows its module of the same name once it is bound here.
        value = getattr(import_module(f"genoconv.ops.{_LAZY[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'genoconv.ops' has no attribute {name!r}")
