"""A genome with a motif whose bases are labelled, small enough to learn in seconds."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from fasta_files import write_fasta

MOTIF = "TTGACATTGACA"
COMPLEMENT = str.maketrans("ACGT", "TGCA")


class Genome(NamedTuple):
    """Files, and what is in them; places are 0-based half-open, with their strand."""

    fasta: Path
    windows: Path
    bigwig: Path
    plain: Path
    stranded: Path
    sequences: dict[str, str]
    places: dict[str, list[tuple[int, int, str]]]


def small_genome(folder: Path, *, contigs: int = 4, length: int) -> Genome:
    """The motif about every 60 bases, on either strand by turns; a value of 3 on its bases and 1 elsewhere."""
    import pybigtools

    random = np.random.default_rng(3)
    sequences, places = {}, {}
    for number in range(contigs):
        letters = list(random.choice(list("ACGT"), length))
        found = []
        for nth, start in enumerate(range(20, length - 40, 60)):
            start += int(random.integers(20))
            strand = "+-"[nth % 2]
            letters[start : start + 12] = MOTIF if strand == "+" else MOTIF.translate(COMPLEMENT)[::-1]
            found.append((start, start + 12, strand))
        sequences[f"c{number}"], places[f"c{number}"] = "".join(letters), found
    fasta = write_fasta(folder / "g.fa", sequences)
    windows, plain, stranded, bigwig = (folder / name for name in ("w.bed", "plain.bed", "stranded.bed", "t.bw"))
    rows = [(name, start) for name in sequences for start in range(0, length, 100)]
    windows.write_text("".join(f"{name}\t{start}\t{start + 100}\n" for name, start in rows))
    every = [(name, *place) for name, some in places.items() for place in some]
    plain.write_text("".join(f"{name}\t{start}\t{end}\n" for name, start, end, _ in every))
    stranded.write_text("".join(f"{name}\t{start}\t{end}\tm{start}\t0\t{s}\n" for name, start, end, s in every))
    values = []
    for name, sequence in sequences.items():
        track = np.ones(len(sequence))
        for start, end, _ in places[name]:
            track[start:end] = 3
        values += [(name, at, at + 1, float(value)) for at, value in enumerate(track) if not 700 <= at < 720]
    pybigtools.open(str(bigwig), "w").write({name: len(s) for name, s in sequences.items()}, iter(values))
    return Genome(fasta, windows, bigwig, plain, stranded, sequences, places)
