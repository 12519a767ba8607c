"""Sequences of different lengths in one row of tokens, without padding.

Everything but the two convolutions works on one token at a time. The long convolution receives the bounds of the
sequences; for the short one they are moved apart by a few places, which every layer sets to zero before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from genoconv.errors import ModelError, UsageError
from genoconv.ops.longconv.arguments import integers

_ALIGNMENT = 16
"""Sequences begin at multiples of this many places: the convolution's kernels read whole 16-byte pieces."""


@dataclass(frozen=True)
class Packing:
    """Where packed sequences lie once they are moved apart.

    Attributes:
        spans: start and stop of each sequence, 0-based, half-open.
        total: places in all.
        places: (T,) where each token of the packed row goes.
        gaps: the places between sequences and behind the last.
    """

    spans: tuple[tuple[int, int], ...]
    total: int
    places: Tensor
    gaps: Tensor

    @property
    def longest(self) -> int:
        """Tokens in the longest sequence."""
        return max(stop - start for start, stop in self.spans)

    def spread(self, ids: Tensor, empty: int) -> Tensor:
        """Packed ids (1, T) moved apart: (1, total), ``empty`` in the gaps."""
        found = ids.new_full((1, self.total), empty)
        return found.index_copy_(1, self.places, ids)

    def gathered(self, x: Tensor) -> Tensor:
        """The other way: x (1, total, D) -> (1, T, D)."""
        return x.index_select(1, self.places)


def pack(input_ids: Tensor, cu_seqlens: Tensor | Sequence[int], *, reach: int) -> Packing:
    """Lay out the sequences of a packed row.

    Args:
        input_ids: (1, T) integers, the sequences one after the other.
        cu_seqlens: R + 1 integers, ascending from 0 to T: sequence r is tokens ``cu_seqlens[r]`` to
            ``cu_seqlens[r + 1]``. A list or a tensor on the CPU; one on a GPU waits for it.
        reach: earlier positions that the short convolution looks back to.

    Raises:
        ModelError: several rows, or ``cu_seqlens`` does not fit the row.
    """
    if len(input_ids) != 1:
        shape = "x".join(map(str, input_ids.shape))
        raise ModelError(f"input_ids: got {shape} with cu_seqlens; packed sequences are one row, (1, tokens)")
    length, device = input_ids.shape[1], input_ids.device
    try:
        bounds = integers(cu_seqlens)
    except UsageError as error:
        raise ModelError(str(error)) from None
    if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != length:
        ends = f"{bounds[0]} to {bounds[-1]}" if bounds else "nothing"
        raise ModelError(f"cu_seqlens must go from 0 to the {length:,} tokens of the row; got {ends}")
    spans: list[tuple[int, int]] = []
    at = 0
    for row, (start, stop) in enumerate(pairwise(bounds)):
        if stop <= start:
            raise ModelError(f"cu_seqlens: sequence {row} is from {start} to {stop}; each needs at least one token")
        spans.append((at, at + stop - start))
        at = -(-(at + stop - start + reach) // _ALIGNMENT) * _ALIGNMENT
    # Channels follow one another in memory, so all of them have a multiple of that many places.
    total = -(-spans[-1][1] // _ALIGNMENT) * _ALIGNMENT
    gaps = [(one[1], other[0]) for one, other in pairwise([*spans, (total, total)])]
    return Packing(tuple(spans), total, _every_place(spans, device), _every_place(gaps, device))


def _every_place(spans: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
    """The numbers from start to stop of all spans, (places,), without waiting for a GPU."""
    sizes = [stop - start for start, stop in spans]
    count = sum(sizes)
    shifts = [start - before for (start, _), before in zip(spans, accumulate(sizes, initial=0), strict=False)]
    table = torch.tensor([shifts, sizes], dtype=torch.int64)
    if device.type == "cuda":
        table = table.pin_memory().to(device, non_blocking=True)
    return torch.arange(count, device=device) + table[0].repeat_interleave(table[1], output_size=count)
