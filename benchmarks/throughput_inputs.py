"""Inputs of ``throughput.py``: a random genome of a wanted size, and a real megabase with its variants many times."""

import gzip
from pathlib import Path

import numpy as np

_LINE = 60


def random_genome(path: Path, megabases: float, *, contigs: int = 4) -> Path:
    """A FASTA of random A, C, G, T in equal contigs, lines of 60."""
    random = np.random.default_rng(0)
    lines = max(1, round(megabases * 1e6 / contigs / _LINE))
    with path.open("wb") as stream:
        for number in range(contigs):
            letters = np.frombuffer(b"ACGT", np.uint8)[random.integers(0, 4, (lines, _LINE), np.uint8)]
            stream.write(f">c{number}\n".encode())
            stream.write(np.concatenate([letters, np.full((lines, 1), ord("\n"), np.uint8)], axis=1).tobytes())
    return path


def repeated(fasta: Path, vcf: Path, folder: Path, *, times: int) -> tuple[Path, Path]:
    """A FASTA and a VCF in ``folder`` with the only contig of others, and its records, so many times one after another.

    The copies of a contig are contigs: c0, c1 and so on.
    """
    with gzip.open(fasta, "rt") as lines:
        sequence = "".join(line for line in lines if not line.startswith(">"))
    with gzip.open(vcf, "rt") as lines:
        every = list(lines)
    header = [line for line in every if line.startswith("#")]
    rows = [line for line in every if not line.startswith("#")]
    contigs = [f"c{number}" for number in range(times)]
    genome, variants = folder / f"{times}.fa", folder / f"{times}.vcf"
    genome.write_text("".join(f">{contig}\n{sequence}" for contig in contigs))
    with variants.open("w") as out:
        out.writelines(line for line in header[:-1] if not line.startswith("##contig"))
        out.write(header[-1])
        for contig in contigs:
            out.writelines(contig + row[row.index("\t") :] for row in rows)
    return genome, variants
