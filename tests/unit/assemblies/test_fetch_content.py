"""What was fetched is held against its manifest: sequences, counts, checksums, genes."""

import gzip
import hashlib
from pathlib import Path

import pandas as pd
import pytest
from genome_manifests import FASTA_PATH, GENES_PATH, LENGTHS, nothing_final, phix, write_manifest
from loopback import Loopback, Reply

from genoconv.errors import DataError, DownloadError
from genoconv.genome.annotation.genes import read_genes
from genoconv.genome.assemblies import store
from genoconv.genome.assemblies.fetch import fetch
from genoconv.genome.assemblies.ledger import RECORDED
from genoconv.paths import genomes_dir

FASTA, GENES = phix()


def read_genes_of(content: bytes) -> pd.DataFrame:
    """Genes of a GFF3 on phiX174."""
    path = genomes_dir().with_name("genes.gff3.gz")
    path.write_bytes(content)
    return read_genes(path, contigs=LENGTHS)


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
