"""``genoconv workflow``: the shipped Snakemake project runs, resumes and merges its shards to the bytes of one run."""

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from genoconv.pipelines.workflow.gather import gather
from support import cli_environment, one_clear_line, run_cli, shell_path

SNAKEMAKE = shutil.which("snakemake", path=str(Path(sys.executable).parent)) or shutil.which("snakemake")
needs_snakemake = pytest.mark.skipif(SNAKEMAKE is None, reason="no snakemake here: pip install 'genoconv[workflow]'")

HEADER = """##fileformat=VCFv4.2
##INFO=<ID=GCONV_LLR,Number=A,Type=Float,Description="score">
##INFO=<ID=X,Number=0,Type=Flag,Description="flag">
##contig=<ID=c1,length=1000>
##contig=<ID=c2,length=1000>
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
"""
RECORDS = [
    "c1\t10\t.\tA\tC\t.\t.\tGCONV_LLR=-1.5",
    "c1\t20\t.\tA\tC,G\t.\t.\tGCONV_LLR=0.25,.",
    "c2\t5\t.\tA\t.\t.\t.\t.",
    "c2\t7\t.\tT\tG\t.\t.\tX;GCONV_LLR=2",
]


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    files = []
    for number, records in enumerate((RECORDS[:1], RECORDS[1:3], RECORDS[3:]), 1):
        path = tmp_path / f"part{number}.vcf"
        path.write_text(HEADER + "".join(f"{record}\n" for record in records))
        files.append(path)
    return files


def snakemake(*arguments: str, cwd: Path, home: Path) -> str:
    """Run Snakemake with this environment's genoconv first on the path; return what it printed."""
    assert SNAKEMAKE
    env = cli_environment(home)
    env["PATH"] = os.pathsep.join((shell_path(), str(Path(SNAKEMAKE).parent), env["PATH"]))
    env["XDG_CACHE_HOME"] = str(home / "cache")
    done = subprocess.run([SNAKEMAKE, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_gather_writes_the_file_that_one_run_writes(shards: list[Path], tmp_path: Path) -> None:
    whole = HEADER + "".join(f"{record}\n" for record in RECORDS)
    out = tmp_path / "all.vcf"
    assert run_cli("workflow", "gather", *shards, "-o", out, home=tmp_path).returncode == 0
    assert out.read_text() == whole
    first = run_cli("workflow", "gather", shards[0], "-o", tmp_path / "first.vcf", home=tmp_path)
    assert first.stderr.endswith(b"first.vcf: 1 record of 1 shard\n")


def test_gather_indexes_compressed_output(shards: list[Path], tmp_path: Path) -> None:
    import pysam

    for name in ("all.vcf.gz", "all.bcf"):
        out = tmp_path / name
        assert run_cli("workflow", "gather", *shards, "-o", out, home=tmp_path).returncode == 0
        with pysam.VariantFile(str(out)) as vcf:
            assert [record.pos for record in vcf.fetch("c2")] == [5, 7]


def test_gather_refuses_shards_in_another_order(shards: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "all.vcf.gz"
    line = one_clear_line(run_cli("workflow", "gather", *reversed(shards), "-o", out, home=tmp_path), code=1)
    assert "in that order" in line
    assert not out.exists()


def test_gather_of_a_file_that_is_not_sorted_has_no_index_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shard, out = tmp_path / "part1.vcf", tmp_path / "all.vcf.gz"
    shard.write_text(HEADER + "".join(f"{record}\n" for record in RECORDS[::-1]))
    assert gather([shard], out, force=False) == len(RECORDS)
    assert "all.vcf.gz: the records are not sorted, so no index was written" in caplog.text
    assert {path.name for path in tmp_path.iterdir()} == {"part1.vcf", "all.vcf.gz"}
    caplog.clear()
    assert gather([shard], tmp_path / "all.vcf", force=False) == len(RECORDS)
    assert not caplog.text


def test_gather_refuses_shards_of_different_runs(shards: list[Path], tmp_path: Path) -> None:
    shards[1].write_text(shards[1].read_text().replace('"score"', '"another"'))
    line = one_clear_line(run_cli("workflow", "gather", *shards, "-o", tmp_path / "all.vcf", home=tmp_path), code=1)
    assert "part2.vcf" in line
    assert "header line 2" in line


def test_gather_never_replaces_a_shard(shards: list[Path], tmp_path: Path) -> None:
    before = shards[0].read_bytes()
    result = run_cli("workflow", "gather", *shards, "-o", shards[0], "--force", home=tmp_path)
    assert "is the input SHARD..." in one_clear_line(result, code=2)
    assert shards[0].read_bytes() == before
    options = ("--table", shards[1], "--plot", tmp_path / "x.png", "--force")
    result = run_cli("workflow", "report", f"one={shards[0]}", f"two={shards[1]}", *options, home=tmp_path)
    assert "is the input sample two" in one_clear_line(result, code=2)


def test_report_counts_alleles_and_scores(shards: list[Path], tmp_path: Path) -> None:
    table, plot = tmp_path / "t.tsv", tmp_path / "p.png"
    samples = [f"first={shards[0]}", shards[1]]
    assert run_cli("workflow", "report", *samples, "--table", table, "--plot", plot, home=tmp_path).returncode == 0
    found = pd.read_csv(table, sep="\t").set_index("sample")
    assert list(found.index) == ["first", "part2"]
    assert found.loc["part2", ["records", "alleles", "scored"]].tolist() == [2, 2, 1]
    assert found.loc["first", "median"] == -1.5
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_report_refuses_a_vcf_without_scores(tmp_path: Path) -> None:
    vcf = tmp_path / "plain.vcf"
    vcf.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    outputs = ["--table", tmp_path / "t.tsv", "--plot", tmp_path / "p.png"]
    line = one_clear_line(run_cli("workflow", "report", vcf, *outputs, home=tmp_path), code=1)
    assert "no score field" in line


@pytest.mark.parametrize("value", ["0.25", "x,1", "1,2,3"])
def test_report_names_a_record_whose_scores_do_not_fit(value: str, shards: list[Path], tmp_path: Path) -> None:
    shards[1].write_text(shards[1].read_text().replace("GCONV_LLR=0.25,.", f"GCONV_LLR={value}"))
    outputs = ["--table", tmp_path / "t.tsv", "--plot", tmp_path / "p.png"]
    line = one_clear_line(run_cli("workflow", "report", shards[1], *outputs, home=tmp_path), code=1)
    assert "c1:20" in line
    assert not (tmp_path / "t.tsv").exists()


def test_init_refuses_a_folder_with_files_in_it(tmp_path: Path) -> None:
    project = tmp_path / "project"
    assert run_cli("workflow", "init", project, home=tmp_path).returncode == 0
    assert (project / ".test" / "variants.vcf").is_file()
    (project / "mine").write_text("x")
    assert "--force" in one_clear_line(run_cli("workflow", "init", project, home=tmp_path), code=1)
    assert (project / "mine").exists()


@needs_snakemake
def test_the_project_is_clean_and_plans_for_slurm(tmp_path: Path) -> None:
    project = tmp_path / "project"
    run_cli("workflow", "init", project, home=tmp_path)
    assert "good condition" in snakemake("--lint", cwd=project, home=tmp_path)
    formatter = Path(sys.executable).with_name("snakefmt")
    if formatter.exists():
        subprocess.run([formatter, "--check", "workflow"], cwd=project, check=True, capture_output=True)
    pytest.importorskip("snakemake_executor_plugin_slurm")
    plan = snakemake("-n", "--workflow-profile", "profiles/slurm", cwd=project, home=tmp_path)
    assert "score_shard" in plan


@needs_snakemake
def test_a_misspelt_key_stops_the_workflow(tmp_path: Path) -> None:
    project = tmp_path / "project"
    run_cli("workflow", "init", project, home=tmp_path)
    config = project / "config" / "config.yaml"
    config.write_text(config.read_text().replace("shards: 2", "shard: 2"))
    with pytest.raises(AssertionError, match="shard"):
        snakemake("-n", cwd=project, home=tmp_path)


@needs_snakemake
def test_paths_may_have_spaces(tmp_path: Path) -> None:
    project = tmp_path / "project"
    run_cli("workflow", "init", project, home=tmp_path)
    for name in ("my genome.fa", "my genes.gff3", "my calls.vcf", "my model/model.safetensors"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).touch()
    (project / "config" / "config.yaml").write_text(
        "genome: {fasta: my genome.fa, annotation: my genes.gff3}\nwindows: {options: ''}\n"
        "model: {folder: my model, calibrate: --sample 1m}\nscore: {samples: {a: my calls.vcf}}\n"
        "scan: {targets: {all: ''}}\nembed: {inputs: {a: my genome.fa}}\n"
    )
    plan = snakemake("-n", "-p", "all", "results/windows.bed", cwd=project, home=tmp_path)
    for words in (
        "realpath 'my genome.fa'",
        "--annotation 'my genes.gff3'",
        "score-variants 'my calls.vcf'",
        "embed 'my genome.fa' --model 'my model'",
        "models calibrate 'my model'",
        "genome.fa --model 'my model' --output results/scan/all.tsv.gz",
    ):
        assert words in plan
    assert plan.count("--model 'my model'") == plan.count("--model")


@needs_snakemake
@pytest.mark.slow
def test_the_workflow_runs_two_jobs_at_a_time_and_equals_one_run(tmp_path: Path) -> None:
    project = tmp_path / "project"
    run_cli("workflow", "init", project, home=tmp_path)
    arguments = ("--directory", ".test", "--workflow-profile", "profiles/local", "--cores", "2")
    assert "Execute 2 jobs" in snakemake(*arguments, cwd=project, home=tmp_path)
    results = project / ".test" / "results"
    done = {
        path.relative_to(project / ".test" / "benchmarks").parts[0]
        for path in (project / ".test/benchmarks").rglob("*.tsv")
    }
    expected = {"link_genome.tsv", "windows.tsv", "train.tsv", "calibrate.tsv", "score", "gather", "report_scores.tsv"}
    assert done == expected | {"scan", "embed"}
    assert len((results / "windows.bed").read_text().splitlines()) > 256
    with gzip.open(results / "scan" / "start.tsv.gz", "rt") as lines:
        assert sum(not line.startswith("#") for line in lines) == 900
    assert (results / "embeddings" / "example.npz").stat().st_size > 0
    assert pd.read_csv(results / "report" / "scores.tsv", sep="\t")["scored"].tolist() == [60]
    # Named as the workflow names them: the command line is part of the header.
    inputs = ("variants.vcf", "--fasta", "results/genome/genome.fa", "--model", "results/model")
    options = ("--window", "128", "--device", "auto", "--quiet")
    once = project / ".test" / "once.vcf.gz"
    scored = run_cli("score-variants", *inputs, "-o", once, *options, home=tmp_path, cwd=project / ".test")
    assert scored.returncode == 0, scored.stderr
    assert (results / "scored" / "one.vcf.gz").read_bytes() == once.read_bytes()
    assert "Nothing to be done" in snakemake(*arguments, cwd=project, home=tmp_path)
