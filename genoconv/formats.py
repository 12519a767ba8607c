"""What a file is, judged by its first bytes and never by its name, and streams that undo its compression."""

import contextlib
import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from genoconv.errors import DataError

Compression = Literal["plain", "gzip", "bgzip"]

STDIN = "standard input"
STDOUT = "standard output"
BOM = b"\xef\xbb\xbf"
_BUFFER = 1 << 18
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
# A decompression bomb is what unpacks to more than a ratio that no genome and no annotation reaches (GENCODE: 30).
_MOST_RATIO = 100
_ALWAYS_ALLOWED = 1 << 26
_TABLE_ALLOWED = 1 << 23

BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block at the end of a complete BGZF file."""
# First bytes of what people give by mistake -> what to call it.
_FOREIGN = {
    b"version https://git-lfs": "a git-lfs pointer, not the file itself; run `git lfs pull`",
    b"\x43\x27\x41\x1a": "UCSC 2bit; convert it with `twoBitToFa`",
    b"\x1a\x41\x27\x43": "UCSC 2bit (big-endian); convert it with `twoBitToFa`",
    b"LOCUS ": "GenBank; export its sequence as FASTA",
    b"ID   ": "EMBL or Swiss-Prot; export its sequence as FASTA",
    b">": "FASTA",
    b"##fileformat=VCF": "VCF",
    b"##gff-version": "GFF3",
    b"@": "FASTQ or SAM; convert it with `samtools fasta`",
    b"BAM\x01": "BAM; convert it with `samtools fasta`",
    b"BCF\x02": "BCF; convert it with `bcftools view`",
    b"CRAM": "CRAM; convert it with `samtools fasta`",
    b"BZh": "bzip2-compressed; decompress it with `bunzip2`",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"\xfd7zXZ": "xz-compressed; decompress it with `unxz`",
    b"\x28\xb5\x2f\xfd": "zstd-compressed; decompress it with `unzstd`",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"<": "a web page or XML; the download went wrong",
}


def compression_of(head: bytes) -> Compression:
    """Compression by magic: BGZF is gzip whose first member carries the extra field ``BC`` (SAM specification 4.1)."""
    if head[:2] != b"\x1f\x8b":
        return "plain"
    return "bgzip" if len(head) >= 14 and head[3] & 4 and head[12:14] == b"BC" else "gzip"


def compression(path: Path) -> Compression:
    """:func:`compression_of` a file on disk."""
    with path.open("rb") as stream:
        return compression_of(stream.read(18))


def lacks_bgzf_end(path: Path) -> bool:
    """Whether a BGZF file does not end with the empty block that marks a complete one."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - len(BGZF_END)))
        return stream.read() != BGZF_END


def most_unpacked(packed: int) -> int:
    """Bytes that ``packed`` compressed bytes may become before they are taken for a decompression bomb."""
    return _MOST_RATIO * packed + _ALWAYS_ALLOWED


def most_in_table(packed: int) -> int:
    """Bytes that ``packed`` compressed bytes of a table may become: less, as rows of text compress less."""
    return _MOST_RATIO * packed + _TABLE_ALLOWED


def foreign_format(head: bytes) -> str | None:
    """Name of a known format, with the way out; None if not known.

    Args:
        head: the first line of a file, or as much of it as there is.
    """
    for magic, name in _FOREIGN.items():
        if head.startswith(magic):
            return name
    return "binary data" if b"\0" in head else None


def whole_number(text: str) -> int:
    """A coordinate as tables write it: digits, perhaps a minus.

    Raises:
        ValueError: anything else that Python would take (blanks, underscores, other scripts), or more than 18 digits,
            which no 64-bit column holds.
    """
    if not _WHOLE_NUMBER.fullmatch(text):
        raise ValueError(text)
    return int(text)


class _Packed:
    """Compressed bytes, counted as they are read."""

    def __init__(self, raw: io.BufferedReader) -> None:
        self._raw = raw
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        data = self._raw.read(size)
        self.count += len(data)
        return data


class _Unpacking(io.RawIOBase):
    """Bytes of gzip data; with ``bounded``, no more than a table can have for its compressed size."""

    def __init__(self, raw: io.BufferedReader, *, name: str, bounded: bool) -> None:
        self._packed = _Packed(raw)
        self._gzip = gzip.GzipFile(fileobj=cast(BinaryIO, self._packed))
        self._name, self._bounded = name, bounded
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        size = self._gzip.readinto(buffer)
        self._count += size
        if self._bounded and self._count > most_in_table(self._packed.count):
            raise DataError(
                f"{self._name}: the first {self._packed.count:,} compressed bytes unpack to more than {_MOST_RATIO}"
                " times as many, which is implausible for a table; unpack it, e.g. with `gunzip`, if you trust it"
            )
        return size


@contextlib.contextmanager
def open_binary(path: Path | Literal["-"], *, table: bool = False) -> Iterator[io.BufferedReader]:
    """Decompressed bytes of a file, or of standard input for ``-``, whatever the suffix says.

    Args:
        path: plain, gzip or bgzip.
        table: rows of text (BED, GTF, GFF3, TSV, CSV), which never unpack to more than 100 times their size.

    Raises:
        DataError: a table that unpacks to more than that (while reading).
        DataError: the compressed data is damaged or truncated (while reading, inside the block), or compressed twice.
    """
    name = STDIN if path == "-" else str(path)
    if path == "-" and sys.stdin is None:
        raise DataError(f"{STDIN} is closed; use a file, or pipe data into it")
    with contextlib.ExitStack() as stack:
        raw = cast(io.BufferedReader, sys.stdin.buffer if path == "-" else stack.enter_context(Path(path).open("rb")))
        stream = raw
        try:
            if compression_of(raw.peek(18)[:18]) != "plain":
                # The buffer cuts lines in C: GzipFile does it a call at a time.
                unpacked = stack.enter_context(_Unpacking(raw, name=name, bounded=table))
                stream = io.BufferedReader(unpacked, _BUFFER)
                if compression_of(stream.peek(18)[:18]) != "plain":
                    raise DataError(f"{name}: compressed twice with gzip; unpack it once, e.g. with `gunzip`")
            yield stream
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise damaged_gzip(name, error) from error


@contextlib.contextmanager
def writing_stdout() -> Iterator[None]:
    """Name standard output in what the operating system refuses in this block, such as a write to a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = STDOUT
        raise


def damaged_gzip(name: object, error: BaseException) -> DataError:
    """The error for gzip data that cannot be undone."""
    return DataError(
        f"{name}: the compressed data is damaged or truncated ({error}); copy it again or download it again"
    )
