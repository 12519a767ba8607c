"""Counts, lists of names and suggestions read as English, whatever the numbers and names are."""

from pathlib import Path

import pytest

from genoconv.wording import count, did_you_mean, listed, nearest, shell


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 genes"), (1, "1 gene"), (2, "2 genes"), (12_000, "12,000 genes"), (-1, "-1 genes")]
)
def test_count(number: int, words: str) -> None:
    assert count(number, "gene") == words


def test_a_recommended_command_can_be_typed() -> None:
    assert shell("genoconv", "train", "--resume", Path("my runs/a")) == "genoconv train --resume 'my runs/a'"
    assert shell("genoconv", "train", "--resume", "runs/a") == "genoconv train --resume runs/a"


def test_count_with_a_plural_of_its_own() -> None:
    assert [count(n, "copy", "copies") for n in (1, 2)] == ["1 copy", "2 copies"]


def test_listed_names_a_few_and_counts_the_rest() -> None:
    assert listed([]) == ""
    assert listed("abcde") == "a, b, c, d, e"
    assert listed("abcdef") == "a, b, c, d, e and 1 more"
    assert listed(map(str, range(2000)), limit=2) == "0, 1 and 1,998 more"


def test_listed_names_cannot_steer_a_terminal() -> None:
    assert listed(["a\x1b[2J", "b\nc"]) == "a\\x1b[2J, b\\nc"


def test_suggestions() -> None:
    assert nearest("sacer3", ["hg38", "saccer3"]) == "saccer3"
    assert nearest("zebra", ["hg38", "saccer3"]) is None
    assert did_you_mean("optim.lrr", ["optim.lr", "run.seed"]) == "; did you mean optim.lr?"
    assert did_you_mean("x", ["optim.lr"]) == ""
