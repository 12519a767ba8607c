"""Arrays of whole contigs."""

import numpy as np
import pytest

from genoconv.tracks.arrays import write_npy
from genoconv.tracks.blocks import Block


@pytest.mark.parametrize("spans", [[(0, 9)], [(2, 4), (4, 5), (7, 8)]])
def test_positions_without_a_value_are_nan(tmp_path, spans):
    values = np.arange(18, dtype=np.float16).reshape(9, 2)

    blocks = (Block("c", start, np.zeros(end - start, np.uint8), values[start:end]) for start, end in spans)
    write_npy(tmp_path / "c.npy", blocks, length=9)
    found = np.load(tmp_path / "c.npy")
    wanted = np.full_like(values, np.nan)
    for start, end in spans:
        wanted[start:end] = values[start:end]
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, wanted)
