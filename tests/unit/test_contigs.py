"""Contigs are found under their other names, and never where lengths say that they are not the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genoconv.contigs import match_contigs, require_contigs
from genoconv.errors import DataError


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


@pytest.mark.parametrize(
    ("query", "target"),
    [("chr1", "chr11"), ("c1", "1"), ("chr", ""), ("NC_000001.10", "NC_000001.11"), ("scaffold.1", "scaffold.2")],
)
def test_names_of_two_contigs(query: str, target: str) -> None:
    assert match_contigs({query: None}, {target: 5}) == {}


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


def test_nothing_in_common_shows_both_sides() -> None:
    with pytest.raises(DataError, match=r"a.gtf and b.fa have no contig in common \(x of 3, y; chr1 of 1,000\)"):
        require_contigs({"x": 3, "y": None}, {"chr1": 1000}, query_source="a.gtf", target_source="b.fa")
    assert require_contigs({}, {"chr1": 1}, query_source="a", target_source="b") == {}
