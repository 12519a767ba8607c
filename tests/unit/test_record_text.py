"""What is added to INFO of a record, and which items of it are dropped."""

import pytest

from genoconv.variants.records import Record
from genoconv.variants.writer import RecordText

KEYS = frozenset({"GCONV_LLR", "GCONV_PCT"})


def info(before: str, added: str, *, replaced: frozenset[str] = KEYS) -> str:
    record = Record("c", 4, "A", ("C",), f"c\t5\t.\tA\tC\t.\tPASS\t{before}\tGT\t0|1")
    *first, after, last, sample = (
        RecordText([], kind="v", replaced=replaced)(record, added).decode().rstrip("\n").split("\t")
    )
    assert [*first, last, sample] == ["c", "5", ".", "A", "C", ".", "PASS", "GT", "0|1"]
    return after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("AC=1;DB", "AC=1;DB;NEW=1"),
        (".", "NEW=1"),
        ("", "NEW=1"),
        (";AC=1;;DB;", "AC=1;DB;NEW=1"),
        ("AC=1;.;DB", "AC=1;DB;NEW=1"),
        ("AC=.;AF=.", "AC=.;AF=.;NEW=1"),
        ("GCONV_LLR=0.5;AC=1", "AC=1;NEW=1"),
        ("AC=1;GCONV_PCT;GCONV_LLR=1,2", "AC=1;NEW=1"),
        ("GCONV_LLR=0.5", "NEW=1"),
        ("GCONV_LLR_9=3;XGCONV_LLR=2;AC=GCONV_LLR", "GCONV_LLR_9=3;XGCONV_LLR=2;AC=GCONV_LLR;NEW=1"),
    ],
)
def test_items_of_ours_and_empty_ones_are_dropped(before: str, after: str) -> None:
    assert info(before, "NEW=1") == after


def test_nothing_to_add() -> None:
    assert info("AC=1;GCONV_LLR=3", "") == "AC=1"
    assert info("GCONV_LLR=3", "") == "."
    assert info(";AC=1;", "", replaced=frozenset()) == ";AC=1;"
    assert info("GCONV_LLR=3;KEY", "NEW=1;FLAG", replaced=frozenset()) == "GCONV_LLR=3;KEY;NEW=1;FLAG"


def test_keys_that_no_reader_takes_are_escaped() -> None:
    assert info("A<B=1,2;AF=0.1,0.2", "NEW=1") == "A%3CB=1,2;AF=0.1,0.2;NEW=1"
