"""Plain features of every base, and the bases that a sample of a data set holds."""

from typing import Any

import numpy as np
import pytest

from genoconv.pipelines.finetune import base_vectors
from genoconv.pipelines.finetune.base_baselines import gc_around, letters_around
from genoconv.tokens import encode

RNG = np.random.default_rng(4)


def test_the_share_of_g_and_c_is_that_of_the_bases_within_fifty() -> None:
    text = "".join(RNG.choice(list("ACGTN"), 180, p=[0.2, 0.3, 0.25, 0.2, 0.05]))
    (found,) = gc_around([encode(text)])
    assert found.shape == (180, 1)
    for place in range(180):
        near = text[max(0, place - 50) : place + 51]
        known = sum(near.count(base) for base in "ACGT")
        assert found[place, 0] == pytest.approx((near.count("G") + near.count("C")) / known, abs=1e-6)
    (unknown,) = gc_around([encode("NNN")])
    assert unknown.tolist() == [[0], [0], [0]]


def test_letters_around_a_base_are_one_hot_and_zero_beyond_the_ends() -> None:
    first, second = letters_around(1)([encode("ACN"), encode("T")])
    columns = {letter: slice(3 * number, 3 * number + 3) for number, letter in enumerate("ACGT")}
    assert first[:, columns["A"]].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert first[:, columns["C"]].tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert first.sum() == 5
    assert second[0, columns["T"]].tolist() == [0, 1, 0]


class _Labels:
    """Every record has a target at all its bases but each fifth."""

    def __init__(self, lengths: list[int]) -> None:
        self.targets = [np.arange(length, dtype=np.float32)[:, None] + 1000 * n for n, length in enumerate(lengths)]

    def has_target(self, number: int) -> np.ndarray:
        return np.arange(len(self.targets[number])) % 5 != 0


@pytest.mark.parametrize("most", [7, 40, 1000])
def test_a_sample_is_evenly_spaced_over_all_records(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    lengths = [13, 50, 3, 1, 90]
    labels = _Labels(lengths)
    monkeypatch.setattr(base_vectors, "labels_of", lambda session: labels)
    session: Any = type("Session", (), {"data": type("Data", (), {"sequences": [encode("A" * n) for n in lengths]})})
    members = np.array([0, 1, 2, 3, 4])
    found = base_vectors.sample(session, members, most=most)
    every = np.concatenate([labels.targets[n][labels.has_target(n)] for n in range(5)])
    step = -(-len(every) // most)
    np.testing.assert_array_equal(found.targets, every[::step])
    assert sum(map(len, found.places)) == len(found.targets)
    assert all(len(tokens) > places.max() for tokens, places in zip(found.sequences, found.places, strict=True))
