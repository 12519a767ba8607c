"""Transforms of one layer's filters, kept between calls without gradients."""

import torch.nn as nn
from torch import Tensor

from genoconv.models.filter import HyenaFilter
from genoconv.ops import FilterSpectrum, prepare_filter


class KeptSpectra:
    """Transforms for inputs of a few lengths; dropped when a parameter of the filter changes."""

    def __init__(self) -> None:
        self._by_length: dict[int, FilterSpectrum] = {}  # ascending
        self._made_from: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self._by_length)

    def prepare(self, filter_fn: HyenaFilter, lengths: tuple[int, ...]) -> None:
        """Replace what is kept by transforms of this layer's filter for inputs of ``lengths`` tokens."""
        self._by_length = {}
        self._made_from = _versions(filter_fn)
        if lengths:
            k = filter_fn(max(lengths))
            for n in sorted(lengths):
                self._by_length[n] = prepare_filter(k[:, :n], n, D=filter_fn.bias)

    def find(self, filter_fn: HyenaFilter, length: int) -> FilterSpectrum | None:
        """The kept transform for inputs of ``length`` tokens, with the skip in it, or None.

        A transform for longer inputs serves shorter ones too, and is worth it down to half of its length.
        """
        if self._by_length and self._made_from != _versions(filter_fn):
            self._by_length = {}
        return next((kept for n, kept in self._by_length.items() if length <= n <= 2 * length), None)


def _versions(filter_fn: nn.Module) -> tuple[tuple[int, int], ...]:
    """What changes when a tensor of the filter is replaced or written to.

    Torch counts in-place changes, except those of tensors made in inference mode, which cannot be trained.
    """
    tensors: list[Tensor] = [*filter_fn.parameters(), *filter_fn.buffers()]
    return tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)
