"""Every odd VCF of the test data: what each should meet. Half through the installed command, half in this process."""

import re
from pathlib import Path

import pytest
from vcf_files import genome_for, info, lines, statuses, text, without_ours

from genoconv.errors import DataError
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.pipelines.score.run import score_variants
from support import one_clear_line, run_cli


@pytest.fixture
def score(model, home):
    def run(vcf, fasta, *options):
        return run_cli("score-variants", vcf, "-f", fasta, "-m", model, "-w", "64", "--explain", *options, home=home)

    return run


@pytest.fixture
def score_here(model, tmp_path):
    """The same without starting Python and torch again; returns the records that came out."""

    def run(vcf, fasta, **options):
        options = {"window": (64,), "explain": True, "output": tmp_path / "here.vcf", "force": True, **options}
        score_variants(ScoreOptions(vcf=vcf, fasta=fasta, model=model, **options))
        return lines(options["output"])

    return run


def survived(result, vcf: Path) -> list[str]:
    """The records that came out, after checking that nothing but our fields changed in any of them."""
    if not isinstance(result, list):
        assert result.returncode == 0, result.stderr.decode()
        result = lines(result.stdout)
    found = result
    before = lines(vcf)
    assert [without_ours(line) for line in found] == [without_ours(line) for line in before]
    return found


def test_not_a_vcf(odd, score, score_here):
    line = one_clear_line(score(odd / "vcf_zero_bytes.vcf", odd.genome), code=1)
    assert "vcf_zero_bytes.vcf: the file is empty (0 bytes)" in line
    with pytest.raises(DataError, match=r"vcf_is_git_lfs_pointer.vcf.gz: not VCF but a git-lfs pointer.*git lfs pull"):
        score_here(odd / "vcf_is_git_lfs_pointer.vcf.gz", odd.genome)


def test_carriage_returns(odd, score):
    vcf = odd / "vcf_crlf_records.vcf"
    result = score(vcf, odd.genome)
    assert b"\r" not in result.stdout
    assert statuses(survived(result, vcf)) == [["ok"]] * 40


def test_bgzf_without_its_end(odd, score_here, caplog):
    vcf = odd / "vcf_bgzf_no_eof.vcf.gz"
    found = score_here(vcf, odd.genome, window=(16,), strand="forward")
    assert "end-of-file marker" in caplog.text
    count = 2_000 if odd.written else 20_000
    assert len(survived(found, vcf)) == count
    assert sum(record == ["ok"] for record in statuses(found)) > 0.95 * count


def test_seven_columns_and_no_chrom_line(odd, score_here, caplog):
    vcf = odd / "vcf_no_chrom_line_7cols.vcf"
    found = score_here(vcf, odd.seven)
    assert statuses(found) == [["ok"]] * 8
    assert [without_ours(line) for line in found] == [line + "\t." for line in lines(vcf)]
    assert "no #CHROM line" in caplog.text


# file -> statuses expected of each record, in a genome made to fit; header lengths of far contigs are taken out.
FITTED = {
    "vcf_bad_header_trailing_tab.vcf": [["ok"]] * 5,
    "vcf_no_contig_lines.vcf": [["ok"]],
    "vcf_star_alleles.vcf": [["ok", "ok"], ["ok", "star"], ["ok", "ok", "star"]],
    # TCGGT and TG at one place: no genome fits both.
    "vcf_nonref_mnv_dups.vcf": [["symbolic"], ["ok"], ["ok"], ["ref_mismatch"], ["ok"]],
    "vcf_breakend.vcf": [["no_alt"], ["ok"], ["ok"], ["symbolic"]],
    "vcf_no_fileformat.vcf": [["ok"]] * 34 + [["symbolic"]],
    "vcf_multi_contig.vcf.gz": None,
}


@pytest.mark.parametrize("name", list(FITTED))
def test_in_a_genome_that_fits(odd, score_here, tmp_path, name):
    vcf = tmp_path / name.removesuffix(".gz")
    vcf.write_text(re.sub(r",length=\d+", "", text(odd / name)))
    found = survived(score_here(vcf, genome_for(lines(vcf), tmp_path / "g.fa")), vcf)
    if FITTED[name] is not None:
        assert statuses(found) == FITTED[name]
    for line in found:
        values = info(line)
        alts = line.split("\t")[4].split(",")
        if alts != ["."]:
            assert len(values["GCONV_LLR"].split(",")) == len(alts)
            for score_, status in zip(values["GCONV_LLR"].split(","), values["GCONV_STATUS"].split(","), strict=True):
                assert (score_ == ".") == (status != "ok")


def test_ref_dot_lower_case_and_n(odd, score_here, tmp_path):
    vcf = odd / "vcf_ref_dot_and_n.vcf"
    found = survived(score_here(vcf, genome_for(lines(vcf), tmp_path / "g.fa")), vcf)
    assert statuses(found) == [
        ["ok", "ok"],
        ["non_acgt"],  # REF .
        ["symbolic"],  # REF n
        ["ok"],  # REF t
        ["ok"],
        ["ref_mismatch"],  # gact, where the record before has c
        ["no_alt"],
        ["ok", "ok", "ok", "ok"],
    ]


def test_unsorted_keeps_its_order(odd, score_here, tmp_path, caplog):
    vcf = odd / "vcf_unsorted.vcf"
    out = tmp_path / "out.vcf.gz"
    # Positions repeat with the same REF, so one genome fits them all.
    score_here(vcf, genome_for(lines(vcf), tmp_path / "g.fa"), output=out)
    assert [without_ours(line) for line in lines(out)] == lines(vcf)
    assert "not sorted" in caplog.text
    assert not (tmp_path / "out.vcf.gz.tbi").exists()


def test_bcf_and_vcf_twins_agree(odd, score_here, tmp_path):
    twins = [odd / "vcf_multi_contig.vcf.gz", odd / "vcf_multi_contig.bcf"]
    genome = genome_for(lines(twins[0]), tmp_path / "g.fa")
    one, two = (score_here(twin, genome) for twin in twins)
    assert len(one) == 9
    assert one == two


def test_gvcf_blocks_are_quick(odd, score_here):
    vcf = odd / "vcf_gvcf_29884_blocks.vcf.gz"
    found = survived(score_here(vcf, odd.genome), vcf)
    assert len(found) == 29884
    assert {status for record in statuses(found) for status in record} == {"symbolic"}
    assert all(set(info(line)["GCONV_LLR"].split(",")) == {"."} for line in found)


def test_no_alt_anywhere(odd, score_here):
    vcf = odd / "vcf_alt_dot.vcf"
    assert statuses(survived(score_here(vcf, odd / "vcf_alt_dot.fa"), vcf)) == [["no_alt"]] * 5


def test_near_the_end_of_a_short_contig(odd, score_here):
    vcf = odd / "vcf_v43_star_near_end.vcf.gz"
    result = score_here(vcf, odd / "vcf_v43_star_near_end.fa", window=(1024,))
    assert statuses(survived(result, vcf)) == [["ok"], ["ok", "star"], ["ok"]]


def test_positions_beyond_two_to_the_29(odd, score, score_here, tmp_path):
    vcf = odd / "vcf_no_fileformat_tabix_impossible.vcf.gz"
    small = tmp_path / "small.fa"
    small.write_text(">1\n" + "ACGT" * 100 + "\n")
    with pytest.raises(DataError, match=r"37 of the first 37 records.*another assembly"):
        score_here(vcf, small)
    out = tmp_path / "out.vcf.gz"
    result = score(vcf, small, "--ref-mismatch", "skip", "-o", out)
    assert result.returncode == 0, result.stderr.decode()
    found = lines(out)
    assert [without_ours(line) for line in found] == lines(vcf)
    assert {status for record in statuses(found) for status in record} == {"ref_mismatch"}
    # Five are named, all are counted.
    assert result.stderr.decode().count("not scored: outside the contig, which has 400 bases") == 5
    # 37 records, 40 alleles.
    assert "40 ref_mismatch" in result.stderr.decode()
    import pysam

    with pysam.TabixFile(str(out), index=str(out) + ".csi") as indexed:
        assert len(list(indexed.fetch("1", 1206810000, 1206820000))) > 0
