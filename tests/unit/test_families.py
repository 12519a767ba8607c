"""Which sequences are read from a suffix of their reference on."""

import numpy as np

from genoconv.tasks.families import Families

LENGTHS = np.array([64, 64, 64, 64, 80, 80])


def families(*pairs: tuple[int, int, int]) -> Families:
    return Families.of_pairs(np.array(pairs, np.int64).reshape(-1, 3), lengths=LENGTHS, starts={64: 20})


def test_alternatives_that_begin_behind_the_start_are_read_with_their_reference() -> None:
    found = families((3, 1, 40), (0, 2, 21), (3, 1, 30), (4, 5, 60))
    assert (found.refs.tolist(), found.alts.tolist(), found.firsts.tolist()) == ([0, 3], [2, 1], [21, 30])
    assert np.flatnonzero(found.members).tolist() == [0, 1, 2, 3]
    assert np.flatnonzero(found.whole).tolist() == [4]
    assert [one.tolist() for one in found.of(np.array([0, 3]))] == [[0, 1], [2, 1], [21, 30]]


def test_an_alternative_that_matters_earlier_to_another_variant_is_read_whole() -> None:
    found = families((0, 1, 40), (0, 1, 20), (0, 2, 30))
    assert found.alts.tolist() == [2]
    assert np.flatnonzero(found.whole).tolist() == [0]


def test_nothing_to_read_together() -> None:
    for found in (families(), families((0, 0, 40))):
        assert not len(found.refs)
        assert not found.members.any()
