"""The Markov baselines: right on sequences whose best model is known, and the same as a plain count."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from train_runs import patterned_bases

from genoconv.tokens import A, N, T, Tokens, encode, reverse_complement
from genoconv.train.baselines import ORDERS, MarkovModels


def markov_perplexities(
    train: Sequence[Tokens], held_out: Sequence[Tokens], *, both_strands: bool = False
) -> list[float]:
    return MarkovModels(train, both_strands=both_strands).perplexities(held_out)


def random_windows(count: int, *, seed: int) -> list[Tokens]:
    draws = np.random.default_rng(seed)
    return [draws.integers(A, T + 1, 4000).astype(np.uint8) for _ in range(count)]


def test_random_sequence_has_perplexity_four_at_every_order() -> None:
    found = markov_perplexities(random_windows(40, seed=1), random_windows(10, seed=2))
    assert len(found) == len(ORDERS) == 9
    assert found == pytest.approx([4.0] * 9, rel=2e-3)


def test_a_first_order_chain_is_found_and_higher_orders_do_no_harm() -> None:
    train = [encode(patterned_bases(4000, seed=i)) for i in range(20)]
    held_out = [encode(patterned_bases(4000, seed=i)) for i in range(100, 120)]
    # Three quarters of the time the next of the cycle, else any of the four.
    stay, other = 0.75 + 0.25 / 4, 0.25 / 4
    truth = math.exp(-(stay * math.log(stay) + 3 * other * math.log(other)))
    found = markov_perplexities(train, held_out)
    assert found[0] == pytest.approx(4.0, rel=1e-3)
    assert found[1:] == pytest.approx([truth] * 8, rel=0.02)


def plain_order_one(train: list[Tokens], held_out: list[Tokens]) -> float:
    """Order 1 without smoothing, over pairs of known bases, counted one by one."""
    counts = np.zeros((4, 4))
    for window in train:
        for before, base in pairwise(window.tolist()):
            if A <= before <= T and A <= base <= T:
                counts[before - A, base - A] += 1
    table = counts / counts.sum(axis=1, keepdims=True)
    found = [
        -math.log(table[before - A, base - A])
        for window in held_out
        for before, base in pairwise(window.tolist())
        if A <= before <= T and A <= base <= T
    ]
    return math.exp(sum(found) / len(found))


def test_order_one_is_a_table_of_pairs() -> None:
    draws = np.random.default_rng(3)
    train = [encode(patterned_bases(length, seed=length)) for length in draws.integers(2, 700, 60).tolist()]
    held_out = [encode(patterned_bases(500, seed=9))]
    assert markov_perplexities(train, held_out)[1] == pytest.approx(plain_order_one(train, held_out), rel=1e-3)


def test_after_an_n_a_base_is_predicted_by_the_order_that_it_has_bases_for() -> None:
    train = [encode("ACGT" * 500)]
    held_out = encode("NACGTACGT")  # A after N: order 0; all others by what stands before them
    found = markov_perplexities(train, [held_out])
    assert found[8] == pytest.approx(4 ** (1 / 8), rel=0.02)
    assert held_out[0] == N


def test_the_first_base_of_a_window_is_no_target() -> None:
    train = [encode("ACGT" * 500)]
    assert markov_perplexities(train, [encode("ACGTACGT")])[2] == pytest.approx(1.0, rel=0.01)
    assert markov_perplexities(train, [encode("A"), encode("NNN")]) == []


def test_windows_do_not_run_into_each_other() -> None:
    train = [encode("AAAA")] * 200 + [encode("CCCC")] * 200
    assert markov_perplexities(train, [encode("AAAA"), encode("CCCC")])[1] == pytest.approx(1.0, abs=0.02)


def test_both_strands_know_the_other_strand() -> None:
    # A -> C -> T -> G -> A; the other strand reads C -> A -> G -> T -> C, which models of one strand never saw.
    swap = str.maketrans("GT", "TG")
    train = [encode(patterned_bases(4000, seed=i).translate(swap)) for i in range(10)]
    other = [reverse_complement(encode(patterned_bases(4000, seed=50).translate(swap)))]
    same = [encode(patterned_bases(4000, seed=50).translate(swap))]
    assert markov_perplexities(train, other)[1] > 5
    both = [markov_perplexities(train, held_out, both_strands=True)[1] for held_out in (same, other)]
    assert both[0] == pytest.approx(both[1], rel=0.01)
    assert both[1] < 3
