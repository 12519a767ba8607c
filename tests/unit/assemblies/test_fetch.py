"""A genome by its name: fetched once, never half there."""

import gzip
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from genome_manifests import FASTA_PATH, GENES_PATH, LENGTHS, names_in, nothing_final, phix, write_manifest
from loopback import Loopback, Reply

from genoconv import atomic
from genoconv.errors import DownloadError, OutputError
from genoconv.genome.annotation.genes import read_genes
from genoconv.genome.assemblies import fetch as fetching
from genoconv.genome.assemblies import store
from genoconv.genome.assemblies.fetch import fetch, resolve_genome
from genoconv.genome.fasta.access import Fasta
from genoconv.paths import home_dir
from genoconv.pipelines.genomes import run

FASTA, GENES = phix()


def test_a_genome_is_fetched_unpacked_indexed_and_recorded(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server)
    genome = fetch("phix")
    folder = store.folder_of("phix")
    assert names_in(folder) == {"phix.fa", "phix.fa.fai", "phix.fa.sizes", "phix.annotation.gff3.gz", "receipt.json"}
    assert genome.fasta.read_bytes() == gzip.decompress(FASTA)
    assert genome.annotation
    assert genome.annotation.read_bytes() == GENES
    assert (folder / "phix.fa.sizes").read_text() == "NC_001422.1\t5386\n"
    assert genome.contigs == LENGTHS
    assert genome.md5 == Fasta(genome.fasta).digests()
    assert genome.genes == len(read_genes(genome.annotation, contigs=LENGTHS))
    assert genome.aliases == {"phiX174": "NC_001422.1"}
    receipt = json.loads((folder / "receipt.json").read_text())
    sequence, annotation = receipt["files"]
    assert sequence["url"] == server.url(FASTA_PATH)
    assert sequence["download_sha256"] == hashlib.sha256(FASTA).hexdigest()
    assert sequence["sha256"] == hashlib.sha256(gzip.decompress(FASTA)).hexdigest()
    assert annotation["sha256"] == hashlib.sha256(GENES).hexdigest()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", receipt["date"])
    assert store.damage(genome) == []


@pytest.mark.parametrize("name", [".work", ".work/phix.fa", ".lock"])
def test_links_planted_in_a_shared_cache_are_refused(
    server: Loopback, manifests: Path, tmp_path: Path, name: str
) -> None:
    write_manifest(manifests, server)
    precious = tmp_path / "precious"
    if name == ".work":
        precious.mkdir()
    else:
        precious.write_text("mine")
    link = store.folder_of("phix") / name
    link.parent.mkdir(parents=True)
    link.symlink_to(precious)
    with pytest.raises(OutputError, match="symbolic link"):
        fetch("phix")
    assert (list(precious.iterdir()) if precious.is_dir() else precious.read_text()) in ([], "mine")
    link.unlink()
    assert fetch("phix").fasta.is_file()


def test_what_is_here_is_not_fetched_again(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server)
    first = fetch("phix")
    count = len(server.requests)
    assert fetch("phix") == resolve_genome("phix") == fetch("phix", offline=True) == first
    assert len(server.requests) == count


def test_a_cache_may_be_moved(
    server: Loopback, manifests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(manifests, server)
    first = fetch("phix")
    moved = tmp_path / "moved"
    home_dir().rename(moved)
    monkeypatch.setenv("GENOCONV_HOME", str(moved))
    genome = fetch("phix", offline=True)
    assert genome.fasta == moved / "genomes/phix/phix.fa"
    assert not first.fasta.exists()
    assert store.damage(genome) == []


def test_a_damaged_genome_is_fetched_anew(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server)
    genome = fetch("phix")
    genome.fasta.write_bytes(genome.fasta.read_bytes()[:-1])
    assert store.stored("phix") is None
    assert fetch("phix").fasta.read_bytes() == gzip.decompress(FASTA)


FAILING = {
    "dropping": (lambda half: Reply(cut=half, ranges=False), "gave up", "gave up"),
    "flipping": (lambda half: Reply(flip=half), "damaged: expected md5", "damaged"),
    "cutting": (lambda half: Reply(headers={"Content-Length": str(half)}), "the server offers", "damaged or truncated"),
    "lacking": (lambda half: Reply(status=404), "answered 404", "answered 404"),
    "busy": (lambda half: Reply(status=503, headers={"Retry-After": "0"}), "answered 503", "answered 503"),
}


@pytest.mark.parametrize("how", FAILING)
@pytest.mark.parametrize("path", [FASTA_PATH, GENES_PATH], ids=["fasta, pinned", "genes, not pinned"])
def test_a_failing_server_leaves_nothing_final(server: Loopback, manifests: Path, how: str, path: str) -> None:
    write_manifest(manifests, server)
    reply, pinned, unpinned = FAILING[how]
    server.always[path] = reply(len(server.files[path]) // 2)
    with pytest.raises(DownloadError, match=pinned if path == FASTA_PATH else unpinned):
        fetch("phix")
    assert nothing_final()
    server.always.clear()
    assert store.damage(fetch("phix")) == []


def test_an_interrupted_fetch_asks_for_no_file_twice(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server)
    server.always[GENES_PATH] = Reply(status=404)
    with pytest.raises(DownloadError, match="404"):
        fetch("phix")
    server.always.clear()
    fetch("phix")
    assert server.asked(FASTA_PATH) == [None]


def test_too_small_a_disk_is_said_before_anything_comes(
    server: Loopback, manifests: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(manifests, server, extra="total = 5386")
    # A stand-in for the file system's answer: its free bytes are a fact of the machine.
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 5_000))
    with pytest.raises(OutputError, match=r"0\.00 GB free, about .* are needed to fetch and unpack phix; make room"):
        fetch("phix")
    assert server.requests == []


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENOCONV_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(OutputError, match="cannot create this folder: Not a directory; set GENOCONV_HOME"):
        fetch("demo")


def test_the_demo_is_made_and_verified() -> None:
    genome = fetch("demo", offline=True)
    assert names_in(store.folder_of("demo")) == {
        "demo.fa",
        "demo.fa.fai",
        "demo.fa.sizes",
        "demo.annotation.gff3",
        "receipt.json",
    }
    assert genome.describe() == "4 sequences, 1,539,801 bases, 256 genes"
    assert run.verify("demo").startswith("demo: 2 files unchanged since ")


@pytest.mark.parametrize("step", range(3))
def test_a_fault_while_files_get_their_names_leaves_no_genome(
    server: Loopback, manifests: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(manifests, server)
    genome = fetch("phix")
    genome.fasta.write_bytes(b">of another\nACGT\n")
    server.requests.clear()
    commits = []

    def commit(source: Path, target: Path) -> None:
        if target.parent == store.folder_of("phix"):
            commits.append(target)
            if len(commits) > step:
                raise OSError(5, "Input/output error", str(target))
        os.replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "commit", commit)
        with pytest.raises(OutputError, match="Input/output error"):
            fetch("phix")
    assert store.receipt("phix") is None
    assert store.damage(fetch("phix")) == []
    assert server.asked(FASTA_PATH) == [None]
