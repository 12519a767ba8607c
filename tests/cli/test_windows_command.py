"""``genoconv windows`` as a person runs it: right rows, one clear line for every odd file, never a traceback."""

import gzip
import logging
import resource
from pathlib import Path

import pytest
from fasta_files import random_bases, write_fasta
from odd_files import PHIX, Odd
from typer.testing import CliRunner, Result

from genoconv.cli.app import app
from genoconv.errors import DataError, GenoconvError, OutputError, UsageError
from support import one_clear_line, run_cli

GENES = """chr1  x  gene  11  60  .  +  .  ID=a;Name=one
chr1  x  gene  51  90  .  -  .  ID=b;Name=two
chr1  x  gene  201  700  .  -  .  ID=c;Name=long
"""


def windows(*arguments: str | Path | int) -> Result:
    """The command in this process: most of the seconds of a subprocess are imports."""
    return CliRunner().invoke(app, ["windows", *map(str, arguments)])


def refusal(result: Result, kind: type[GenoconvError]) -> str:
    """The one line of an expected error."""
    assert type(result.exception) is kind, result.exception
    assert result.stdout == ""
    assert "\n" not in str(result.exception)
    return str(result.exception)


@pytest.fixture
def genome(tmp_path: Path) -> Path:
    return write_fasta(tmp_path / "genome.fa", {"1 x": random_bases(2000, seed=1, letters="ACGT")})


@pytest.fixture
def annotation(tmp_path: Path) -> Path:
    path = tmp_path / "genes.gff3"
    path.write_text(GENES.replace("  ", "\t"))
    return path


def test_bed_on_standard_output_and_a_summary_beside_it(genome: Path, annotation: Path, home: Path) -> None:
    result = run_cli("windows", "-f", genome, "-a", annotation, "-l", 300, "--flank", 5, home=home)
    assert result.returncode == 0, result.stderr
    assert [line.split("\t")[:6] for line in result.stdout.decode().splitlines()] == [
        ["1", "5", "65", "one", "0", "+"],
        ["1", "45", "95", "two", "0", "-"],
        ["1", "195", "450", "long:2/2", "0", "-"],
        ["1", "450", "705", "long:1/2", "0", "-"],
    ]
    summary = result.stderr.decode().splitlines()[-1]
    assert "4 windows of 3 genes: train" in summary
    assert "1 gene longer than 300 split" in summary


def test_the_same_seed_gives_the_same_file_byte_for_byte(genome: Path, home: Path, tmp_path: Path) -> None:
    words = ("-f", genome, "--tiles", "-l", 50, "-q", "-o")
    result = run_cli("windows", *words, tmp_path / "a.tsv", "--seed", 1, home=home)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    for name, seed in (("b.tsv", 1), ("c.tsv.gz", 1), ("d.tsv", 2)):
        result = windows(*words, tmp_path / name, "--seed", seed)
        assert (result.exception, result.output) == (None, "")
    files = [(tmp_path / name).read_bytes() for name in ("a.tsv", "b.tsv", "c.tsv.gz", "d.tsv")]
    assert files[0] == files[1] == gzip.decompress(files[2]) != files[3]
    rows = [line.split("\t") for line in files[0].decode().splitlines()]
    assert rows[0] == ["contig", "start", "end", "strand", "name", "split"]
    assert [(row[1], row[2]) for row in rows[1:]] == [(str(s), str(s + 50)) for s in range(0, 2000, 50)]
    assert {row[5] for row in rows[1:]} == {"train", "valid", "test"}


WRONG = {
    "nothing to read": ([], "pass exactly one of --fasta FILE and --genome NAME"),
    "both sources": (["-f", "FASTA", "-g", "demo"], "pass exactly one of --fasta FILE and --genome NAME"),
    "no genes": (["-f", "FASTA"], "add --annotation GENES.gtf for gene windows, or --tiles"),
    "tile and genes": (["-f", "FASTA", "-a", "GFF", "--tiles"], "--tiles ignores genes"),
    "step without tile": (["-f", "FASTA", "-a", "GFF", "--step", "5"], "--step is the distance between tiles"),
    "flank of tiles": (["-f", "FASTA", "--tiles", "--flank", "5"], "--flank applies only to genes"),
    "name of the output": (["-f", "FASTA", "--tiles", "-o", "x.csv"], "x.csv: the name should end in .bed, .tsv"),
    "two formats": (["-f", "FASTA", "--tiles", "-o", "x.bed", "--format", "tsv"], "drop one"),
    "unknown contig": (["-f", "FASTA", "--tiles", "--valid", "chr7"], "--valid chr7: the FASTA has no such contig"),
    "fractions": (["-f", "FASTA", "--tiles", "--valid-fraction", "0.9"], "nothing is left for training"),
    "min above max": (["-f", "FASTA", "--tiles", "-l", "8"], "expected 1 <= min <= max"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_says_what_to_do(genome: Path, annotation: Path, name: str) -> None:
    words, message = WRONG[name]
    files = {"FASTA": genome, "GFF": annotation}
    assert message in refusal(windows(*(files.get(word, word) for word in words)), UsageError)


def test_a_wrong_call_exits_with_2(home: Path) -> None:
    assert "pass exactly one of --fasta FILE" in one_clear_line(run_cli("windows", "--tiles", home=home), code=2)


def test_an_existing_file_stays_unless_forced(genome: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.bed"
    out.write_text("mine")
    words = ("-f", genome, "--tiles", "-o", out)
    assert "pass --force to replace it" in refusal(windows(*words), OutputError)
    assert out.read_text() == "mine"
    assert windows(*words, "--force").exception is None
    assert out.read_text().startswith("1\t0\t2000\t")


def test_a_biotype_that_no_gene_has(genome: Path, annotation: Path) -> None:
    result = windows("-f", genome, "-a", annotation, "--biotype", "lncRNA")
    assert "no gene has biotype lncRNA; its genes have (none)" in refusal(result, DataError)


def test_a_reader_that_leaves_is_no_error_to_explain(tmp_path: Path, home: Path) -> None:
    import subprocess

    from support import cli_environment, command

    # Of so many windows that a pipe does not hold them: the command is still writing when its reader leaves.
    genome = write_fasta(tmp_path / "genome.fa", {"1": random_bases(20_000, seed=1, letters="ACGT")})
    with subprocess.Popen(
        [command(), "windows", "-f", genome, "--tiles", "-l", "16", "--step", "1", "-q"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=cli_environment(home),
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


# Windows, by the rules of length and unknown bases, in odd files that the tests write and in those of public projects.
FASTA = {
    "fa_blank_between_records.fasta": (3, 3),
    "fa_dots_mixed_case.fa": (2, 9),
    "fa_unicode_header_lowercase.fasta": (4, 874),
    "fa_plain_gzip_chrI.fa.gz": (11, 2302),
}


@pytest.mark.parametrize("name", FASTA)
def test_odd_fasta(odd: Odd, name: str) -> None:
    result = windows("-f", odd / name, "--tiles", "-l", 100)
    assert result.exception is None
    assert len(result.stdout.splitlines()) == FASTA[name][0 if odd.written else 1]


def test_an_odd_fasta_from_the_shell(odd: Odd, home: Path) -> None:
    result = run_cli("windows", "-f", odd / "fa_dup_ids.fasta", "--tiles", home=home)
    assert "two records are named 'alpha', on lines 1 and 10" in one_clear_line(result, code=1)
    assert result.stdout == b""


ANNOTATIONS = {
    "gff_start_gt_end.gff": "line 1: start 1000 lies after end 500",
    "gff_empty_id_extra_comma.gff3": "have no contig in common (chr17; NC_001422.1 of 5,386)",
    "gff_spaces_in_attributes.gff3": "no genes: no rows of gene, transcript or CDS features; its features are contig",
    "gff_embedded_fasta.gff3": "have no contig in common (chr17; NC_001422.1 of 5,386)",
    "gff2_wormbase.txt": "are neither GFF3 (key=value) nor GTF",
    "gff_zero_based_start_pseudocircular.gff": "(NC_001422.1 of 5,522; NC_001422.1 of 5,386)",
    "bed_two_columns.bed": "line 1: 2 columns, but GTF and GFF3 have 9",
    "gb_protein_record.gb": "not GTF or GFF3 but GenBank",
    "fa_dup_ids.fasta": "not GTF or GFF3 but FASTA",
}


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_odd_annotations(odd: Odd, name: str) -> None:
    line = refusal(windows("-f", PHIX, "-a", odd / name), DataError)
    assert name in line
    assert ANNOTATIONS[name] in line


def test_genes_past_the_end_of_a_contig_are_warned_of_by_name(
    odd: Odd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fasta = write_fasta(tmp_path / "x.fa", {"chr17": random_bases(500, seed=1)})
    with caplog.at_level(logging.WARNING, "genoconv"):
        result = windows("-f", fasta, "-a", odd / "gff_embedded_fasta.gff3")
    assert "none of its genes lies completely on a contig of" in refusal(result, DataError)
    assert "skipped 1 gene past the end of contigs of" in caplog.text
    assert "chr17 (500 bases)" in caplog.text


def test_genes_that_cross_the_origin_of_a_circle_keep_both_ends_in_one_set() -> None:
    result = windows("-f", PHIX, "-a", PHIX.with_name("NC_001422.1.gff3.gz"), "--format", "tsv")
    rows = [line.split("\t") for line in result.stdout.splitlines()[1:]]
    parts = {row[4]: (int(row[1]), int(row[2]), row[5]) for row in rows if ":" in row[4]}
    assert {(name, start, end) for name, (start, end, _) in parts.items()} == {
        ("CDS-CDS2-2:1/2", 3980, 5386),
        ("CDS-CDS2-2:2/2", 0, 136),
        ("CDS-CDS3-3:1/2", 4496, 5386),
        ("CDS-CDS3-3:2/2", 0, 136),
        ("CDS-CDS4-4:1/2", 5074, 5386),
        ("CDS-CDS4-4:2/2", 0, 51),
    }
    assert len({split for _, _, split in parts.values()}) == 1
    assert len(rows) == 11 + 3


def test_a_full_disk_is_reported_in_our_words_alone(
    genome: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, most[1]))
    try:
        result = windows("-f", genome, "--tiles", "-l", 20, "-o", tmp_path / "o.tsv.gz", "--quiet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert isinstance(result.exception, OSError)
    assert "[E::" not in capfd.readouterr().err
