"""Every option of ``genoconv scan`` reaches the place that uses it."""

import numpy as np
import pandas as pd
import pytest
from option_effects.effects import Effects
from scan_runs import CONTIGS, REGION, Bench
from toy_scoring import write_fasta
from vcf_files import text, tiny_model

from genoconv.errors import DataError, DownloadError, GenoconvError, OutputError, UsageError
from genoconv.pipelines.options import parameters
from genoconv.pipelines.scan.options import ScanOptions
from genoconv.pipelines.scan.spool import Spool

EFFECTS = Effects()
shows = EFFECTS.shows


@pytest.mark.parametrize("key", [parameter.key for parameter in parameters(ScanOptions)])
def test_option(key: str, bench: Bench) -> None:
    EFFECTS[key](bench)


@shows("fasta")
def _(bench: Bench) -> None:
    other = write_fasta(bench.folder / "other.fa", {"z": CONTIGS["c"][:50]})
    assert set(bench.table(fasta=other)["chrom"]) == {"z"}


@shows("genome")
def _(bench: Bench) -> None:
    from genoconv.genome.assemblies.store import register

    register("mine", fasta=bench.fasta, annotation=None, force=False)
    found = bench.table("--genome", "mine", *REGION, fasta=None)
    pd.testing.assert_frame_equal(found, bench.table(*REGION))


@shows("offline")
def _(bench: Bench) -> None:
    with pytest.raises(DownloadError, match="offline"):
        bench.call("--genome", "phix174", "--offline", fasta=None)


@shows("model")
def _(bench: Bench) -> None:
    bench.call(*REGION, model=tiny_model(bench.folder / "other", max_length=600))
    assert "##genoconvModel=name=other;" in text(bench.out)


@shows("output")
def _(bench: Bench) -> None:
    bench.call(*REGION, output=bench.folder / "deep" / "er.tsv.gz")
    assert (bench.folder / "deep" / "er.tsv.gz").exists()


@shows("regions")
def _(bench: Bench) -> None:
    whole = bench.table()
    found = bench.table("-r", "b:5-6", "-r", "c:11-20", "-r", "c:15-30")
    assert found[["chrom", "pos"]].drop_duplicates().values.tolist() == [
        *(["c", pos] for pos in range(11, 31)),
        ["b", 5],
        ["b", 6],
    ]
    same = whole.merge(found, on=["chrom", "pos", "ref", "alt"])
    np.testing.assert_allclose(same["score_x"], same["score_y"], atol=1e-5)


@shows("bed")
def _(bench: Bench) -> None:
    bed = bench.folder / "r.bed"
    bed.write_text("chrc\t10\t12\nb\t0\t1\n".replace("chrc", "c"))
    assert bench.table("--bed", bed)["pos"].unique().tolist() == [11, 12, 1]
    bed.write_text("c\t10\t9999\n")
    with pytest.raises(DataError, match="beyond c, which has 900"):
        bench.call("--bed", bed, "--force")


@shows("genes")
def _(bench: Bench) -> None:
    genes = bench.folder / "genes.gtf"
    genes.write_text('c\tx\tgene\t101\t103\t.\t-\t.\tgene_id "G"; gene_biotype "protein_coding";\n')
    assert bench.table("--genes", genes)["pos"].unique().tolist() == [101, 102, 103]


@shows("window")
def _(bench: Bench) -> None:
    assert not bench.table(*REGION, window="0.128k").equals(bench.table(*REGION))
    bench.call(*REGION, "--force", window=None, context=None)
    assert "window=2049;context=1025;step=1024" in text(bench.out)


@shows("context")
def _(bench: Bench) -> None:
    assert not bench.table(*REGION, context=32).equals(bench.table(*REGION))


@shows("plot")
def _(bench: Bench) -> None:
    picture = bench.folder / "p.png"
    bench.call(*REGION, "--plot", picture)
    before = picture.read_bytes()
    assert before.startswith(b"\x89PNG")
    genes = bench.folder / "genes.gtf"
    genes.write_text('c\tx\tgene\t301\t310\t.\t-\t.\tgene_id "G"; gene_biotype "protein_coding";\n')
    bench.call("--genes", genes, "--plot", picture, "--force")
    assert picture.read_bytes() != before

    def fails(*_: object, **__: object) -> None:
        raise OutputError("p.svg: cannot write")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genoconv.pipelines.scan.run.draw", fails)
        with pytest.raises(OutputError, match=r"p\.svg: cannot write"):
            bench.call(*REGION, "--plot", bench.folder / "p.svg", "--force")
    assert bench.out.exists()
    assert not list(bench.folder.glob(".o*"))  # the output is complete: nothing is kept for --resume


@shows("annotation")
def _(bench: Bench) -> None:
    picture, genes = bench.folder / "p.svg", bench.folder / "genes.gtf"
    genes.write_text('c\tx\tgene\t305\t700\t.\t-\t.\tgene_id "G"; gene_biotype "protein_coding";\n')
    bench.call(*REGION, "--plot", picture)
    before = picture.read_text()
    assert bench.table(*REGION, "--plot", picture, "--annotation", genes)["pos"].nunique() == 10
    assert "G (-)" in picture.read_text()
    assert "G (-)" not in before
    with pytest.raises(DataError, match="not GTF or GFF3"):  # before anything is scanned
        bench.call(*REGION, "--plot", picture, "--annotation", bench.fasta, "--force")
    assert not list(bench.folder.glob(".o*"))
    with pytest.raises(UsageError, match="--annotation needs --plot"):
        bench.call(*REGION, "--annotation", genes, "--force")


@shows("shard")
def _(bench: Bench) -> None:
    bench.table("--shard", "1/1")
    with pytest.raises(UsageError, match="1/4"):
        bench.call("--shard", "5/4")


@shows("batch_size")
def _(bench: Bench) -> None:
    from genoconv.tasks.scan import Scanner

    seen: list[int] = []
    real = Scanner._log_p

    def spy(self, wanted):
        seen.append(len(wanted.ids))
        return real(self, wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scanner, "_log_p", spy)
        bench.call("-b", 3)
    assert max(seen) == 3


@shows("device")
def _(bench: Bench) -> None:
    with pytest.raises(GenoconvError, match="cuda:63"):
        bench.call(device="cuda:63")


@shows("precision")
def _(bench: Bench) -> None:
    assert not bench.table(*REGION, "--precision", "bf16").equals(bench.table(*REGION))


@shows("resume")
def _(bench: Bench) -> None:
    from genoconv.tasks.scan import Scanner

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Spool, "remove", lambda self: None)
        bench.call(*REGION)
    bench.out.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scanner, "read", None)  # nothing is computed again
        bench.call(*REGION, "--resume")
    assert bench.out.exists()


@shows("force")
def _(bench: Bench) -> None:
    bench.call(*REGION)
    with pytest.raises(OutputError, match="exists already"):
        bench.call(*REGION)
    bench.call(*REGION, "--force")


@shows("quiet")
def _(bench: Bench) -> None:
    import logging

    bench.call(*REGION, "--quiet")
    assert logging.getLogger("genoconv").level == logging.WARNING


@shows("devices")
@shows("dry_run")
def _(bench: Bench) -> None:  # more in test_devices.py
    with pytest.raises(UsageError, match="--devices: 'none' is not a number of devices"):
        bench.call("--devices", "none")
    bench.call("--dry-run")
    assert not list(bench.folder.glob("o.*"))
