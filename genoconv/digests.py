"""Digests of files, in one place."""

import hashlib
from collections.abc import Callable
from pathlib import Path

_CHUNK = 1 << 20


def file_digest(path: Path, *, algorithm: str = "sha256", advance: Callable[[float], object] | None = None) -> str:
    """Digest of a file, hexadecimal.

    Args:
        path: the file; it is read a megabyte at a time.
        algorithm: as :func:`hashlib.new` calls it; MD5 is for what others have published, not for safety.
        advance: called with the number of bytes just read.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.new(algorithm, usedforsecurity=algorithm != "md5")
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
            if advance:
                advance(len(block))
    return digest.hexdigest()
