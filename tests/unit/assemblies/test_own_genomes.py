"""Genomes that the user brings: known by a name, watched, never copied."""

import logging
import re
from pathlib import Path

import pytest
from genome_manifests import phix
from odd_files import Odd

from genoconv.errors import DataError, UsageError
from genoconv.genome.assemblies import store
from genoconv.genome.assemblies.fetch import fetch, resolve_genome
from genoconv.pipelines.genomes import run

FASTA, GENES = phix()


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, Path]:
    fasta, genes = tmp_path / "mine.fa.gz", tmp_path / "mine.gff3.gz"
    fasta.write_bytes(FASTA)
    genes.write_bytes(GENES)
    return fasta, genes


def test_own_files_are_known_by_a_name_and_not_copied(own: tuple[Path, Path]) -> None:
    fasta, genes = own
    line = run.register("mine", fasta=fasta, annotation=genes, force=False)
    assert re.fullmatch(rf"mine: 1 sequence, 5,386 bases, \d+ genes, at {re.escape(str(fasta))}", line)
    genome = resolve_genome("mine")
    assert (genome.fasta, genome.annotation, genome.registered) == (fasta, genes, True)
    assert {path.name for path in store.folder_of("mine").iterdir()} - {".lock"} == {"receipt.json"}
    assert run.path_of("mine", annotation=True) == genes
    assert f"mine         added    5.39 kb  {fasta}" in map(str, run.overview())
    assert next(run.describe("mine")).startswith("added ")
    assert run.verify("mine").startswith("mine: 2 files")
    with pytest.raises(UsageError, match=r"a genome named mine already exists; .*--force"):
        run.register("mine", fasta=fasta, annotation=None, force=False)
    run.register("mine", fasta=fasta, annotation=None, force=True)
    assert resolve_genome("mine").annotation is None


def test_own_files_that_change_are_noticed(own: tuple[Path, Path]) -> None:
    run.register("mine", fasta=own[0], annotation=None, force=False)
    own[0].write_bytes(FASTA + b"\0")
    with pytest.raises(DataError, match="the files of mine have changed or are gone; see genoconv genomes verify mine"):
        fetch("mine")
    assert f"mine         changed  5.39 kb  {own[0]}" in map(str, run.overview())
    with pytest.raises(DataError, match=r"mine.fa.gz: expected .* bytes, got .*; put the files back, or add it again"):
        run.verify("mine")


BAD_GENES = {
    "none": b"",
    "of another genome": b"chr1\tx\tgene\t1\t9\t.\t+\t.\tID=a\n",
    "damaged row": b"NC_001422.1\tx\tgene\tone\t9\t.\t+\t.\tID=a\n",
    "cut gzip": GENES[: len(GENES) // 2],
}


@pytest.mark.parametrize("content", BAD_GENES.values(), ids=BAD_GENES)
def test_bad_genes_leave_no_half_entry(own: tuple[Path, Path], content: bytes) -> None:
    own[1].write_bytes(content)
    with pytest.raises(DataError, match=r"mine.gff3.gz"):
        run.register("mine", fasta=own[0], annotation=own[1], force=False)
    assert list(store.receipts()) == []
    assert not store.folder_of("mine").exists()
    run.register("mine", fasta=own[0], annotation=None, force=False)
    with pytest.raises(DataError):
        run.register("mine", fasta=own[0], annotation=own[1], force=True)
    assert resolve_genome("mine").annotation is None


def test_names_of_known_genomes_are_taken(own: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="hg38 is the name of a built-in genome; choose another"):
        run.register("hg38", fasta=own[0], annotation=None, force=True)
    with pytest.raises(UsageError, match=r"genome name '../x'"):
        run.register("../x", fasta=own[0], annotation=None, force=False)


@pytest.mark.parametrize(
    "name", ["fa_dup_ids.fasta", "fa_protein_crlf.fasta", "fa_bigendian.2bit", "vcf_zero_bytes.vcf"]
)
def test_files_that_are_no_genome_are_not_registered(odd: Odd, name: str) -> None:
    with pytest.raises(DataError, match=name):
        run.register("mine", fasta=odd / name, annotation=None, force=False)
    assert list(store.receipts()) == []


def test_a_damaged_receipt_is_named_and_hides_no_other(
    own: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    run.register("mine", fasta=own[0], annotation=None, force=False)
    broken = store.folder_of("broken")
    broken.mkdir()
    (broken / store.RECEIPT).write_text("{}")
    assert any(known.state == "added" for known in run.overview() if known.name == "mine")
    assert f"{broken / store.RECEIPT}: damaged" in caplog.text
    with pytest.raises(DataError, match=r"damaged.*delete it and fetch or add the genome again"):
        run.verify("broken")
