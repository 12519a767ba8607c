"""Filters that are transformed once, for inference with many batches."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from genoconv.ops.precision import upcast

if TYPE_CHECKING:
    from genoconv.ops.longconv.plan import Plan
    from genoconv.ops.longconv.sparse import FrequencyMask

T = TypeVar("T")


@dataclass(frozen=True)
class StoredSpectrum:
    """T(k) + D of H filters in the order of the kernels of one regime and transform size.

    Attributes:
        filter: (H, size) complex fp16 as int32, scaled by powers of two.
        scale: (H, scales) fp32, the factors that undo the scaling.
        taps: K.
    """

    filter: Tensor
    scale: Tensor
    taps: int

    @property
    def size(self) -> int:
        """Points of the transform."""
        return self.filter.shape[1]


class FilterSpectrum:
    """A prepared filter, from :func:`genoconv.ops.prepare_filter`; a constant, without gradient.

    A transform is computed when the first rows of its size arrive, and kept.

    Attributes:
        taps: the filter itself, (H, K).
        skip: the D skip, (H,), or None.
        length: the longest N, in positions.
        keep: blocks of the spectrum that are not set to zero; None means all.
        made: transforms for the kernels, by regime and transform size.
    """

    def __init__(self, taps: Tensor, skip: Tensor | None, length: int, keep: "FrequencyMask | None" = None) -> None:
        self.taps = taps
        self.skip = skip
        self.length = length
        self.keep = keep
        self.made: dict[tuple[str, int], StoredSpectrum] = {}
        self._rfft: dict[int, Tensor] = {}

    @property
    def size(self) -> int:
        """Points of the transform on the torch path."""
        return fast_size(self.length + self.taps.shape[1] - 1)

    def rfft(self, size: int) -> Tensor:
        """Transform of the taps for torch.fft, (H, size / 2 + 1) complex."""
        if size not in self._rfft:
            self._rfft[size] = constant(lambda: torch.fft.rfft(upcast(self.taps), n=size))
        return self._rfft[size]

    def make(self, plan: "Plan") -> StoredSpectrum:
        """T(k) + D for the kernels of one plan, kept in :attr:`made`."""
        made = self.made[plan.regime, plan.size] = constant(lambda: self._made_for(plan))
        return made

    def _made_for(self, plan: "Plan") -> StoredSpectrum:
        # Interleaved blocks leave only some frequencies, so they cannot hold the whole skip.
        interleaved = self.keep is not None and self.keep.interleaved
        made = plan.prepare_filter(self.taps[:, : plan.size], None if interleaved else self.skip)
        if self.keep is not None and not interleaved:
            from genoconv.ops.longconv.bands import keep_bands  # which imports this module

            made = keep_bands(made, self.skip, self.keep)
        return made


def constant(make: Callable[[], T]) -> T:
    """What ``make`` returns, without gradient; even if inference mode is on now, gradients can use it later."""
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False), torch.no_grad():
            return make()
    with torch.no_grad():
        return make()


def fast_size(least: int) -> int:
    """Smallest even 2^a 3^b 5^c that is at least ``least``: lengths that every FFT library supports well."""
    best = 1 << max(1, (least - 1).bit_length())
    for fives in (1, 5, 25):
        for threes in (1, 3, 9, 27):
            odd = fives * threes
            twos = max(1, math.ceil(math.log2(least / odd))) if least > odd else 1
            while odd << twos < least:  # log2 may have rounded down
                twos += 1
            best = min(best, odd << twos)
    return best
