"""Batches hold every window once, are never too large, waste little, and are the same when a run is resumed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genoconv.errors import UsageError
from genoconv.genome.windows.batches import batch_plan, expected_padding, pad_batch, padding_fraction
from genoconv.tokens import PAD


@settings(max_examples=80, deadline=None)
@given(lengths=st.lists(st.integers(1, 500), max_size=200), seed=st.integers(0, 3), epoch=st.integers(0, 3))
def test_every_window_once_and_none_too_many(lengths: list[int], seed: int, epoch: int) -> None:
    batches = batch_plan(lengths, tokens_per_batch=1000, seed=seed, epoch=epoch)
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[number] for number in batch)
        assert len(batch) * longest <= 1000
        assert 2 * min(lengths[number] for number in batch) >= longest
    assert batches == batch_plan(lengths, tokens_per_batch=1000, seed=seed, epoch=epoch)


@settings(max_examples=80, deadline=None)
@given(lengths=st.lists(st.integers(1, 500), max_size=200), seed=st.integers(0, 3), epoch=st.integers(0, 3))
def test_packed_batches_have_every_window_once_and_little_room(lengths: list[int], seed: int, epoch: int) -> None:
    batches = batch_plan(lengths, tokens_per_batch=1000, seed=seed, epoch=epoch, packed=True)
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    sums = sorted(sum(lengths[number] for number in batch) for batch in batches)
    assert all(total <= 1000 for total in sums)
    assert len(sums) < 2 or sums[0] + sums[1] > 1000 or len(lengths) > 64  # two of one pool would have been one
    assert batches == batch_plan(lengths, tokens_per_batch=1000, seed=seed, epoch=epoch, packed=True)


def test_packed_batches_of_genes_are_full() -> None:
    lengths = np.random.default_rng(0).lognormal(8, 1.2, 5000).astype(int).clip(100, 32768).tolist()
    batches = batch_plan(lengths, tokens_per_batch=65536, seed=0, epoch=0, packed=True)
    assert sum(lengths) / 65536 / len(batches) > 0.97


def test_expected_padding_is_that_of_padded_batches() -> None:
    lengths = np.random.default_rng(0).lognormal(8, 1.2, 300).astype(int).clip(100, 32768).tolist()
    plan = batch_plan(lengths, tokens_per_batch=262144, seed=1, epoch=0)
    found = expected_padding(lengths, tokens_per_batch=262144)
    assert found == pytest.approx(padding_fraction(plan, lengths), abs=0.03)
    assert expected_padding([*lengths, 300_000], tokens_per_batch=262144) > 0  # a longer window is a batch by itself
    assert expected_padding([700] * 9, tokens_per_batch=1000) == expected_padding([], tokens_per_batch=10) == 0


def test_little_is_padding_where_lengths_are_those_of_genes() -> None:
    lengths = np.random.default_rng(0).lognormal(8, 1.2, 5000).astype(int).clip(100, 32768).tolist()
    batches = batch_plan(lengths, tokens_per_batch=65536, seed=0, epoch=0)
    assert padding_fraction(batches, lengths) < 0.05
    in_order = [list(range(start, min(start + 2, 5000))) for start in range(0, 5000, 2)]
    assert padding_fraction(in_order, lengths) > 0.3


def test_epochs_and_seeds_differ() -> None:
    lengths = [10] * 100
    plans = [batch_plan(lengths, tokens_per_batch=100, seed=s, epoch=e) for s, e in [(0, 0), (0, 1), (1, 0)]]
    assert plans[0] != plans[1] != plans[2] != plans[0]


def test_batches_of_like_length_do_not_come_in_order_of_length() -> None:
    lengths = list(range(1, 501))
    longest = [lengths[batch[0]] for batch in batch_plan(lengths, tokens_per_batch=1000, seed=0, epoch=0)]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))


def test_padding_fraction_by_hand() -> None:
    assert padding_fraction([[0, 1], [2]], [4, 2, 6]) == pytest.approx(2 / 14)
    assert padding_fraction([], []) == 0


def test_a_window_larger_than_a_batch_is_named() -> None:
    with pytest.raises(UsageError, match=r"window 1 has 2,000 tokens, more than the 1,000 of a batch"):
        batch_plan([5, 2000], tokens_per_batch=1000, seed=0, epoch=0)
    assert batch_plan([1000], tokens_per_batch=1000, seed=0, epoch=0) == [[0]]
    with pytest.raises(UsageError, match=r"window 0 has 1,001 tokens"):
        batch_plan([1001], tokens_per_batch=1000, seed=0, epoch=0)


def test_padding_is_on_the_right() -> None:
    rows = [np.array([7, 8], np.uint8), np.array([9, 10, 11], np.uint8)]
    assert pad_batch(rows).tolist() == [[7, 8, PAD], [9, 10, 11]]
    assert pad_batch(rows, length=4).tolist() == [[7, 8, PAD, PAD], [9, 10, 11, PAD]]
    assert pad_batch(rows[:1] * 2, length=2).tolist() == [[7, 8], [7, 8]]
    assert pad_batch([rows[0][:0]], length=0).shape == (1, 0)
    with pytest.raises(UsageError, match="a sequence of 3 tokens does not fit into a batch of length 2"):
        pad_batch(rows, length=2)
