"""Records that come again in another split: near duplicates count, what the whole genome repeats does not."""

import numpy as np
import pytest
from fasta_files import random_bases

from genoconv.pipelines.finetune.leaks import find_leaks
from genoconv.tokens import encode, reverse_complement


@pytest.mark.parametrize(("records", "near"), [(10, 8), (64, 62), (65, 0)])
def test_a_stretch_that_many_records_share_says_nothing(records: int, near: int) -> None:
    shared = random_bases(60, seed=1, letters="ACGT")
    sequences = [encode(shared + random_bases(30, seed=n, letters="ACGT")) for n in range(2, records + 2)]
    train = np.arange(records) >= 2
    found = find_leaks(sequences, train)
    assert (len(found.exact), len(found.near), found.held_out) == (0, near, 2 if near else 0)


def test_the_other_strand_is_the_same_record() -> None:
    one, other = (encode(random_bases(40, seed=n, letters="ACGT")) for n in (1, 2))
    found = find_leaks([one, other, reverse_complement(one)], np.array([True, True, False]))
    assert found.exact.tolist() == [0]
    assert found.held_out == 1


def test_a_record_within_a_longer_one_is_nearly_the_same() -> None:
    whole = random_bases(200, seed=3, letters="ACGT")
    found = find_leaks([encode(whole), encode(whole[80:120])], np.array([True, False]))
    assert (found.exact.tolist(), found.near.tolist(), found.held_out) == ([], [0], 1)
