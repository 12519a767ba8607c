"""Manifests of small genomes for a server on loopback, real ones where the test data is there."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from loopback import Loopback
from odd_files import PHIX

from genoconv.genome.assemblies import store

FASTA_PATH = "/phix/GCF_000819615.1_genomic.fna.gz"
GENES_PATH = "/phix/GCF_000819615.1_genomic.gff.gz"
LENGTHS = {"NC_001422.1": 5386}


def phix() -> tuple[bytes, bytes]:
    """FASTA and GFF3 of phiX174 as they are served: BGZF, and gzip."""
    return PHIX.read_bytes(), PHIX.with_name("NC_001422.1.gff3.gz").read_bytes()


def serve_phix(server: Loopback) -> None:
    """Put phiX174 on a server."""
    server.files[FASTA_PATH], server.files[GENES_PATH] = phix()


def write_manifest(
    folder: Path,
    server: Loopback,
    *,
    pinned: bool = True,
    genes: bool = True,
    extra: str = "",
    fasta: Mapping[str, str] | None = None,
) -> Path:
    """A manifest for :func:`serve_phix`; ``extra`` is put at its top, ``fasta`` adds keys to that table as written."""
    keys = dict(fasta or {})
    if pinned:
        content = server.files[FASTA_PATH]
        keys |= {"bytes": str(len(content)), "md5": f'"{hashlib.md5(content).hexdigest()}"'}
    lines = [
        'title = "phiX174 on loopback"\nlicence = "none"\nsource = "this machine"',
        extra,
        f'[fasta]\nurls = ["{server.url(FASTA_PATH)}"]',
        *(f"{key} = {value}" for key, value in keys.items()),
        f'[annotation]\nurls = ["{server.url(GENES_PATH)}"]' if genes else "",
        '[contigs]\n"NC_001422.1" = 5386',
        '[aliases]\nphiX174 = "NC_001422.1"',
    ]
    path = folder / "phix.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def names_in(folder: Path) -> set[str]:
    """Names of what is in the folder of a genome, but for its lock."""
    return {path.name for path in folder.iterdir()} - {".lock"}


def nothing_final() -> bool:
    """Whether no file of the genome has its final name."""
    return names_in(store.folder_of("phix")) <= {".work"}
