"""What the tests of ``genoconv score-variants`` share: a tiny model, genomes made to fit a VCF, reading back."""

import gzip
import re
from pathlib import Path

import numpy as np
import pysam.bcftools
import torch

from genoconv.models import HyenaDNA, ModelConfig, save_model


def tiny_model(folder: Path, *, max_length: int = 2050) -> Path:
    """A model folder with random weights, scaled so that scores are not all nearly zero."""
    torch.manual_seed(4)
    model = HyenaDNA(ModelConfig(d_model=8, n_layer=1, max_length=max_length, filter_order=8))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    save_model(model, folder, provenance={"source": "random weights for tests"})
    return folder


def bcftools(name: str, *arguments: object) -> str:
    """Standard output of one of the bundled bcftools commands."""
    return getattr(pysam.bcftools, name)(*map(str, arguments))


def text(path: Path) -> str:
    """All of a VCF, plain or compressed, as text."""
    raw = path.read_bytes()
    return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()


def lines(source: Path | bytes) -> list[str]:
    """The records of a VCF, without line ends."""
    whole = source.decode() if isinstance(source, bytes) else text(source)
    return [line.rstrip("\r") for line in whole.split("\n") if line.strip() and not line.startswith("#")]


def without_ours(line: str) -> str:
    """A record's line as it was before INFO was added to."""
    columns = line.split("\t")
    kept = [item for item in columns[7].split(";") if not item.startswith("GCONV_")]
    columns[7] = ";".join(kept) or "."
    return "\t".join(columns)


def info(line: str) -> dict[str, str]:
    """INFO of a record's line."""
    return dict(item.partition("=")[::2] for item in line.split("\t")[7].split(";"))


def statuses(found: list[str]) -> list[list[str]]:
    """``GCONV_STATUS`` of each record."""
    return [info(line)["GCONV_STATUS"].split(",") for line in found]


def genome_for(vcf_lines: list[str], path: Path) -> Path:
    """A FASTA of random bases in which every plain REF of these records is where it should be."""
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGT", np.uint8)
    by_contig: dict[str, list[tuple[int, str]]] = {}
    for line in vcf_lines:
        contig, pos, _, ref = line.split("\t")[:4]
        by_contig.setdefault(contig, []).append((int(pos) - 1, ref))
    with path.open("wb") as out:
        for contig, sites in by_contig.items():
            length = max(start + len(ref) for start, ref in sites) + 300
            sequence = letters[rng.integers(0, 4, length)]
            # Where records contradict each other the first is right.
            for start, ref in reversed(sites):
                if re.fullmatch("[ACGTacgt]+", ref):
                    sequence[start : start + len(ref)] = np.frombuffer(ref.upper().encode(), np.uint8)
            out.write(b">" + contig.encode() + b"\n" + sequence.tobytes() + b"\n")
    return path
