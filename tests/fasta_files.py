"""FASTA files made for tests: random bases whose truth is known because the test wrote them."""

import random
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import pysam


def random_bases(length: int, *, seed: int, letters: str = "ACGTacgtN") -> str:
    return "".join(random.Random(seed).choices(letters, k=length))


def write_fasta(path: Path, records: Mapping[str, str], *, width: int = 60, end: str = "\n") -> Path:
    """Write records wrapped at ``width``; a name may carry a description."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        for name, sequence in records.items():
            stream.write(f">{name}{end}")
            stream.writelines(sequence[i : i + width] + end for i in range(0, len(sequence), width))
    return path


def bgzipped(path: Path) -> Path:
    """The bgzip twin of a file."""
    packed = path.with_name(path.name + ".gz")
    pysam.tabix_compress(str(path), str(packed), force=True)
    return packed


def bgzf(content: bytes, *, block: int = 1 << 15) -> bytes:
    """``content`` as BGZF, with the block that marks the end; blocks may be made small."""
    blocks = [content[start : start + block] for start in range(0, len(content), block)]
    return b"".join(map(_bgzf_block, [*blocks, b""]))


def _bgzf_block(content: bytes) -> bytes:
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = deflate.compress(content) + deflate.flush()
    head = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff\x06\x00BC\x02\x00" + struct.pack("<H", len(packed) + 25)
    return head + packed + struct.pack("<II", zlib.crc32(content), len(content))
