"""Where a genome comes from: mirrors, folders, and nowhere when offline."""

import gzip
from pathlib import Path

import pytest
from genome_manifests import FASTA_PATH, GENES_PATH, LENGTHS, phix, write_manifest
from loopback import Loopback

from genoconv.errors import DownloadError
from genoconv.genome.assemblies.fetch import fetch

FASTA, _ = phix()


def test_offline_uses_what_is_here_and_says_what_is_not(server: Loopback, manifests: Path, tmp_path: Path) -> None:
    write_manifest(manifests, server)
    with pytest.raises(DownloadError, match="phix is not stored on this machine, and --offline forbids"):
        fetch("phix", offline=True)
    with pytest.raises(DownloadError, match="--offline forbids"):
        fetch("phix", offline=True, mirror=server.url("/phix"))
    mirror = tmp_path / "downloads"
    mirror.mkdir()
    with pytest.raises(DownloadError, match="does not exist"):
        fetch("phix", offline=True, mirror=str(mirror))
    for path in (FASTA_PATH, GENES_PATH):
        (mirror / path.rpartition("/")[2]).write_bytes(server.files[path])
    genome = fetch("phix", offline=True, mirror=str(mirror))
    assert genome.files[0].url == (mirror / FASTA_PATH.rpartition("/")[2]).as_uri()
    assert server.requests == []


def test_a_mirror_is_asked_first_and_not_alone(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server)
    server.files["/mirror/GCF_000819615.1_genomic.fna.gz"] = FASTA
    genome = fetch("phix", mirror=server.url("/mirror/"))
    assert [path for path, _ in server.requests] == [
        "/mirror/GCF_000819615.1_genomic.fna.gz",
        "/mirror/GCF_000819615.1_genomic.gff.gz",
        GENES_PATH,
    ]
    assert [file.url for file in genome.files][1] == server.url(GENES_PATH)


def test_a_wrong_file_on_a_mirror_is_passed_over(server: Loopback, manifests: Path, tmp_path: Path) -> None:
    write_manifest(manifests, server)
    (tmp_path / FASTA_PATH.rpartition("/")[2]).write_bytes(gzip.compress(b">x\nACGT\n"))
    genome = fetch("phix", mirror=str(tmp_path))
    assert genome.contigs == LENGTHS
