"""Contigs are found under their other names, and never where lengths say that they are not the same."""

from pathlib import Path

import pytest
from fasta_files import write_fasta
from hypothesis import given
from hypothesis import strategies as st

from genoconv import contigs
from genoconv.contigs import ContigFinder, match_contigs, require_contigs
from genoconv.errors import DataError
from genoconv.genome.annotation.features import Features
from genoconv.genome.fasta.access import Fasta
from genoconv.variants.reader import open_variants
from genoconv.variants.selection import VcfContigs


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("chr1", "chr1"),
        ("1", "chr1"),
        ("chr1", "1"),
        ("Chr1", "1"),
        ("MT", "chrM"),
        ("chrM", "MT"),
        ("M", "mito"),
        ("NC_000001.11", "chr1"),
        ("NC_000001.11", "1"),
        ("chrX", "NC_000023.11"),
        ("NC_012920.1", "chrM"),
        ("NC_000067.7", "chr1"),
        ("NC_000086.8", "X"),
        ("NC_001133.9", "chrI"),
        ("chrXVI", "NC_001148.4"),
        ("NC_000913.3", "NC_000913"),
    ],
)
def test_names_of_one_contig(query: str, target: str) -> None:
    assert match_contigs({query: None}, {target: 5, "other": 7}) == {query: target}
    assert match_contigs({query: 5}, {target: 5}) == {query: target}
    assert match_contigs({query: 6}, {target: 5}) == {}
    assert ContigFinder(["other", target]).find(query) == target


@pytest.mark.parametrize(
    ("query", "target"),
    [("chr1", "chr11"), ("c1", "1"), ("chr", ""), ("NC_000001.10", "NC_000001.11"), ("scaffold.1", "scaffold.2")],
)
def test_names_of_two_contigs(query: str, target: str) -> None:
    assert match_contigs({query: None}, {target: 5}) == {}
    assert ContigFinder([target]).find(query) is None


def test_the_strictest_rule_wins_and_no_contig_is_found_twice() -> None:
    assert match_contigs({"22": None, "chr22": None}, {"chr22": 2}) == {"chr22": "chr22"}
    assert match_contigs({"chr22": None}, {"22": 1, "chr22": 2}) == {"chr22": "chr22"}
    assert match_contigs({"chr22": None}, {"22": 1, "Chr22": 2}) == {}


def test_two_names_of_one_contig_where_each_is_looked_up_by_itself() -> None:
    mixed = {"chr9": None, "9": None, "NC_000009.12": None, "chrM": None, "MT": None, "x": None}
    found = match_contigs(mixed, {"9": 100, "chrM": 5}, each=True)
    assert found == {"chr9": "9", "9": "9", "NC_000009.12": "9", "chrM": "chrM", "MT": "chrM"}
    assert match_contigs(mixed, {"9": 100, "chrM": 5}) == {"9": "9", "chrM": "chrM"}


def test_aliases_of_an_assembly() -> None:
    aliases = {"GL000207.1": "chr18_gl000207_random", "CM000663.2": "chr1"}
    found = match_contigs(
        {"GL000207.1": 4262, "CM000663.2": None}, {"chr1": 9, "chr18_gl000207_random": 4262}, aliases=aliases
    )
    assert found == {"GL000207.1": "chr18_gl000207_random", "CM000663.2": "chr1"}


@given(st.dictionaries(st.text("chrMT12X.", min_size=1, max_size=5), st.integers(1, 5), max_size=6))
def test_a_file_matches_itself(contigs: dict[str, int]) -> None:
    assert match_contigs(contigs, contigs) == {name: name for name in contigs}


@given(st.lists(st.sampled_from(["1", "chr1", "Chr1", "MT", "chrM", "M", "NC_1.1", "NC_1.2", "NC_000001.9", "a"])))
def test_each_of_many_names_is_found_as_if_it_came_alone(target: list[str]) -> None:
    aliases = {"a": "NC_1.1"}
    finder = ContigFinder(dict.fromkeys(target), aliases=aliases)
    for name in ("chr1", "1", "MT", "NC_1.1", "NC_1", "NC_000001.10", "a", "b"):
        alone = match_contigs({name: None}, dict.fromkeys(target, 1), aliases=aliases)
        assert finder.find(name) == finder.find(name) == alone.get(name)


def test_hundreds_of_names_among_hundreds_of_contigs_take_one_look_at_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaffolds = [f"scaffold_{number}" for number in range(400)]
    header = "".join(f"##contig=<ID={name},length=9>\n" for name in scaffolds)
    vcf, gff = tmp_path / "a.vcf", tmp_path / "a.gff3"
    vcf.write_text(f"##fileformat=VCFv4.2\n{header}#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    gff.write_text(
        "".join(f"{name}\tx\tgene\t1\t9\t.\t+\t.\tID=g\n{name}\tx\tCDS\t1\t9\t.\t+\t0\tID=c\n" for name in scaffolds)
    )
    fasta = Fasta(write_fasta(tmp_path / "a.fa", dict.fromkeys(scaffolds, "ACGTACGTA")))
    looks = []
    monkeypatch.setattr(contigs, "_names", lambda *name, of=contigs._names: looks.append(name) or of(*name))
    in_vcf = VcfContigs(open_variants(vcf))
    assert [in_vcf.find(name) for name in scaffolds] == scaffolds
    assert len(Features(fasta, gff, aliases={}).stretches("cds")) == len(scaffolds)
    assert 0 < len(looks) < 20 * len(scaffolds)


def test_nothing_in_common_shows_both_sides() -> None:
    with pytest.raises(DataError, match=r"a.gtf and b.fa have no contig in common \(x of 3, y; chr1 of 1,000\)"):
        require_contigs({"x": 3, "y": None}, {"chr1": 1000}, query_source="a.gtf", target_source="b.fa")
    assert require_contigs({}, {"chr1": 1}, query_source="a", target_source="b") == {}
