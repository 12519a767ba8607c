"""BGZF, the gzip of ``bgzip``: blocks of at most 64 KiB, so that a file can be entered in the middle.

Source: SAM specification, section 4.1; the ``.gzi`` index is that of bgzip(1).
"""

import itertools
import os
import struct
import weakref
import zlib
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

_MOST = 1 << 16
_GZIP = 31  # for zlib: a gzip header and its check sum
_KEPT = 1 << 10
"""Blocks of a file that stay decompressed, 64 MiB: windows of a small genome are read again and again."""
_FEW = 4
"""Blocks of a read up to which they are looked for there; a longer one would push out what others come back to."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Where each block starts: in the file (``packed``), and in the decompressed content (``plain``); int64."""

    packed: npt.NDArray[np.int64]
    plain: npt.NDArray[np.int64]


def read_gzi(path: Path, *, size: int) -> Blocks | None:
    """Blocks of a ``.gzi``; None where it cannot be one of a file of ``size`` bytes.

    It is a count and pairs of 64-bit integers, little-endian; the first block is left out.
    """
    raw = path.read_bytes()
    table = np.frombuffer(raw[: len(raw) // 8 * 8], "<u8")
    if len(raw) % 8 or not len(table) or int(table[0]) != (len(table) - 1) // 2 or len(table) % 2 == 0:
        return None
    if len(table) > 1 and int(table[1:].max()) > 1 << 62:
        return None
    pairs = np.vstack([np.zeros((1, 2), np.int64), table[1:].astype(np.int64).reshape(-1, 2)])
    steps = np.diff(pairs, axis=0)
    plausible = np.all(steps[:, 0] > 0) and np.all(steps[:, 1] >= 0) and np.all(steps <= _MOST)
    return Blocks(pairs[:, 0].copy(), pairs[:, 1].copy()) if plausible and pairs[-1, 0] < size else None


def gzi_of(blocks: Blocks) -> bytes:
    """Content of the ``.gzi`` with these blocks."""
    pairs = np.stack([blocks.packed[1:], blocks.plain[1:]], axis=1).astype("<u8")
    return struct.pack("<Q", len(pairs)) + pairs.tobytes()


def find_blocks(path: Path) -> Blocks | None:
    """Blocks of a file by walking from header to header; the empty one that marks the end is left out.

    None where there is anything but whole blocks as bgzip writes them.
    """
    packed, plain = [0], [0]
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        offset = content = 0
        while offset < size:
            length = _block_size(stream.read(18))
            if length < 26 or offset + length > size:
                return None
            stream.seek(offset + length - 4)
            tail = stream.read(4)
            if offset:
                packed.append(offset)
                plain.append(content)
            offset += length
            content += struct.unpack("<I", tail)[0]
            stream.seek(offset)
    if len(packed) > 1 and plain[-1] == content:  # the end marker
        packed.pop()
        plain.pop()
    return Blocks(np.array(packed, np.int64), np.array(plain, np.int64))


def _block_size(head: bytes) -> int:
    """Bytes of a block by its first 18; 0 where they are not of a block as bgzip writes it."""
    if len(head) < 18 or head[:4] != b"\x1f\x8b\x08\x04" or head[10:16] != b"\x06\x00BC\x02\x00":
        return 0
    return int.from_bytes(head[16:18], "little") + 1


class BgzfFile:
    """Decompressed content of a BGZF file from any byte on; for any number of threads and forked workers.

    Like a plain file it is read with ``pread``, which has no position that they could share.
    """

    def __init__(self, path: Path, blocks: Blocks) -> None:
        # Lists: numpy takes longer over one number than over a thousand.
        self._packed: list[int] = blocks.packed.tolist()
        self._plain: list[int] = blocks.plain.tolist()
        self._descriptor = os.open(path, os.O_RDONLY)
        self._content = lru_cache(_KEPT)(
            _content
        )  # safe with threads; of a function, which does not keep the file open
        weakref.finalize(self, os.close, self._descriptor)

    @property
    def size(self) -> int:
        """Bytes of the content. Raises ValueError as :meth:`read`."""
        last = self._plain[-1]
        return last + len(self.read(last, last + _MOST))

    def read(self, first: int, last: int) -> bytes:
        """Bytes ``[first, last)`` of the content, or as many as there are before its end.

        Raises:
            ValueError: the blocks are not where the index has them, or are damaged.
        """
        start = bisect_right(self._plain, first) - 1
        stop = max(bisect_left(self._plain, last), start + 1)
        packed, plain = self._packed[start : stop + 1], self._plain[start : stop + 1]
        if stop == len(self._packed):
            packed.append(packed[-1] + _MOST)
        sizes = [after - before for before, after in itertools.pairwise(plain)]
        if stop == len(self._packed):
            sizes.append(-1)
        if stop - start <= _FEW:
            spans = zip(packed, packed[1:], sizes, strict=False)
            content = [self._content(self._descriptor, here, there, size) for here, there, size in spans]
        else:
            base = packed[0]
            raw = memoryview(os.pread(self._descriptor, packed[-1] - base, base))
            content = [
                _inflate(raw[here - base : there - base], size)
                for here, there, size in zip(packed, packed[1:], sizes, strict=False)
            ]
        skip = first - plain[0]
        return (content[0] if len(content) == 1 else b"".join(content))[skip : skip + last - first]


def _content(descriptor: int, here: int, there: int, size: int) -> bytes:
    """Content of the block between two offsets of a file."""
    return _inflate(memoryview(os.pread(descriptor, there - here, here)), size)


def _inflate(block: memoryview, size: int) -> bytes:
    """Content of a block of that size; for -1, the last, whatever follows it."""
    try:
        if size >= 0:
            content = zlib.decompress(block, _GZIP, max(size, 1))
            whole = len(content) == size
        else:
            inflater = zlib.decompressobj(_GZIP)
            content = inflater.decompress(block, _MOST + 1)
            whole = inflater.eof
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not whole:
        raise ValueError("a block is not where the index says")
    return content
