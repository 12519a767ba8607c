"""Whether the windows of a batch are padded to one length or lie end to end in one row."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from genoconv.genome.windows.batches import expected_padding
from genoconv.train.graphs import LONGEST_ROW

Packing = Literal["auto"] | bool

WORTH = 0.25
"""Share of padding from which on packing pays where windows are short: padded batches may run as CUDA graphs."""
WORTH_LONG = 0.07
"""The same for windows longer than :data:`.graphs.LONGEST_ROW`: the least padding that was measured on a GPU, where
packed steps were 6 % faster; with 10 and 26 % they were 34 and 89 % faster."""


def packs(packing: Packing, lengths: npt.NDArray[np.int64], *, longest: int, tokens_per_batch: int) -> bool:
    """Whether to pack windows of these lengths.

    Args:
        packing: ``auto`` packs where padding would be at least :data:`WORTH` of what is computed, or
            :data:`WORTH_LONG` where the longest window is longer than rows of CUDA graphs may be.
        lengths: bases of each window.
        longest: bases that windows are cut to.
        tokens_per_batch: bases in a batch; a longer window raises it.
    """
    if packing != "auto":
        return packing
    cut = np.minimum(lengths, longest).tolist()
    worth = WORTH if max(cut, default=0) <= LONGEST_ROW else WORTH_LONG
    return expected_padding(cut, tokens_per_batch=tokens_per_batch) >= worth
