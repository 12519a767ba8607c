"""Operators: the long convolution and the other parts of a Hyena block.

Each has a folder with the operator, a reference in plain torch and the launches of its kernels. Names are resolved on
first use, so importing this package does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genoconv.ops.embedding.embedding import embed
    from genoconv.ops.gelu.gelu import bias_gelu, linear_gelu
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
    from genoconv.ops.loss.loss import next_token_sums
    from genoconv.ops.norm.norm import add_norm
    from genoconv.ops.short_conv.short_conv import gated_short_conv

_LAZY = {
    "ConvState": "longconv.stream",
    "FilterSpectrum": "longconv.spectrum",
    "FrequencyMask": "longconv.sparse",
    "SparsityError": "longconv.sparse",
    "add_norm": "norm.norm",
    "bias_gelu": "gelu.gelu",
    "choose_mask": "longconv.sparse",
    "embed": "embedding.embedding",
    "fftconv": "longconv.conv",
    "fftconv_packed": "longconv.packed",
    "fftconv_sparse": "longconv.sparse",
    "fftconv_stream": "longconv.stream",
    "gated_short_conv": "short_conv.short_conv",
    "linear_gelu": "gelu.gelu",
    "next_token_sums": "loss.loss",
    "prepare_filter": "longconv.conv",
    "sparsity_error": "longconv.sparse",
}

__all__ = [
    "ConvState",
    "FilterSpectrum",
    "FrequencyMask",
    "SparsityError",
    "add_norm",
    "bias_gelu",
    "choose_mask",
    "embed",
    "fftconv",
    "fftconv_packed",
    "fftconv_sparse",
    "fftconv_stream",
    "gated_short_conv",
    "linear_gelu",
    "next_token_sums",
    "prepare_filter",
    "sparsity_error",
]


if not TYPE_CHECKING:  # a type checker would take any name for Any

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            return getattr(import_module(f"genoconv.ops.{_LAZY[name]}"), name)
        raise AttributeError(f"module 'genoconv.ops' has no attribute {name!r}")
