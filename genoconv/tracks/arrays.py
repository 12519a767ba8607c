"""Arrays of whole contigs."""

from pathlib import Path

import numpy as np

from genoconv.tracks.blocks import Blocks


def write_npy(path: Path, blocks: Blocks, *, contig: str, length: int) -> None:
    """(length, k) of one contig in the blocks' type; NaN where there is no value. Memory does not grow with it."""
    array = None
    for block in blocks(contig):
        if array is None:
            shape = (length, block.values.shape[1])
            array = np.lib.format.open_memmap(path, mode="w+", dtype=block.values.dtype, shape=shape)
            array[:] = np.nan
        array[block.start : block.start + len(block.values)] = block.values
    assert array is not None
    array.flush()
