"""Checksums that no manifest pins are recorded at the first fetch and held from then on."""

import gzip
import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from genome_manifests import FASTA_PATH, GENES_PATH, nothing_final, phix, write_manifest
from loopback import Loopback

from genoconv.errors import DataError, DownloadError
from genoconv.genome.assemblies import store
from genoconv.genome.assemblies.fetch import fetch
from genoconv.genome.assemblies.ledger import RECORDED, record_checksum
from genoconv.paths import genomes_dir

FASTA, GENES = phix()


def test_an_unknown_checksum_is_recorded_and_held_ever_after(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server, pinned=False)
    fetch("phix")
    records = json.loads((genomes_dir() / RECORDED).read_text())
    assert records == {
        server.url(FASTA_PATH): hashlib.sha256(FASTA).hexdigest(),
        server.url(GENES_PATH): hashlib.sha256(GENES).hexdigest(),
    }
    shutil.rmtree(store.folder_of("phix"))
    header, sequence = gzip.decompress(FASTA).split(b"\n", 1)
    server.files[FASTA_PATH] = gzip.compress(header + b"\n" + sequence.lower())
    with pytest.raises(DownloadError, match=r"was recorded when it was first fetched.*--record"):
        fetch("phix")
    assert nothing_final()
    fetch("phix", record=True)
    records = json.loads((genomes_dir() / RECORDED).read_text())
    assert records[server.url(FASTA_PATH)] == hashlib.sha256(server.files[FASTA_PATH]).hexdigest()


def test_a_pinned_checksum_is_not_recorded(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server, genes=False)
    assert fetch("phix").annotation is None
    assert not (genomes_dir() / RECORDED).exists()


def test_a_renewed_annotation_is_reported(server: Loopback, manifests: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_manifest(manifests, server)
    fetch("phix")
    shutil.rmtree(store.folder_of("phix"))
    server.files[GENES_PATH] = gzip.compress(gzip.decompress(GENES) + b"# again\n")
    genome = fetch("phix")
    assert genome.annotation
    assert genome.annotation.read_bytes() == server.files[GENES_PATH]
    assert "has changed since it was first fetched from here" in caplog.text
    caplog.clear()
    shutil.rmtree(store.folder_of("phix"))
    fetch("phix")
    assert "has changed" not in caplog.text


def test_a_damaged_record_is_never_passed_over(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server, pinned=False)
    genomes_dir().mkdir(parents=True)
    (genomes_dir() / RECORDED).write_text("{")
    with pytest.raises(DataError, match=f"{RECORDED}: damaged"):
        fetch("phix")


def test_checksums_recorded_at_once_are_all_kept() -> None:
    urls = [f"https://a.org/{number}.gz" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda url: record_checksum(url, "0" * 64), urls))
    assert json.loads((genomes_dir() / RECORDED).read_text()) == dict.fromkeys(urls, "0" * 64)
