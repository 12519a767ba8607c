"""Arrays of whole contigs: a ``.npy`` file each, or one Zarr store."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genoconv.tracks.blocks import Block, Blocks

# Positions of a chunk, which is what a reader decompresses at least, and of a shard, which is one file.
CHUNK, SHARD = 1 << 16, 1 << 22


def write_npy(path: Path, blocks: Blocks, *, contig: str, length: int) -> None:
    """(length, k) of one contig in the blocks' type; NaN where there is no value. Memory does not grow with it."""
    array, filled = None, 0
    for block in blocks(contig):
        if array is None:
            shape = (length, block.values.shape[1])
            array = np.lib.format.open_memmap(path, mode="w+", dtype=block.values.dtype, shape=shape)
        end = block.start + len(block.values)
        array[filled : block.start] = np.nan
        array[block.start : end] = block.values
        filled = max(filled, end)
    assert array is not None
    array[filled:] = np.nan
    array.flush()


def write_zarr(
    folder: Path,
    blocks: Blocks,
    *,
    contigs: Mapping[str, tuple[str, int]],
    columns: int,
    dtype: str,
    facts: Mapping[str, Any],
) -> None:
    """A Zarr store (format 3): a group with an array (length, columns) per contig, chunked, sharded, compressed.

    Values that are not there are NaN, the fill value, and take no space. ``contigs`` are the name of the array and the
    length of each contig, ``facts`` the attributes of the group. Memory does not grow with a contig: a shard is written
    once all its positions are known.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zarr about its own future
        import zarr

        group = zarr.open_group(store=str(folder), mode="w", zarr_format=3, attributes=dict(facts))
        for contig, (name, length) in contigs.items():
            array = group.create_array(
                name=name,
                shape=(length, columns),
                dtype=np.dtype(dtype),
                chunks=(min(CHUNK, length), columns),
                shards=(SHARD, columns) if length > CHUNK else None,
                fill_value=float("nan"),
            )
            for start, values in _shards(blocks(contig), length, columns, dtype):
                array[start : start + len(values)] = values


def _shards(blocks: Iterator[Block], length: int, columns: int, dtype: str) -> Iterator[tuple[int, Any]]:
    """The values of whole shards, those that have any, in order."""
    start, held = -1, np.empty(0)
    for block in blocks:
        done = 0
        while done < len(block.values):
            position = block.start + done
            shard = position // SHARD * SHARD
            if shard != start:
                if start >= 0:
                    yield start, held
                start, held = shard, np.full((min(SHARD, length - shard), columns), np.nan, dtype)
            part = block.values[done : shard + SHARD - block.start]
            held[position - shard : position - shard + len(part)] = part
            done += len(part)
    if start >= 0:
        yield start, held
