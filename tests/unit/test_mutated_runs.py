"""Damaged copies of what runs learn from and leave behind: read, or refused with one of our errors."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finetune_runs import base_model, classed_table
from mutants import attempt, mutants
from toy_scoring import write_fasta

from genoconv.genome.annotation.features import Features
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.chosen import read_windows
from genoconv.models import load_model
from genoconv.pipelines.records.record import Wanted
from genoconv.pipelines.records.sources import open_source
from genoconv.pipelines.spool import Row, Spool
from genoconv.pipelines.workflow.report import read_scores
from genoconv.tasks.calibration import Calibration, fit
from genoconv.train.metrics import read_rows

SEQUENCE = "ACGTTGCA" * 40
TABLE = b'id,sequence,label,split\na,ACGTACGT,1,train\nb,ACGGACGT,0,train\n"c",ACGTTCGT,1,valid\nd,ACNNACGT,0,test\n'
LABELS = b"id\tlabel\nc1\t1.5\nc2\t-2\n"
LABELLED_BED = b"#\n#chrom\tstart\tend\tname\tscore\tstrand\tlabel\nc1\t0\t20\ta\t0\t+\t1\nc1\t30\t50\tb\t0\t-\t0\n"
WINDOWS_BED = b"c1\t0\t50\tw1\t0\t+\ttrain\nc1\t60\t90\tw2\t0\t-\tvalid\nc2\t0\t64\tw3\t0\t+\ttest\n"
WINDOWS_TSV = b"""contig\tstart\tend\tstrand\tname\tsplit
c1\t0\t50\t+\tw1\ttrain
c1\t60\t90\t-\tw2\tvalid
c2\t0\t64\t+\tw3\ttest
"""
GTF = b"""c1\tx\tgene\t11\t200\t.\t+\t.\tgene_id "A"; gene_type "protein_coding";
c1\tx\ttranscript\t11\t200\t.\t+\t.\tgene_id "A"; transcript_id "T";
c1\tx\texon\t11\t90\t.\t+\t.\tgene_id "A"; transcript_id "T";
c1\tx\tCDS\t21\t80\t.\t+\t0\tgene_id "A"; transcript_id "T";
c1\tx\texon\t120\t200\t.\t+\t.\tgene_id "A"; transcript_id "T";
"""
METRICS = b"""step,tokens,split,loss,perplexity,learning_rate,tokens_per_second
10,5120,train,1.2,3.3,0.01,20000
12,6144,valid,1.1,3.0,0.01,
12,6144,test,1.1,3.0,0.01,
"""
SCORED = b"""##fileformat=VCFv4.2
##INFO=<ID=GCONV_LLR,Number=A,Type=Float,Description="x">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
c1\t10\t.\tA\tG,T\t.\t.\tGCONV_LLR=-1.5,.
c1\t20\t.\tA\tC\t.\t.\tGCONV_LLR=2;DP=3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A genome, a model with a calibration, and a table as Parquet."""
    folder = tmp_path_factory.mktemp("damaged")
    write_fasta(folder / "g.fa", {"c1": SEQUENCE, "c2": SEQUENCE[:64]})
    base_model(folder / "model", max_length=32)
    draw = np.random.default_rng(1)
    scores = fit(draw.integers(0, 4, 1000), draw.normal(size=1000).astype(np.float32))
    Calibration({"model": "x", "genome": {}}, {"site": scores}).save(folder / "model")
    pd.read_csv(classed_table(folder / "t.csv", count=20)).to_parquet(folder / "t.parquet")
    return folder


def records(path: Path, **wanted: Path) -> object:
    source = open_source(Wanted(path=path, **wanted))
    return [record.labels for record in source.records()]


def features(path: Path, fasta: Fasta) -> object:
    found = Features(fasta, path, aliases={})
    return [found.stretches(name) for name in ("cds", "utr", "exon", "promoter", "intron", "intergenic")]


def spooled(path: Path, content: dict[str, bytes], which: str) -> object:
    """What an interrupted run of embed finds again after one of its files was damaged."""
    for name, data in (content | {which: path.read_bytes()}).items():
        path.with_name(name).write_bytes(data)
    with Spool(path.with_name("o.npy"), width=4, dtype="float32", run={"a": 1}, resume=True) as spool:
        return spool.finished, [block.tolist() for block in spool.vectors()], list(spool.lines())


def interrupted(folder: Path) -> dict[str, bytes]:
    with Spool(folder / "s.npy", width=4, dtype="float32", run={"a": 1}, resume=False) as spool:
        for number in range(3):
            rows = [Row(f"r{number}", "c1", number, number + 1, "+")] * 2
            spool.append([np.full((2, 4), number, np.float32)], rows, mark=str(number))
    return {f".o.npy{path.name.removeprefix('.s.npy')}": path.read_bytes() for path in folder.glob(".s.npy.genoconv-*")}


Case = tuple[bytes, str, Callable[[Path], object]]


def learned_from(folder: Path) -> dict[str, Case]:
    fasta = Fasta(folder / "g.fa")
    return {
        "table": (TABLE, "x.csv", records),
        "parquet": ((folder / "t.parquet").read_bytes(), "x.parquet", records),
        "labels": (LABELS, "x.tsv", lambda path: records(folder / "g.fa", label_file=path)),
        "bed with labels": (LABELLED_BED, "x.bed", lambda path: records(path, fasta=folder / "g.fa")),
        "windows bed": (WINDOWS_BED, "w.bed", lambda path: read_windows(path, fasta, max_length=64, aliases={})),
        "windows tsv": (WINDOWS_TSV, "w.tsv", lambda path: read_windows(path, fasta, max_length=64, aliases={})),
        "features": (GTF, "x.gtf", lambda path: features(path, fasta)),
        "scored vcf": (SCORED, "x.vcf", read_scores),
    }


def left_behind(folder: Path, work: Path) -> dict[str, Case]:
    config, weights, calibration = (
        (folder / "model" / name).read_bytes() for name in ("config.json", "model.safetensors", "calibration.npz")
    )
    (work / "config.json").write_bytes(config)
    (work / "model.safetensors").write_bytes(weights)
    spool = interrupted(work)

    def weighed(path: Path) -> object:
        path.write_bytes(path.read_bytes() + weights[2000:])
        return load_model(path.parent)

    cases: dict[str, Case] = {
        "metrics": (METRICS, "metrics.csv", read_rows),
        "config": (config, "config.json", lambda path: load_model(path.parent)),
        "weights": (weights[:2000], "model.safetensors", weighed),
        "calibration": (calibration, "calibration.npz", lambda path: Calibration.load(path.parent)),
    }
    for name, data in spool.items():
        what = name.rpartition("-")[2]
        cases[f"spool {what}"] = (data, "damaged", lambda path, name=name: spooled(path, spool, name))  # type: ignore[misc]
    return cases


NAMES = (
    "table", "parquet", "labels", "bed with labels", "windows bed", "windows tsv", "features", "scored vcf",
    "metrics", "config", "weights", "calibration", "spool journal", "spool rows", "spool table",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_readers_read_or_raise_our_errors(folder: Path, tmp_path: Path, name: str) -> None:
    content, file, read = (learned_from(folder) | left_behind(folder, tmp_path))[name]
    path = tmp_path / file
    path.write_bytes(content)
    assert not isinstance(attempt(read, path), str)
    refused = 0
    for mutant in mutants(content, seed=5, number=60):
        path.write_bytes(mutant)
        refused += isinstance(attempt(read, path), str)
    # A journal counts as far as it is sound.
    assert refused or name == "spool journal"
