"""Arrays of whole contigs: a ``.npy`` file each, or one Zarr store."""

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from genoconv.tracks.blocks import Block, Blocks

# Positions of a chunk, which is what a reader decompresses at least, and of a shard, which is one file.
CHUNK, SHARD = 1 << 16, 1 << 22
_AT_ONCE = 2  # shards that are compressed; each is some 30 MB


def write_npy(path: Path, blocks: Iterable[Block], *, length: int) -> None:
    """(length, k) of one contig in the blocks' type; NaN where there is no value. Memory does not grow with it.

    Args:
        path: to be written.
        blocks: of that contig, in order, at least one.
        length: bases of the contig.
    """
    with path.open("wb") as stream:
        filled, columns, dtype = 0, 0, np.dtype(np.float16)
        for block in blocks:
            if not columns:
                columns, dtype = block.values.shape[1], block.values.dtype
                header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
                np.lib.format.write_array_header_1_0(stream, {**header, "shape": (length, columns)})
            _write_nan(stream, block.start - filled, columns=columns, dtype=dtype)
            stream.write(np.ascontiguousarray(block.values).data)
            filled = block.start + len(block.values)
        assert columns
        _write_nan(stream, length - filled, columns=columns, dtype=dtype)


def _write_nan(stream: BinaryIO, rows: int, *, columns: int, dtype: "np.dtype[Any]") -> None:
    for first in range(0, rows, CHUNK):
        stream.write(np.full((min(CHUNK, rows - first), columns), np.nan, dtype).data)


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
    once all its positions are known, two at a time.
    """
    made: dict[str, Any] = {}  # by zarr, which takes twice as long where it writes each file itself
    with warnings.catch_warnings(), ThreadPoolExecutor(_AT_ONCE) as pool:
        warnings.simplefilter("ignore")  # of zarr about its own future
        import zarr
        from zarr.storage import MemoryStore

        group = zarr.open_group(store=MemoryStore(made), mode="w", zarr_format=3, attributes=dict(facts))
        for contig, (name, length) in contigs.items():
            # The same array twice: looking for chunks without a value takes a third of the time of zarr's only thread.
            looking, filling = (
                group.create_array(
                    name=name,
                    shape=(length, columns),
                    dtype=np.dtype(dtype),
                    chunks=(min(CHUNK, length), columns),
                    shards=(SHARD, columns) if length > CHUNK else None,
                    fill_value=float("nan"),
                    config={"write_empty_chunks": full},
                    overwrite=full,
                )
                for full in (False, True)
            )
            writing: deque[Future[None]] = deque()
            for start, values in _shards(blocks(contig), length, columns, dtype):
                array = filling if _is_full(values) else looking
                writing.append(pool.submit(array.__setitem__, slice(start, start + len(values)), values))
                if len(writing) > _AT_ONCE:
                    writing.popleft().result()
                _put(made, folder, but="zarr.json")
            for shard in writing:
                shard.result()
            _put(made, folder, but="zarr.json")
        _put(made, folder)


def _is_full(values: "np.ndarray[Any, Any]") -> bool:
    """Whether it is clear that each chunk of a shard has a value."""
    return len(values) == SHARD and not np.isnan(values[::CHUNK, 0]).any()


def _put(made: dict[str, Any], folder: Path, *, but: str = "") -> None:
    """Move what a store in memory has to the files that a store on disk would have, ``but`` one."""
    for key in [key for key in list(made) if key != but]:  # others may put more there meanwhile
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.pop(key).as_numpy_array().data)


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
