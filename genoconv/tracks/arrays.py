"""Arrays of whole contigs: a ``.npy`` file each, or one Zarr store."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from genoconv.tracks.blocks import Block, Blocks

# Positions of a chunk, which is what a reader decompresses at least, and of a shard, which is one file.
CHUNK, SHARD = 1 << 16, 1 << 22
_LEVEL = 0  # of the compression: the library's choice
_AT_ONCE = 4  # chunks that are compressed

Values: TypeAlias = npt.NDArray[Any]


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
    once all its positions are known. zarr describes the arrays; their chunks are compressed here, several at a time, as
    zarr would, which needs half as long again to bring them into a shard.
    """
    made: dict[str, Any] = {}
    with warnings.catch_warnings(), ThreadPoolExecutor(_AT_ONCE) as pool:
        warnings.simplefilter("ignore")  # of zarr about its own future
        import zarr
        from zarr.codecs import ZstdCodec
        from zarr.storage import MemoryStore

        group = zarr.open_group(store=MemoryStore(made), mode="w", zarr_format=3, attributes=dict(facts))
        for contig, (name, length) in contigs.items():
            shape = min(CHUNK, length), columns
            group.create_array(
                name=name,
                shape=(length, columns),
                dtype=np.dtype(dtype),
                chunks=shape,
                shards=(SHARD, columns) if length > CHUNK else None,
                compressors=ZstdCodec(level=_LEVEL),
                fill_value=float("nan"),
            )
            _put(made, folder, but="zarr.json")
            in_shard = SHARD // CHUNK if length > CHUNK else 1
            packed = ((n, pool.submit(_packed, values)) for n, values in _chunks(blocks(contig), shape, dtype))
            for number, some in groupby(packed, key=lambda one: one[0] // in_shard):
                chunks = {n % in_shard: data.result() for n, data in list(some)}
                if any(chunks.values()):
                    path = folder / name / "c" / str(number) / "0"
                    path.parent.mkdir(parents=True)
                    with path.open("wb") as stream:
                        stream.writelines(_shard(chunks, in_shard) if length > CHUNK else chunks.values())
        _put(made, folder)


def _put(made: dict[str, Any], folder: Path, *, but: str = "") -> None:
    """Move what a store in memory has to the files that a store on disk would have, ``but`` one."""
    for key in [key for key in made if key != but]:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.pop(key).to_bytes())


def _chunks(blocks: Iterable[Block], shape: tuple[int, int], dtype: str) -> Iterator[tuple[int, Values]]:
    """The values of whole chunks with their numbers, those that have any, in order; NaN where there is no value."""
    rows, number, held = shape[0], -1, np.empty(0)
    for block in blocks:
        done = 0
        while done < len(block.values):
            position = block.start + done
            if position // rows != number:
                if number >= 0:
                    yield number, held
                number, held = position // rows, np.full(shape, np.nan, dtype)
            part = block.values[done : (number + 1) * rows - block.start]
            held[position % rows : position % rows + len(part)] = part
            done += len(part)
    if number >= 0:
        yield number, held


def _packed(values: Values) -> bytes:
    """A compressed chunk; nothing where it is NaN alone."""
    from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

    packed: bytes = b"" if np.isnan(values).all() else Zstd(level=_LEVEL).encode(values.view(np.uint8))
    return packed


def _shard(chunks: Mapping[int, bytes], count: int) -> list[bytes]:
    """The parts of a shard of ``count`` chunks: those that are there, then where each lies, and a checksum of that.

    Source: the sharding codec of Zarr, https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/
    """
    import google_crc32c

    index = np.full((count, 2), np.iinfo(np.uint64).max, "<u8")
    offset = 0
    for number, data in chunks.items():
        if data:
            index[number] = offset, len(data)
            offset += len(data)
    end = index.tobytes()
    return [*chunks.values(), end, google_crc32c.value(end).to_bytes(4, "little")]
