"""Rows of different lengths in one array are taken and filled as if each were an array of its own."""

import numpy as np
import pytest
from fasta_files import random_bases, write_fasta

from genoconv import tokens
from genoconv.genome.fasta.access import Fasta
from genoconv.tasks.rows import Rows, spread
from genoconv.tokens import PAD
from genoconv.variants.reference import Reference

RNG = np.random.default_rng(8)
SEQUENCES = [RNG.integers(7, 12, length).astype(np.uint8) for length in (9, 9, 5, 9, 1, 12)]


@pytest.fixture
def rows() -> Rows[np.uint8]:
    return Rows.of([np.stack(SEQUENCES[:2]), *SEQUENCES[2:]], dtype=np.uint8)


def test_rows_are_those_of_the_blocks(rows: Rows[np.uint8]) -> None:
    assert len(rows) == 6
    assert [row.tolist() for row in rows] == [one.tolist() for one in SEQUENCES]
    assert len(Rows.of([], dtype=np.uint8)) == 0


@pytest.mark.parametrize(("wanted", "length", "first"), [([3, 0, 1], 9, 0), ([3, 0, 1], 9, 4), ([5, 2, 4], 12, 2)])
def test_taken_rows_are_padded(rows: Rows[np.uint8], wanted: list[int], length: int, first: int) -> None:
    found = rows.taken(np.array(wanted), length, first=first)
    assert found.shape == (3, length - first)
    for row, number in zip(found, wanted, strict=True):
        expected = SEQUENCES[number][first:length].tolist()
        assert row.tolist() == expected + [PAD] * (length - first - len(expected))


@pytest.mark.parametrize("wanted", [[3, 0, 1], [5, 2, 4]])
def test_filled_rows_leave_the_others_alone(rows: Rows[np.uint8], wanted: list[int]) -> None:
    values = RNG.normal(size=(3, 7)).astype(np.float32)
    found = rows.zeros(np.float32)
    found.put(np.array(wanted), values, first=2)
    for number, row in enumerate(found):
        expected = np.zeros(len(SEQUENCES[number]), np.float32)
        if number in wanted:
            some = values[wanted.index(number)][: max(0, len(expected) - 2)]
            expected[2 : 2 + len(some)] = some
        assert row.tolist() == expected.tolist()


def test_ranges_one_after_another() -> None:
    assert spread(np.array([3, 9, 0]), np.array([5, 9, 3])).tolist() == [3, 4, 0, 1, 2]


def test_many_places_of_a_contig_are_those_read_one_by_one(tmp_path) -> None:
    text = random_bases(200_000, seed=3, letters="ACGTN")
    reference = Reference(Fasta(write_fasta(tmp_path / "g.fa", {"c": text})))
    starts = np.array([199_000, 0, 65_535, 65_530, 131_072, 65_536, 0])
    for start, row in zip(starts.tolist(), reference.windows("c", starts, 1000), strict=True):
        assert tokens.decode(row) == text[start : start + 1000].upper()
    positions = np.array([-1, 0, 65_536, 199_999, 200_000, 70_000])
    found = reference.bases_at("c", positions)
    assert found[[0, 4]].tolist() == [0, 0]
    assert tokens.decode(found[[1, 2, 3, 5]]) == "".join(text[p] for p in (0, 65_536, 199_999, 70_000)).upper()
