"""A genome by its name: fetched once, held against its manifest, never half there."""

import gzip
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from genome_manifests import FASTA_PATH, GENES_PATH, phix, serve_phix, write_manifest
from loopback import Loopback, Reply

from genoconv import atomic
from genoconv.errors import DataError, DownloadError, OutputError, UsageError
from genoconv.genome.annotation.genes import read_genes
from genoconv.genome.assemblies import fetch as fetching
from genoconv.genome.assemblies import store
from genoconv.genome.assemblies.fetch import fetch, resolve_genome
from genoconv.genome.assemblies.ledger import RECORDED, record_checksum
from genoconv.genome.fasta.access import Fasta
from genoconv.paths import genomes_dir, home_dir
from genoconv.pipelines.genomes import run

FASTA, GENES = phix()
LENGTHS = {"NC_001422.1": 5386}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENOCONV_RETRY_WAIT", "0")
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "manifests"
    folder.mkdir()
    monkeypatch.setenv("GENOCONV_MANIFESTS", str(folder))
    return folder


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback({}) as running:
        serve_phix(running)
        yield running


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def read_genes_of(content: bytes) -> pd.DataFrame:
    """Genes of a GFF3 on phiX174."""
    path = genomes_dir().with_name("genes.gff3.gz")
    path.write_bytes(content)
    return read_genes(path, contigs=LENGTHS)


def nothing_final(name: str = "phix") -> bool:
    """Whether no file of a genome has its final name."""
    return names(store.folder_of(name)) <= {".work"}


def test_a_genome_is_fetched_unpacked_indexed_and_recorded(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server)
    genome = fetch("phix")
    folder = store.folder_of("phix")
    assert names(folder) == {"phix.fa", "phix.fa.fai", "phix.fa.sizes", "phix.annotation.gff3.gz", "receipt.json"}
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
    "cutting": (lambda half: Reply(headers={"Content-Length": str(half)}), "the server offers", "cut short"),
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


@pytest.mark.parametrize("flip", [5, 1000], ids=["header", "middle"])
def test_unpinned_damage_is_found_by_unpacking(server: Loopback, manifests: Path, flip: int) -> None:
    write_manifest(manifests, server, pinned=False)
    server.plan[FASTA_PATH] = [Reply(flip=flip)]
    server.plan[GENES_PATH] = [Reply(flip=300)]
    genome = fetch("phix")
    assert genome.fasta.read_bytes() == gzip.decompress(FASTA)
    assert server.asked(FASTA_PATH)[-1] is None


WRONG = {
    "missing contig": (">other\nACGT\n", r"NC_001422.1, of 5,386 bases, is missing"),
    "other length": (">NC_001422.1\nACGT\n", r"NC_001422.1, of 5,386 bases, has 4"),
    "protein": (">p\nMKLVINPEQFWYHKLE\nDEILPQ\n", "is not DNA"),
    "web page": ("<html>\n", "a web page"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_what_is_not_the_genome_is_refused(server: Loopback, manifests: Path, text: str, message: str) -> None:
    server.files[FASTA_PATH] = gzip.compress(text.encode())
    write_manifest(manifests, server, pinned=False)
    with pytest.raises(DownloadError, match=message):
        fetch("phix")
    assert nothing_final()
    assert server.asked(FASTA_PATH) == [None, None]


@pytest.mark.parametrize(
    ("extra", "tail", "message"),
    [
        ("sequences = 2", "", "sequences should be 2, not 1"),
        ("total = 6000", "", "bases should be 6,000, not 5,386"),
        ("", f'[md5]\n"NC_001422.1" = "{"0" * 32}"\n', "expected md5 0{32} of the sequence of NC_001422.1, got "),
    ],
    ids=["sequences", "total", "md5"],
)
def test_counts_and_digests_of_sequences_are_held(
    server: Loopback, manifests: Path, extra: str, tail: str, message: str
) -> None:
    path = write_manifest(manifests, server, extra=extra, pinned=False)
    path.write_text(path.read_text() + tail)
    with pytest.raises(DownloadError, match=f"not the genome phix: {message}"):
        fetch("phix")
    assert nothing_final()


def test_a_manifest_that_contradicts_its_pin_is_reported_at_once(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server, extra="total = 6000")
    with pytest.raises(
        DataError, match=r"bases should be 6,000, not 5,386; its checksum matches, so the manifest is wr"
    ):
        fetch("phix")
    assert nothing_final()
    assert server.asked(FASTA_PATH) == [None]


def test_the_unpacked_checksum_is_held(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server, pinned=False, fasta={"unpacked_sha256": f'"{"0" * 64}"'})
    with pytest.raises(DownloadError, match="unpacked, expected sha256"):
        fetch("phix")
    right = hashlib.sha256(gzip.decompress(FASTA)).hexdigest()
    write_manifest(manifests, server, pinned=False, genes=False, fasta={"unpacked_sha256": f'"{right}"'})
    fetch("phix")
    assert not (genomes_dir() / RECORDED).exists(), "compressing the same content anew is no change"


def test_genes_of_another_genome_are_refused(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server)
    server.files[GENES_PATH] = gzip.compress(b"chr1\tx\tgene\t1\t9\t.\t+\t.\tID=a\n")
    with pytest.raises(DownloadError, match="no contig in common"):
        fetch("phix")
    assert nothing_final()


def test_genes_are_found_by_the_manifests_aliases(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server)
    count = len(read_genes_of(GENES))
    server.files[GENES_PATH] = gzip.compress(gzip.decompress(GENES).replace(b"NC_001422.1", b"phiX174"))
    assert fetch("phix").genes == count


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


def test_the_providers_list_is_held_where_nothing_is_pinned(server: Loopback, manifests: Path) -> None:
    name = FASTA_PATH.rpartition("/")[2]
    write_manifest(manifests, server, pinned=False, fasta={"md5_list": f'"{server.url("/phix/md5checksums.txt")}"'})
    server.files["/phix/md5checksums.txt"] = f"{'0' * 32}  ./{name}\n".encode()
    with pytest.raises(DownloadError, match=f"damaged: expected md5 {'0' * 32}, got "):
        fetch("phix")
    server.files["/phix/md5checksums.txt"] = f"{hashlib.md5(FASTA).hexdigest()}  ./{name}\n".encode()
    fetch("phix")


def test_a_decompression_bomb_is_stopped(server: Loopback, manifests: Path) -> None:
    server.files[FASTA_PATH] = gzip.compress(b">NC_001422.1\n" + b"A" * (1 << 27), compresslevel=1)
    write_manifest(manifests, server, pinned=False, extra="total = 5386")
    limit = 2 * 5386 + (1 << 26)
    with pytest.raises(DownloadError, match=f"unpacks to more than {limit:,} bytes"):
        fetch("phix")
    assert nothing_final()
    assert (store.folder_of("phix") / ".work/phix.fa").stat().st_size <= limit


def test_offline_uses_what_is_here_and_says_what_is_not(server: Loopback, manifests: Path, tmp_path: Path) -> None:
    write_manifest(manifests, server)
    with pytest.raises(DownloadError, match="phix is not on this machine and --offline forbids"):
        fetch("phix", offline=True)
    with pytest.raises(DownloadError, match="--offline forbids"):
        fetch("phix", offline=True, mirror=server.url("/phix"))
    mirror = tmp_path / "downloads"
    mirror.mkdir()
    with pytest.raises(DownloadError, match="there is no such file"):
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
    with pytest.raises(OutputError, match="cannot make this folder: Not a directory; set GENOCONV_HOME"):
        fetch("demo")


def test_the_demo_is_made_and_verified() -> None:
    genome = fetch("demo", offline=True)
    assert names(store.folder_of("demo")) == {
        "demo.fa",
        "demo.fa.fai",
        "demo.fa.sizes",
        "demo.annotation.gff3",
        "receipt.json",
    }
    assert genome.describe() == "4 sequences, 1,539,801 bases, 256 genes"
    assert run.verify("demo").startswith("demo: 2 files as they were on ")


def test_verify_names_everything_that_is_wrong(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server)
    genome = fetch("phix")
    assert genome.annotation
    content = bytearray(genome.fasta.read_bytes())
    content[100] ^= 1
    genome.fasta.write_bytes(content)
    genome.annotation.unlink()
    with pytest.raises(
        DataError, match=r"phix.fa is damaged: expected sha256 .* is missing; run: genoconv genomes remove phix; gen"
    ):
        run.verify("phix")
    with pytest.raises(DataError, match="phix is incomplete or has changed; see: genoconv genomes verify phix"):
        run.path_of("phix", annotation=False)


def test_paths_of_what_is_not_here_say_how_to_get_it(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server, genes=False)
    with pytest.raises(DataError, match="phix is not here; fetch it with: genoconv genomes fetch phix"):
        run.path_of("phix", annotation=False)
    with pytest.raises(UsageError, match="no genome 'phixx': did you mean phix"):
        run.verify("phixx")
    with pytest.raises(UsageError, match=r"no genome 'hg37'.*did you mean hg38"):
        fetch("hg37")
    fetch("phix")
    assert run.path_of("phix", annotation=False) == store.folder_of("phix") / "phix.fa"
    with pytest.raises(UsageError, match="phix has no annotation"):
        run.path_of("phix", annotation=True)


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


def test_checksums_recorded_at_once_are_all_kept() -> None:
    urls = [f"https://a.org/{number}.gz" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda url: record_checksum(url, "0" * 64), urls))
    assert json.loads((genomes_dir() / RECORDED).read_text()) == dict.fromkeys(urls, "0" * 64)
