"""``genoconv score-variants`` on real genomes and variants, read back with the bundled bcftools."""

import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from vcf_files import bcftools, info, lines, statuses, text, tiny_model, without_ours

from genoconv.errors import UsageError
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.pipelines.score.run import score_variants
from genoconv.tasks.journal import journal_path
from support import DATA, HANG, cli_environment, command, needs_data, run_cli, run_until

HG19 = DATA / "genomes/hg19_chr22_1_22M"
HG19_FA = HG19 / "chr22.1-22000000.fa.gz"
HG19_VCF = HG19 / "chr22.1000g.ADA2_GAB4.vcf.gz"
B37 = DATA / "genomes/b37_chr20_1_2M"
LOCI_VCF = DATA / "human_gene_loci/human_gene_loci.A.vcf.gz"
LOCI_FA = DATA / "human_gene_loci/human_gene_loci.A.fa.gz"
HG38 = DATA / "genomes/hg38_chr9_1_1M"

pytestmark = needs_data(
    "genomes/hg19_chr22_1_22M", "genomes/b37_chr20_1_2M", "human_gene_loci", "genomes/hg38_chr9_1_1M"
)


def as_bcftools_prints(path: Path) -> list[str]:
    """Header and records after a way through BCF, which prints every number in htslib's fashion."""
    import pysam.bcftools

    between = path.with_name(path.name + ".between.bcf")
    pysam.bcftools.view("--no-version", "-Ob", "-o", str(between), str(path), catch_stdout=False)
    return bcftools("view", "--no-version", between).splitlines()


def assert_same(found: list[str], expected: list[str]) -> None:
    """As ``assert found == expected``, whose report takes minutes for thousands of long lines."""
    assert len(found) == len(expected)
    for number, (one, two) in enumerate(zip(found, expected, strict=True)):
        assert one == two, f"line {number}"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny", max_length=140_000)


@pytest.fixture(scope="module")
def chr22(model, tmp_path_factory) -> Path:
    """2,185 sites of chromosome 22, scored by the installed command in one go."""
    folder = tmp_path_factory.mktemp("chr22")
    result = run_cli(
        "score-variants", HG19_VCF, "-f", HG19_FA, "-m", model, "-w", "128", "--explain", "-o", folder / "out.vcf.gz",
        "--tsv", folder / "out.tsv", home=folder,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr.decode()
    last = result.stderr.decode().splitlines()[-1]
    assert last.startswith("genoconv: 2,185 records: ")
    assert last.endswith("variants/s")
    return folder


def test_nothing_but_our_fields_changed(chr22):
    found, before = lines(chr22 / "out.vcf.gz"), lines(HG19_VCF)
    assert len(found) == 2185
    assert_same([without_ours(line) for line in found], before)
    kept = [line for line in text(HG19_VCF).splitlines() if line.startswith("##")]
    assert text(chr22 / "out.vcf.gz").splitlines()[: len(kept)] == kept


def test_every_allele_has_a_score_or_a_reason(chr22):
    scored = 0
    for line in lines(chr22 / "out.vcf.gz"):
        values = info(line)
        alts = line.split("\t")[4].split(",")
        columns = [values[f"GCONV_{name}"].split(",") for name in ("LLR", "FWD", "REV", "STATUS")]
        assert [len(column) for column in columns] == [len(alts)] * 4
        for alt, llr, forward, reverse, status in zip(alts, *columns, strict=True):
            assert status == ("symbolic" if alt.startswith("<") else "ok")
            if status == "ok":
                scored += 1
                assert float(llr) == pytest.approx((float(forward) + float(reverse)) / 2, abs=1e-4, rel=1e-4)
    assert scored > 2150


def test_read_back_with_bcftools(chr22):
    out = chr22 / "out.vcf.gz"
    assert bcftools("view", "-H", out).count("\n") == 2185
    rows = bcftools("query", "-f", "%POS\t%INFO/GCONV_LLR\n", out).splitlines()
    assert [row.split("\t")[1] for row in rows] == [info(line)["GCONV_LLR"] for line in lines(out)]
    region = bcftools("view", "-H", out, "chr22:17442000-17460000")
    assert 100 < region.count("\n") < 1000
    low = bcftools("view", "-H", "-i", "GCONV_LLR[*]<-1", out).count("\n")
    assert 0 < low < 2185
    normalised = bcftools("norm", "--check-ref", "e", "-m-", "-f", HG19_FA, out)
    alleles = sum(len(line.split("\t")[4].split(",")) for line in lines(out))
    assert sum(not line.startswith("#") for line in normalised.splitlines()) == alleles


def test_table_has_a_row_an_allele(chr22):
    import pandas as pd

    table = pd.read_csv(chr22 / "out.tsv", sep="\t", dtype={"alt": str})
    vcf = lines(chr22 / "out.vcf.gz")
    assert table["alt"].tolist() == [alt for line in vcf for alt in line.split("\t")[4].split(",")]
    values = [value for line in vcf for value in info(line)["GCONV_LLR"].split(",")]
    assert table["llr"].tolist() == pytest.approx([float("nan" if v == "." else v) for v in values], nan_ok=True)


def test_interrupted_and_resumed_equals_uninterrupted(model, tmp_path):
    """Ctrl-C on two devices after two pieces, SIGTERM after one more, kill -9 after three more, then to the end."""
    options = ScoreOptions(
        vcf=B37 / "z.1000g.vcf.gz", fasta=B37 / "z.fa.gz", model=model, window=(64,), regions=("z:1-160000",)
    )
    whole = tmp_path / "whole.vcf.gz"
    score_variants(options.model_copy(update={"output": whole}))
    out = tmp_path / "out.vcf.gz"
    arguments = [
        "score-variants", B37 / "z.1000g.vcf.gz", "-f", B37 / "z.fa.gz", "-m", model, "-w", "64",
        "-r", "z:1-160000", "-o", out, "--device", "cpu",
    ]  # fmt: skip
    assert run_until([*arguments, "--devices", "2"], tmp_path, signal.SIGINT, 2) == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["whole.vcf.gz", "whole.vcf.gz.tbi", journal_path(out).name]
    )
    assert run_until([*arguments, "--resume"], tmp_path, signal.SIGTERM, 1) == 143
    assert run_until([*arguments, "--resume"], tmp_path, signal.SIGKILL, 3) == -signal.SIGKILL
    assert not out.exists()
    with journal_path(out).open("ab") as journal:
        journal.write(b'0123456789abcdef [[[["ok')  # as if cut off in the middle of a line
    result = run_cli(*arguments, "--resume", home=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    assert b"from the interrupted run" in result.stderr
    assert out.read_bytes() == whole.read_bytes()
    assert (tmp_path / "out.vcf.gz.tbi").exists()
    assert not list(tmp_path.glob(".out*"))


def test_shards_merged_equal_the_single_run(model, chr22, tmp_path):
    import pysam.bcftools

    parts = []
    for part in (1, 2, 3):
        parts.append(tmp_path / f"{part}.vcf.gz")
        score_variants(
            ScoreOptions(
                vcf=HG19_VCF, fasta=HG19_FA, model=model, output=parts[-1], window=(128,), explain=True, shard=(part, 3)
            )
        )
    assert all(abs(len(lines(path)) - 2185 / 3) < 40 for path in parts)
    merged = tmp_path / "merged.vcf.gz"
    pysam.bcftools.concat("--naive", "-o", str(merged), *map(str, parts), catch_stdout=False)
    assert_same(text(merged).splitlines(), text(chr22 / "out.vcf.gz").splitlines())


@pytest.mark.parametrize("kind", ["bcf", "vcf"])
def test_bcf_out_and_in(model, chr22, tmp_path, kind):
    first = tmp_path / "first.bcf"
    score_variants(ScoreOptions(vcf=HG19_VCF, fasta=HG19_FA, model=model, output=first, window=(128,), explain=True))
    assert_same(as_bcftools_prints(first), as_bcftools_prints(chr22 / "out.vcf.gz"))
    assert first.with_name("first.bcf.csi").exists()
    again = tmp_path / f"again.{kind}"
    score_variants(ScoreOptions(vcf=first, fasta=HG19_FA, model=model, output=again, window=(128,), explain=True))
    assert_same(as_bcftools_prints(again)[-2185:], as_bcftools_prints(first)[-2185:])


def test_stdin_to_stdout_and_a_reader_that_leaves(model, home, chr22):
    vcf = HG19_VCF.read_bytes()
    arguments = ["score-variants", "-", "-f", HG19_FA, "-m", model, "-w", "128", "-r", "chr22:17442000-17460000"]
    result = run_cli(*arguments, home=home, stdin=vcf)
    assert result.returncode == 0, result.stderr.decode()
    expected = [line for line in lines(chr22 / "out.vcf.gz") if int(line.split("\t")[1]) <= 17460000]
    found = lines(result.stdout)
    assert len(found) == len(expected) > 100
    assert [info(line)["GCONV_LLR"] for line in found] == [info(line)["GCONV_LLR"] for line in expected]
    with HG19_VCF.open("rb") as source:
        process = subprocess.Popen(
            [command(), *map(str, arguments)], stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=cli_environment(home),
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.close()
        _, errors = process.communicate(timeout=HANG)
    assert b"Traceback" not in errors
    assert b"Broken" not in errors
    assert process.returncode in (0, 141)


def test_gene_loci(model, tmp_path):
    """109 variants of every kind in 28 gene loci, one of them 103 bases long."""
    out = tmp_path / "out.vcf"
    result = run_cli(
        "score-variants", LOCI_VCF, "-f", LOCI_FA, "-m", model, "-w", "256", "--explain", "-o", out, home=tmp_path
    )
    assert result.returncode == 0, result.stderr.decode()
    assert [without_ours(line) for line in lines(out)] == lines(LOCI_VCF)
    assert b"\ngenoconv: 109 records: " in b"\n" + result.stderr
    counted = Counter(status for record in statuses(lines(out)) for status in record)
    assert counted["ok"] > 90
    assert set(counted) <= {"ok", "no_alt", "too_long"}


def test_whole_genes(model, tmp_path):
    """SNVs made in genes of chr9: the window is the gene, in its own direction; outside genes there is none."""
    from genoconv.genome.annotation.genes import read_genes
    from genoconv.genome.fasta.access import Fasta

    fasta = Fasta(HG38 / "chr9.1-1000000.fa.gz")
    gtf = HG38 / "chr9.ensembl91.1-1000000.gtf.gz"
    genes = read_genes(gtf, contigs=fasta.contigs)
    genes = genes[(genes["end"] - genes["start"] < 4000) & (genes["end"] <= fasta.contigs["9"])]
    rows = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    centres = sorted({int((start + end) // 2) for start, end in zip(genes["start"], genes["end"], strict=True)})
    assert len(centres) == 12
    for start in centres:
        ref = fasta.sequence("9", start, start + 1).upper()
        rows.append(f"9\t{start + 1}\t.\t{ref}\t{'A' if ref != 'A' else 'C'}\t.\t.\t.")
    vcf, out = tmp_path / "in.vcf", tmp_path / "out.vcf"
    vcf.write_text("\n".join(rows) + "\n")
    result = run_cli(
        "score-variants", vcf, "-f", HG38 / "chr9.1-1000000.fa.gz", "-m", model, "--context", "gene",
        "--annotation", gtf, "--explain", "-o", out, home=tmp_path,
    )  # fmt: skip
    # Four lie in a longer gene as well, which is taken before a short one and is beyond this model.
    assert b"12 records: 8 alleles scored, 4 too_long; " in result.stderr
    assert b"4 alleles have no score because their gene is longer than this model's 140,000 bases" in result.stderr
    assert "gene body" in text(out)
    for line in lines(out):
        # One direction, the gene's own.
        assert "GCONV_REV" not in info(line)


@needs_data("hyenadna_golden")
def test_published_models_score_as_any_other(tmp_path):
    """The score is that of the public implementation's logits: imported weights, one SNV, softmax over A, C, G, T."""
    import torch

    from genoconv.genome.fasta.access import Fasta
    from genoconv.models import load_model
    from genoconv.pipelines.models.run import import_model

    folder = tmp_path / "golden"
    import_model(str(DATA / "hyenadna_golden/tiny-1k-original"), output=folder)
    out = tmp_path / "out.vcf"
    contig = lines(LOCI_VCF)[0].split("\t")[0]
    run = ScoreOptions(
        vcf=LOCI_VCF, fasta=LOCI_FA, model=folder, output=out, window=(1024,), grid=1, strand="forward", reduce="site",
        regions=(contig,),
    )  # fmt: skip
    score_variants(run)
    fasta, model = Fasta(LOCI_FA), load_model(folder)
    snv = next(line.split("\t") for line in lines(out) if {len(x) for x in line.split("\t")[3:5]} == {1})
    start, alt = int(snv[1]) - 1, snv[4]
    left = min(max(0, start - 512), fasta.contigs[snv[0]] - 1024)
    with torch.no_grad():
        ids = torch.from_numpy(fasta.tokens(snv[0], left, left + 1024).astype(int))[None]
        bases = model(ids)[0, start - left - 1, 7:11].log_softmax(0)
    expected = bases["ACGT".index(alt)] - bases["ACGT".index(snv[3].upper())]
    assert float(info("\t".join(snv))["GCONV_LLR"]) == pytest.approx(float(expected), abs=1e-4)
    assert abs(float(expected)) > 1e-3
    with pytest.raises(UsageError, match="--window 1025: this model takes windows of 8 to 1,024 bases"):
        score_variants(run.model_copy(update={"window": "1025", "force": True}))
