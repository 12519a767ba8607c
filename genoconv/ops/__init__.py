"""The long convolution and what it is made of. Names resolve on first use: importing this loads no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genoconv.ops.longconv.conv import fftconv, prepare_filter
    from genoconv.ops.longconv.packed import fftconv_packed
    from genoconv.ops.longconv.sparse import (
        FrequencyMask,
        SparsityError,
        choose_mask,
        fftconv_sparse,
        sparsity_error,
    )
    from genoconv.ops.longconv.spectrum import FilterSpectrum
    from genoconv.ops.longconv.stream import ConvState, fftconv_stream

_LAZY = {
    "ConvState": "longconv.stream",
    "FilterSpectrum": "longconv.spectrum",
    "fftconv": "longconv.conv",
    "FrequencyMask": "longconv.sparse",
    "SparsityError": "longconv.sparse",
    "choose_mask": "longconv.sparse",
    "fftconv_packed": "longconv.packed",
    "fftconv_sparse": "longconv.sparse",
    "sparsity_error": "longconv.sparse",
    "fftconv_stream": "longconv.stream",
    "prepare_filter": "longconv.conv",
}

__all__ = [
    "ConvState",
    "FilterSpectrum",
    "FrequencyMask",
    "SparsityError",
    "choose_mask",
    "fftconv",
    "fftconv_packed",
    "fftconv_sparse",
    "fftconv_stream",
    "prepare_filter",
    "sparsity_error",
]


if not TYPE_CHECKING:  # a type checker would take any name for Any

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            return getattr(import_module(f"genoconv.ops.{_LAZY[name]}"), name)
        raise AttributeError(f"module 'genoconv.ops' has no attribute {name!r}")
