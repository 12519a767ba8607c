"""Thousands of damaged inputs, the same every time: every reader reads them or raises one of our errors.

Both readers of FASTA must agree on each, and no index, however it was changed, may give a wrong base.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pysam.bcftools
import pytest
from fasta_files import bgzf, random_bases
from mutants import attempt, mutants

from genoconv.genome.annotation.genes import read_genes
from genoconv.genome.assemblies.manifest import read_manifest
from genoconv.genome.fasta.access import Fasta, read_records
from genoconv.genome.windows.intervals import read_bed
from genoconv.pipelines.resolve import Call
from genoconv.pipelines.train.config import configure
from genoconv.pipelines.train.options import TrainConfig
from genoconv.variants.header import repaired
from genoconv.variants.reader import open_variants
from genoconv.variants.selection import VcfContigs
from genoconv.variants.survey import survey
from support import ROOT

FASTA = "".join(
    f">{name} described\n" + "".join(f"{sequence[i : i + 20]}\n" for i in range(0, len(sequence), 20))
    for name, sequence in (
        (f"c{number}", random_bases(length, seed=number)) for number, length in enumerate((95, 7, 60))
    )
).encode()
BED = b"track name=x\nchr1\t0\t5\tone\t0\t+\ttrain\nchr1 7 9\n#c\nchr2\t10\t20\tname\t1\t-\n"
GTF = b"""#!genome
chr1\tx\tgene\t11\t50\t.\t+\t.\tgene_id "A;1"; gene_name "B"; gene_type "lncRNA";
chr1\tx\texon\t11\t20\t.\t+\t.\tgene_id "A;1"; transcript_id "T1"; exon_number 1;
ERCC\tx\texon\t1\t20\t.\t+\t.\tgene_id "E"; transcript_id "E";
"""
GFF = b"""##gff-version 3
##sequence-region c1 1 100
c1\tx\tregion\t1\t100\t.\t+\t.\tID=c1;Is_circular=true
c1\tx\tgene\t91\t100\t.\t-\t.\tID=gene-a;Name=a%3Bb;gene_biotype=protein_coding
c1\tx\tgene\t1\t11\t.\t-\t.\tID=gene-a;locus_tag=b1
c1\tx\tCDS\t30\t59\t.\t+\t0\tID=cds-2
##FASTA
>c1
ACGT
"""
VCF = b"""##fileformat=VCFv4.2
##contig=<ID=c1,length=1000>
##INFO=<ID=DP,Number=1,Type=Integer,Description="d, e">
##INFO=<ID=AF,Number=A,Type=Float,Description="f">
##FILTER=<ID=q10,Description="low">
##FORMAT=<ID=GT,Number=1,Type=String,Description="g">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1
c1\t10\trs1\tA\tG,T\t50.5\tPASS\tDP=3;AF=0.5,0.1\tGT\t0/1
c1\t20\t.\tAC\tA\t.\tq10\tDP=4\tGT\t1|1
c1\t30\t.\tA\t<DEL>\t.\t.\t.\tGT\t./.
"""


def streamed(path: Path) -> dict[str, bytes]:
    return {record.name: record.sequence for record in read_records(path)}


def indexed(path: Path) -> dict[str, bytes]:
    fasta = Fasta(path)
    whole = {name: fasta.sequence(name, 0, length).encode("latin-1") for name, length in fasta.contigs.items()}
    for name, length in fasta.contigs.items():
        for start in range(0, length, 13):
            assert (
                fasta.sequence(name, start, min(start + 30, length)).encode("latin-1")
                == whole[name][start : start + 30]
            )
    return whole


@pytest.mark.parametrize("pack", [bytes, lambda content: bgzf(content, block=64)], ids=["plain", "bgzip"])
def test_both_readers_of_fasta_agree(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    verdicts: set[bool] = set()
    for number, content in enumerate(mutants(FASTA, seed=1, number=150)):
        path = tmp_path / f"{number}.fa"
        path.write_bytes(pack(content))
        one, two = attempt(streamed, path), attempt(indexed, path)
        assert one == two, content
        verdicts.add(isinstance(one, str))
    assert verdicts == {True, False}


def test_damaged_blocks_of_bgzip(tmp_path: Path) -> None:
    for number, content in enumerate(mutants(bgzf(FASTA, block=64), seed=2, number=100)):
        path = tmp_path / f"{number}.fa.gz"
        path.write_bytes(content)
        one, two = attempt(streamed, path), attempt(indexed, path)
        assert isinstance(one, str) == isinstance(two, str), content
        assert isinstance(one, str) or one == two


LIES = [
    b"c0\t95\t14\t20\t21\nc1\t7\t129\t7\t8\nc2\t151\t151\t20\t21\n",
    b"c0\t95\t14\t19\t20\nc1\t7\t129\t7\t8\nc2\t60\t151\t20\t21\n",
    b"c0\t95\t14\t0\t1\nc1\t7\t129\t7\t8\nc2\t60\t151\t20\t21\n",
    b"c0\t95\t14\t20\t21\nc1\t7\t129\t7\t8\nc2\t60\t151\t20\t21\nc3\t9\t300\t9\t10\n",
    b"c0\t95\t-14\t20\t21\n",
    b"c0\t" + b"9" * 25 + b"\t14\t20\t21\n",
    b"c\xff\t95\t14\t20\t21\n",
]


@pytest.mark.parametrize("what", ["fai", "fai of bgzip", "gzi"])
def test_no_index_gives_a_wrong_base(tmp_path: Path, what: str) -> None:
    path = tmp_path / ("x.fa" if what == "fai" else "x.fa.gz")
    path.write_bytes(FASTA if what == "fai" else bgzf(FASTA, block=64))
    truth = indexed(path)
    index = path.with_name(f"{path.name}.{what[:3]}")
    right = index.read_bytes()
    lies = [] if what == "gzi" else LIES
    for content in [*lies, *mutants(right, seed=3, number=120)]:
        index.write_bytes(content)
        os.utime(index)
        found = attempt(indexed, path)
        assert found == truth or isinstance(found, str), content


def variants(path: Path) -> list[str]:
    file = open_variants(path)
    VcfContigs(file).find("c1")
    repaired(file.header, survey(file.records()), lengths={"c1": 1000})
    return [record.line for record in file.records()]


def bcf() -> bytes:
    path = Path(os.environ["GENOCONV_HOME"]) / "x.bcf"
    path.with_suffix(".vcf").write_bytes(VCF)
    pysam.bcftools.view("--no-version", "-Ou", "-o", str(path), str(path.with_suffix(".vcf")), catch_stdout=False)
    return path.read_bytes()


def configured(path: Path) -> object:
    return configure(Call(TrainConfig, file=path))


READERS: dict[str, tuple[Callable[[], bytes], str, Callable[[Path], object], int]] = {
    "bed": (lambda: BED, "x.bed", lambda path: read_bed(path).to_numpy().tolist(), 200),
    "gtf": (lambda: GTF, "x.gtf", lambda path: read_genes(path, contigs={"chr1": 90, "ERCC": 90}), 150),
    "gff3": (lambda: GFF, "x.gff3", lambda path: read_genes(path, contigs={"c1": 100}), 150),
    "vcf": (lambda: VCF, "x.vcf", variants, 300),
    "vcf.gz": (lambda: bgzf(VCF, block=100), "x.vcf.gz", variants, 100),
    "bcf": (bcf, "x.bcf", variants, 300),
    "bcf in bgzip": (lambda: bgzf(bcf(), block=100), "x.bcf", variants, 100),
    "manifest": (lambda: (ROOT / "data_manifests/saccer3.toml").read_bytes(), "x.toml", read_manifest, 200),
    "run.yaml": (lambda: (ROOT / "pipelines/recipes/tiny.yaml").read_bytes(), "x.yaml", configured, 200),
}


@pytest.mark.parametrize("kind", READERS)
def test_readers_read_or_raise_our_errors(tmp_path: Path, kind: str) -> None:
    content, name, read, number = READERS[kind]
    path = tmp_path / name
    refused = 0
    for mutant in mutants(content(), seed=4, number=number):
        path.write_bytes(mutant)
        refused += isinstance(attempt(read, path), str)
    assert refused
