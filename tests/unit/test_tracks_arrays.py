"""Arrays of whole contigs."""

import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from genoconv.tracks import arrays
from genoconv.tracks.arrays import write_npy, write_zarr
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


def test_a_store_has_the_bytes_that_zarr_writes(tmp_path, monkeypatch):
    import zarr

    monkeypatch.setattr(arrays, "CHUNK", 64)
    monkeypatch.setattr(arrays, "SHARD", 256)
    rng = np.random.default_rng(3)
    lengths = {"long": 700, "whole": 512, "chunk": 64, "more": 65, "short": 5, "none": 80}
    values = {contig: rng.standard_normal((length, 4)).astype("<f2") for contig, length in lengths.items()}
    values["long"][130:140] = values["whole"][448:449] = np.nan  # within a chunk, and where one begins
    values["long"][256:512] = values["long"][530:580] = values["whole"][64:128] = values["none"][:] = np.nan

    def blocks(contig: str | None = None, /) -> Iterator[Block]:
        for start in range(0, lengths[contig or "long"], 50):
            yield Block(contig or "long", start, np.zeros(0, np.uint8), values[contig or "long"][start : start + 50])

    contigs = {contig: (f"{contig}_", length) for contig, length in lengths.items()}
    write_zarr(tmp_path / "a", blocks, contigs=contigs, columns=4, dtype="<f2", facts={"x": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = zarr.open_group(tmp_path / "b", mode="w", zarr_format=3, attributes={"x": 1})
        for contig, length in lengths.items():
            shards = (256, 4) if length > 64 else None
            array = group.create_array(
                f"{contig}_",
                shape=(length, 4),
                dtype="<f2",
                chunks=(min(64, length), 4),
                shards=shards,
                fill_value=np.nan,
            )
            array[:] = values[contig]
    found, wanted = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "a", tmp_path / "b")
    )
    assert found == wanted
    assert len(wanted) == 1 + len(lengths) + 2 + 2 + 1 + 1 + 1
