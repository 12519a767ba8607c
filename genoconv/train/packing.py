"""Whether the windows of a batch are padded to one length or lie end to end in one row."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from genoconv.genome.windows.batches import expected_padding

Packing = Literal["auto"] | bool

WORTH = 0.25
"""Share of padding from which on packing pays: measured while each packed row was convolved by itself."""


def packs(packing: Packing, lengths: npt.NDArray[np.int64], *, longest: int, tokens_per_batch: int) -> bool:
    """Whether to pack windows of these lengths.

    Args:
        packing: ``auto`` packs where padding would be at least :data:`WORTH` of what is computed.
        lengths: bases of each window.
        longest: bases that windows are cut to.
        tokens_per_batch: bases in a batch; a longer window raises it.
    """
    if packing != "auto":
        return packing
    cut = np.minimum(lengths, longest).tolist()
    return expected_padding(cut, tokens_per_batch=tokens_per_batch) >= WORTH
