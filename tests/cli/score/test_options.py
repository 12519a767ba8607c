"""Every option of ``genoconv score-variants`` reaches the place that uses it: taken away, its test fails."""

import gzip
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pysam.bcftools
import pytest
import yaml
from calls import call
from click.testing import Result
from option_effects.effects import Effects
from toy_scoring import write_fasta
from vcf_files import info, lines, text, tiny_model

from genoconv.errors import DownloadError, GenoconvError
from genoconv.pipelines.options import parameters
from genoconv.pipelines.score.options import ScoreOptions

RNG = np.random.default_rng(3)
CONTIG = "".join(RNG.choice(list("ACGT"), 1200))


def row(pos: int, *, ref: str = "", alt: str = "", filter_: str = "PASS") -> str:
    ref = ref or CONTIG[pos - 1]
    return f"c\t{pos}\t.\t{ref}\t{alt or ('A' if ref != 'A' else 'C')}\t.\t{filter_}\t.\n"


class Bench:
    """A small run that each test varies."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.model = model
        self.vcf = folder / "in.vcf"
        header = f"##fileformat=VCFv4.2\n##contig=<ID=c,length={len(CONTIG)}>\n##FILTER=<ID=q10,Description=q>\n"
        self.header = header + "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        self.vcf.write_text(self.header + row(301) + row(403, filter_="q10") + row(505) + row(607) + row(709))
        self.fasta = write_fasta(folder / "g.fa", {"c": CONTIG})
        self.out = folder / "out.vcf"

    def call(self, *words: object, **instead: object) -> Result:
        """The command on this input; ``instead`` replaces base options by name, None leaves one out."""
        base = {"--fasta": self.fasta, "--model": self.model, "--output": self.out, "--window": 64, "--device": "cpu"}
        base |= {f"--{name}": value for name, value in instead.items()}
        options = [word for pair in base.items() if pair[1] is not None for word in pair]
        return call("score-variants", self.vcf, *options, *words)

    def records(self, *words: object, **instead: object) -> list[dict[str, str]]:
        """INFO of what comes out."""
        self.call(*words, "--force", **instead)
        return [info(line) for line in lines(self.out)]

    def scores(self, *words: object, **instead: object) -> list[str]:
        return [record["GCONV_LLR"] for record in self.records(*words, **instead)]


EFFECTS = Effects()
shows = EFFECTS.shows


@pytest.mark.parametrize("key", [parameter.key for parameter in parameters(ScoreOptions)])
def test_option(key: str, tmp_path: Path, model: Path) -> None:
    EFFECTS[key](Bench(tmp_path, model))


@shows("vcf")
def _(bench: Bench) -> None:
    bench.vcf.write_text(bench.header + row(100))
    assert len(bench.records()) == 1


@shows("fasta")
def _(bench: Bench) -> None:
    other = write_fasta(bench.folder / "other.fa", {"c": CONTIG[:290] + "ACGTACGT" + CONTIG[298:]})
    assert bench.scores()[0] != bench.scores(fasta=other)[0]


@shows("genome")
def _(bench: Bench) -> None:
    from genoconv.genome.assemblies.store import register

    expected = bench.scores()
    genes = bench.folder / "genes.gtf"
    genes.write_text('c\tx\tgene\t250\t800\t.\t+\t.\tgene_id "G"; gene_biotype "protein_coding";\n')
    register("mine", fasta=bench.fasta, annotation=genes, force=False)
    assert bench.scores("--genome", "mine", fasta=None) == expected
    assert "--genome mine" in bench.out.read_text()
    # Its annotation comes with it.
    found = bench.records("--genome", "mine", "--context", "gene", fasta=None, window=None)
    assert {record["GCONV_GENE"] for record in found} == {"G"}


@shows("offline")
def _(bench: Bench) -> None:
    with pytest.raises(DownloadError, match="offline"):
        bench.call("--genome", "phix174", "--offline", fasta=None)


@shows("model")
def _(bench: Bench) -> None:
    other = tiny_model(bench.folder / "other", max_length=600)
    expected = text(bench.out) if bench.scores() else ""
    assert bench.scores(model=other)
    assert text(bench.out) != expected
    assert "genoconvModel=name=other;" in text(bench.out)


@shows("output")
def _(bench: Bench) -> None:
    assert "GCONV_LLR=" in bench.call(output="-").stdout
    assert "GCONV_LLR=" in bench.call(output=None).stdout
    bench.call(output=bench.folder / "deep" / "er.vcf")
    assert len(lines(bench.folder / "deep" / "er.vcf")) == 5


@shows("output_type")
def _(bench: Bench) -> None:
    bench.call("-O", "b")
    assert gzip.decompress(bench.out.read_bytes()).startswith(b"BCF")
    for kind, index in (("b", ".csi"), ("z", ".tbi")):  # indexed, whatever the name
        bench.call("-O", kind, "--force")
        assert pysam.bcftools.view("-H", "-r", "c:500-650", str(bench.out)).count("\n") == 2
        assert sorted(path.name for path in bench.folder.glob("out*")) == ["out.vcf", f"out.vcf{index}"]


@shows("tsv")
def _(bench: Bench) -> None:
    table = bench.folder / "t.tsv"
    result = bench.call("--tsv", table, output=None)
    assert len(table.read_text().splitlines()) == 6
    assert "GCONV" not in result.stdout


@shows("multiqc")
def _(bench: Bench) -> None:
    folder = bench.folder / "qc"
    bench.vcf.write_text(bench.header + "".join(row(at) for at in (100, 200, 300)) + "c\t400\t.\tA\t<DEL>\t.\t.\t.\n")
    scores = [record["GCONV_LLR"] for record in bench.records("--multiqc", folder)]
    stem = bench.out.name.removesuffix(".vcf")
    status = (folder / f"{stem}_status_mqc.tsv").read_text().splitlines()
    assert "# id: genoconv_alleles_by_status" in status
    assert status[-2:] == ["Sample\tok\tsymbolic", f"{stem}\t3\t1"]
    found = yaml.safe_load((folder / f"{stem}_scores_mqc.yaml").read_text())
    expected = Counter(math.floor(float(score) / 0.5) * 0.5 for score in scores if score != ".")
    assert {at: count for at, count in found["data"][stem].items() if count} == expected
    bench.out.unlink()
    for place, message in ((folder, r"_status_mqc\.tsv exists already"), (Path("/proc/qc"), "cannot write in /proc")):
        with pytest.raises(GenoconvError, match=message):
            bench.call("--multiqc", place)
    assert not bench.out.exists()


@shows("explain")
def _(bench: Bench) -> None:
    assert set(bench.records()[0]) == {"GCONV_LLR"}
    assert set(bench.records("--explain")[0]) == {"GCONV_LLR", "GCONV_FWD", "GCONV_REV", "GCONV_STATUS"}


@shows("info_prefix")
def _(bench: Bench) -> None:
    assert set(bench.records("--info-prefix", "MINE")[0]) == {"MINE_LLR"}


@shows("index")
def _(bench: Bench) -> None:
    for words, there in (((), True), (("--no-index",), False)):
        bench.call(*words, "--force", output=bench.folder / "o.vcf.gz")
        assert (bench.folder / "o.vcf.gz.tbi").exists() == there


@shows("window")
def _(bench: Bench) -> None:
    assert bench.scores() != bench.scores(window=128)
    found = bench.records(window="64,0.128k")[0]
    assert set(found) == {"GCONV_LLR_64", "GCONV_LLR_128"}


@shows("grid")
def _(bench: Bench) -> None:
    assert bench.scores("--grid", 1) != bench.scores("--grid", 32)


@shows("reduce")
def _(bench: Bench) -> None:
    total, mean, site = (bench.scores("--reduce", way) for way in ("sum", "mean", "site"))
    np.testing.assert_allclose([float(a) / 63 for a in total], [float(b) for b in mean], rtol=1e-3, atol=1e-5)
    assert site not in (total, mean)


@shows("strand")
def _(bench: Bench) -> None:
    both, forward, reverse = (
        [float(score) for score in bench.scores("--strand", way)] for way in ("both", "forward", "reverse")
    )
    np.testing.assert_allclose(both, (np.array(forward) + reverse) / 2, rtol=1e-3, atol=1e-4)
    assert forward != reverse


@shows("context")
def _(bench: Bench) -> None:
    genes = bench.folder / "genes.gtf"
    genes.write_text('c\tx\tgene\t250\t350\t.\t-\t.\tgene_id "G"; gene_biotype "protein_coding";\n')
    found = bench.records("--context", "gene", "--annotation", genes, window=None)
    assert [record["GCONV_GENE"] for record in found] == ["G", ".", ".", ".", "."]


@shows("annotation")
def _(bench: Bench) -> None:
    for name in ("A", "B"):
        genes = bench.folder / f"{name}.gtf"
        genes.write_text(f'c\tx\tgene\t250\t350\t.\t-\t.\tgene_id "{name}"; gene_biotype "protein_coding";\n')
        found = bench.records("--context", "gene", "--annotation", genes, window=None)
        assert found[0]["GCONV_GENE"] == name


@shows("max_indel")
def _(bench: Bench) -> None:
    bench.vcf.write_text(bench.header + row(300, alt=CONTIG[299] + "GATTA"))
    assert bench.records("--explain")[0]["GCONV_STATUS"] == "ok"
    assert bench.records("--explain", "--max-indel", 4)[0]["GCONV_STATUS"] == "too_long"


@shows("regions")
def _(bench: Bench) -> None:
    assert len(bench.records("-r", "c:1-410", "-r", "c:700-")) == 3


@shows("regions_file")
def _(bench: Bench) -> None:
    bed = bench.folder / "r.bed"
    bed.write_text("c\t500\t620\n")
    assert len(bench.records("-R", bed)) == 2


@shows("pass_only")
def _(bench: Bench) -> None:
    assert len(bench.records("--pass-only")) == 4


@shows("ref_mismatch")
def _(bench: Bench) -> None:
    wrong = [row(pos, ref="A" if CONTIG[pos - 1] != "A" else "C", alt="G") for pos in range(100, 320, 20)]
    bench.vcf.write_text(bench.header + "".join(wrong))
    with pytest.raises(GenoconvError, match="another assembly"):
        bench.call()
    assert bench.scores("--ref-mismatch", "skip") == ["."] * len(wrong)


@shows("shard")
def _(bench: Bench) -> None:
    bench.vcf.write_text(bench.header + "".join(row(pos) for pos in range(10, 1190, 10)))
    parts = [bench.scores("--shard", f"{part}/3") for part in (1, 2, 3)]
    assert all(parts)
    assert sum(parts, []) == bench.scores()  # noqa: RUF017


@shows("batch_size")
def _(bench: Bench) -> None:
    from genoconv.tasks import likelihood

    seen: list[int] = []
    read = likelihood.CausalLikelihood._read_references

    def spy(self, reuse, ids, **options):
        seen.append(len(ids))
        return read(self, reuse, ids, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likelihood.CausalLikelihood, "_read_references", spy)
        bench.scores("-b", 3)
    assert max(seen) == 3


@shows("device")
def _(bench: Bench) -> None:
    with pytest.raises(GenoconvError, match="cuda:63"):
        bench.call(device="cuda:63")


@shows("precision")
def _(bench: Bench) -> None:
    assert bench.scores("--precision", "32") != bench.scores("--precision", "bf16")
    assert "--precision bf16" in bench.out.read_text()


@shows("resume")
def _(bench: Bench) -> None:
    from genoconv.tasks.journal import Journal, journal_path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "remove", lambda self: None)
        expected = bench.scores()
    bench.out.unlink()
    assert journal_path(bench.out).exists()
    from genoconv.tasks import score

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score.VariantScorer, "score", None)  # nothing is computed again
        bench.call("--resume")
    assert [info(line)["GCONV_LLR"] for line in lines(bench.out)] == expected


@shows("force")
def _(bench: Bench) -> None:
    bench.call()
    with pytest.raises(GenoconvError, match="exists already"):
        bench.call()
    bench.call("--force")


@shows("quiet")
def _(bench: Bench) -> None:
    import logging

    from genoconv.cli import console

    console.set_up_logging()
    for words, said in (((), 1), (("--quiet",), 0)):
        messages: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record, to=messages: to.append(record.getMessage())  # type: ignore[method-assign, misc]
        logging.getLogger("genoconv").addHandler(handler)
        bench.call("--force", *words)
        assert len([message for message in messages if "records:" in message]) == said


@shows("devices")
@shows("dry_run")
def _(bench: Bench) -> None:  # more in test_devices.py
    with pytest.raises(GenoconvError, match="--devices: '0' is not a number of devices"):
        bench.call("--devices", "0")
    bench.call("--dry-run")
    assert not bench.out.exists()


@pytest.mark.parametrize("name", ["scores.tsv", "scores.TSV.gz", "scores.csv", "scores.parquet"])
def test_a_vcf_is_not_written_under_the_name_of_a_table(model: Path, tmp_path: Path, name: str) -> None:
    bench = Bench(tmp_path, model)
    with pytest.raises(GenoconvError, match=f"{name}: the output is a VCF or BCF; --tsv FILE writes a table"):
        bench.call(output=tmp_path / name)
    assert not (tmp_path / name).exists()
