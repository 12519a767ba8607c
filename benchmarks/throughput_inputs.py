"""Inputs of ``throughput.py``: a random genome of a wanted size, and SNVs of a real megabase."""

import shutil
from pathlib import Path

import numpy as np

from genoconv.genome.fasta.access import Fasta
from genoconv.tokens import decode

_LINE = 60
_OTHER = dict(zip("ACGT", "CGTA", strict=True))


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


def every_fourth(source: Path, folder: Path, *, margin: int) -> tuple[Path, Path, int]:
    """A FASTA of one contig in ``folder``, a VCF of an SNV at every fourth of its bases, and how many there are."""
    fasta, vcf = folder / "z.fa.gz", folder / "every.vcf"
    shutil.copy(source, fasta)
    genome = Fasta(fasta)
    [(contig, length)] = genome.contigs.items()
    bases = decode(genome.tokens(contig, 0, length))
    head = (
        f"##fileformat=VCFv4.2\n##contig=<ID={contig},length={length}>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    )
    sites = [n for n in range(margin, length - margin, 4) if bases[n] in _OTHER]
    rows = [f"{contig}\t{n + 1}\t.\t{bases[n]}\t{_OTHER[bases[n]]}\t.\t.\t.\n" for n in sites]
    vcf.write_text(head + "".join(rows))
    return fasta, vcf, len(rows)
