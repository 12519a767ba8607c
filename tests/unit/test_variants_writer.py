"""Compressed output waits for its thread in bounded memory, and comes in order."""

import gzip
import time
from pathlib import Path

import pysam
import pytest

from genoconv.variants.writer import open_writer


@pytest.mark.parametrize(("size", "pieces", "most"), [(1 << 23, 12, 2), (1 << 18, 60, 34)], ids=["large", "small"])
def test_what_waits_to_be_compressed_is_bounded(
    size: int, pieces: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = written = behind = 0
    plain = pysam.BGZFile

    class Slow:
        def __init__(self, path: str, mode: str) -> None:
            self._stream = plain(path, mode)

        def write(self, data: bytes) -> None:
            nonlocal written
            time.sleep(0.3 / pieces)
            self._stream.write(data[:8])
            written += 1

        def close(self) -> None:
            self._stream.close()

    monkeypatch.setattr(pysam, "BGZFile", Slow)
    path = tmp_path / "x.vcf.gz"
    with open_writer(path, kind="z", header=[]) as write:
        for number in range(pieces):
            write(f"{number:7}\n".encode().ljust(size, b"."))
            put += 1
            behind = max(behind, put - written)
    assert 0 < behind <= most
    assert list(map(int, gzip.decompress(path.read_bytes()).split())) == list(range(pieces))
