"""FASTA files made for tests: random bases whose truth is known because the test wrote them."""

import random
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
