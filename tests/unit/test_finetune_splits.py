"""Which records of a table are for training, validation and test."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genoconv.errors import DataError, UsageError
from genoconv.pipelines.finetune.splits import by_contig, check, from_column, stratified


def places(count: int) -> list[str]:
    return [f"t.csv: line {number}" for number in range(2, count + 2)]


def test_a_column_names_splits_as_people_write_them() -> None:
    values = ["Train", "training", "dev", "VAL", "holdout", "held-out"]
    splits, rule = from_column(values, where=places(6))
    assert splits.tolist() == ["train", "train", "valid", "valid", "test", "test"]
    assert rule == "the split column"
    with pytest.raises(DataError, match=r"t\.csv: line 3: split 'tets'; expected train, valid or test"):
        from_column(["train", "tets"], where=places(2))


@pytest.mark.parametrize("form", ["{}", "fold{}", "fold_{}", "cv {}", "{}.0"])
def test_the_last_folds_are_for_test_and_validation(form: str) -> None:
    values = [form.format(number) for number in (10, 2, 9, 2, 1)]
    splits, rule = from_column(values, where=places(5))
    assert splits.tolist() == ["test", "train", "valid", "train", "train"]
    assert form.format(10) in rule
    named, _ = from_column(values, where=places(5), valid=[form.format(1)], test=[form.format(2)])
    assert named.tolist() == ["train", "test", "train", "test", "valid"]


def test_two_numbers_are_not_folds() -> None:
    with pytest.raises(DataError, match="line 2: split '0'"):
        from_column(["0", "1"], where=places(2))


@pytest.mark.parametrize(
    ("valid", "test", "message"),
    [
        (["chr99"], [], r"--valid chr99: no record on that contig; did you mean chr9\?"),
        ([], ["x"], "--test x: no record on that contig"),
        (["chr9"], ["chr9"], "chr9: named by both --valid and --test"),
        (["chr1", "chr2", "chr9"], [], "3 contigs cannot be divided into training and validation"),
    ],
)
def test_contigs_that_cannot_be_divided(valid: list[str], test: list[str], message: str) -> None:
    contigs = ["chr1"] * 5 + ["chr2"] * 5 + ["chr9"] * 5
    with pytest.raises(UsageError, match=message):
        by_contig(contigs, valid=valid, test=test, fractions=(0.1, 0.1), seed=0)


def test_a_contig_that_is_named_is_all_of_its_split() -> None:
    contigs = [f"chr{number}" for number in range(1, 11) for _ in range(10)]
    found = by_contig(contigs, valid=["chr3"], test=[], fractions=(0.4, 0.2), seed=1)
    of = dict(zip(contigs, found.tolist(), strict=True))
    assert [contig for contig, split in of.items() if split == "valid"] == ["chr3"]
    assert Counter(of.values())["test"] == 2
    both = by_contig(contigs, valid=["chr3"], test=["chr4"], fractions=(0.4, 0.4), seed=1)
    assert Counter(both.tolist()) == {"train": 80, "valid": 10, "test": 10}


@given(
    sizes=st.lists(st.integers(1, 40), min_size=6, max_size=25),
    seed=st.integers(0, 5),
)
def test_contigs_are_whole_and_shares_are_near(sizes: list[int], seed: int) -> None:
    contigs = [f"c{number}" for number, size in enumerate(sizes) for _ in range(size)]
    found = by_contig(contigs, valid=[], test=[], fractions=(0.2, 0.2), seed=seed)
    assert all(len(set(found[[c == contig for c in contigs]].tolist())) == 1 for contig in set(contigs))
    counts = Counter(found.tolist())
    assert counts["train"] > 0
    assert counts["valid"] > 0
    assert max(counts["test"], counts["valid"]) < round(0.2 * len(contigs)) + max(sizes)


def test_every_class_gives_its_share() -> None:
    groups = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    found = stratified(groups, fractions=(0.1, 0.2), seed=3)
    for group, size in (("a", 60), ("b", 30), ("c", 10)):
        counts = Counter(split for split, name in zip(found.tolist(), groups, strict=True) if name == group)
        assert (counts["valid"], counts["test"]) == (size // 10, size // 5)
    assert found.tolist() == stratified(groups, fractions=(0.1, 0.2), seed=3).tolist()
    assert found.tolist() != stratified(groups, fractions=(0.1, 0.2), seed=4).tolist()


def test_only_some_records_may_leave_training() -> None:
    may = np.arange(100) % 2 == 0
    found = stratified(["a"] * 100, fractions=(0.3, 0.3), seed=0, among=may)
    assert set(found[~may].tolist()) == {"train"}
    assert Counter(found[may].tolist()) == {"train": 20, "valid": 15, "test": 15}


@pytest.mark.parametrize(("splits", "what"), [(["train", "test"], "validation"), (["valid", "test"], "training")])
def test_a_division_without_a_set_is_refused(splits: list[str], what: str) -> None:
    check(np.array(["train", "valid"]), source="t.csv")
    with pytest.raises(DataError, match=rf"t\.csv: no record for {what}; change the splits"):
        check(np.array(splits), source="t.csv")
