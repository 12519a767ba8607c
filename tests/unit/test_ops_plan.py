"""Plans are decided from numbers alone: whatever the length and the card, they are consistent and can be read."""

from dataclasses import FrozenInstanceError
from itertools import product
from math import prod

import pytest

from genoconv.errors import UsageError
from genoconv.ops.longconv.one_sm.blocks import DTYPES, SIZES
from genoconv.ops.longconv.one_sm.plan import FITS, KERNELS, Plan, choose_plan, longest

CARDS = {227: 32768, 163: 16384, 99: 8192}
"""KB of shared memory that a block may use, and the longest row that such a card serves."""

LENGTHS = sorted({1, 2, 3, 7, 100, 160, 1000, 5000, 20000, 31337} | {s + d for s in SIZES for d in (-1, 0, 1)})


def plans() -> list[Plan]:
    return [
        choose_plan(N, dtype=dtype, smem_per_block=kilobytes * 1024, sm_count=sm_count)
        for kilobytes, limit in CARDS.items()
        for N in LENGTHS
        if limit >= N
        for dtype in DTYPES
        for sm_count in (1, 84, 132)
    ]


@pytest.mark.parametrize(("kilobytes", "limit"), CARDS.items())
def test_the_longest_row_of_a_card(kilobytes: int, limit: int) -> None:
    assert longest(kilobytes * 1024) == limit
    assert choose_plan(limit, smem_per_block=kilobytes * 1024).size == limit
    with pytest.raises(UsageError, match=rf"{limit + 1:,} samples exceed the {limit:,}.*{kilobytes} KB.*'torch'"):
        choose_plan(limit + 1, smem_per_block=kilobytes * 1024)


def test_no_card_at_all() -> None:
    assert longest(1024) == 0


def test_every_plan_is_consistent() -> None:
    for plan in plans():
        assert plan.length <= plan.size < 2 * max(plan.length, 256)
        assert prod(plan.radices) == plan.size == 256 * plan.radix * plan.split
        for name in KERNELS:
            for fit, gate_in, gate_out in product(FITS, (True, False), (True, False)):
                kernel = plan.kernel(name, fit=fit, gate_in=gate_in, gate_out=gate_out)
                assert kernel.name == name
                assert 0 < kernel.smem_bytes <= plan.smem
                assert kernel.threads % 32 == 0
                assert kernel.threads <= 1024
                assert list(kernel.defines) == sorted(kernel.defines)
                assert hash(kernel) == hash(plan.kernel(name, fit=fit, gate_in=gate_in, gate_out=gate_out))


def test_rows_choose_kernels_and_filters_do_not() -> None:
    plan = choose_plan(1000)
    for name in ("forward", "backward"):
        assert len({plan.kernel(name, fit=fit, gate_in=g) for fit in FITS for g in (True, False)}) == 6
    half = choose_plan(1000, dtype="float16")
    for name in ("spectrum", "filter_grad"):
        assert plan.kernel(name, fit="ragged", gate_in=False) == half.kernel(name)


def test_rows_that_fill_every_step_need_no_masks() -> None:
    plan = choose_plan(1024)
    for block in (plan.forward, plan.backward):
        assert plan.fit(block, 3 * block.rows, aligned=True) == "whole"
        assert plan.fit(block, 3 * block.rows + 1, aligned=True) == "aligned"
        assert plan.fit(block, 3 * block.rows, aligned=False) == "ragged"
        assert choose_plan(1016).fit(block, 3 * block.rows, aligned=True) == "aligned"


@pytest.mark.parametrize(
    ("arch", "early"), [("sm_80", False), ("sm_89", False), ("sm_90", True), ("sm_100", True), ("sm_120", True)]
)
def test_kernels_begin_early_where_the_gpu_knows_how(arch: str, early: bool) -> None:
    assert choose_plan(1000, arch=arch).begins_early is early


def test_blocks_of_long_rows_work_in_teams() -> None:
    assert choose_plan(32768).share_out(16, 768) == (128, 1, 8)
    assert choose_plan(32768).share_out(1, 768) == (132, 1, 1)
    assert choose_plan(4096).share_out(64, 768) == (132, 1, 1)
    for plan in plans():
        for batches, channels in ((1, 1), (2, 3), (7, 5), (64, 768), (1000, 1)):
            grid, slices, team = plan.share_out(batches, channels)
            assert 1 <= grid <= plan.sm_count * plan.backward.per_sm
            assert grid % team == 0
            assert slices * team <= -(-batches // plan.backward.rows)  # every block has a step


def test_a_plan_is_pure_and_frozen() -> None:
    assert choose_plan(5000) == choose_plan(5000)
    assert choose_plan(5000) != choose_plan(5001)
    with pytest.raises(FrozenInstanceError):
        choose_plan(5000).size = 1  # type: ignore[misc]


def test_every_frequency_has_one_place() -> None:
    for size in SIZES:
        assert sorted(choose_plan(size).permutation.flatten().tolist()) == list(range(size))


def test_slices_leave_no_multiprocessor_without_work() -> None:
    assert choose_plan(1024, sm_count=132).share_out(4096, 1).slices > 16
    assert choose_plan(1024, sm_count=132).share_out(4096, 10 * 132).slices == 1


def test_a_plan_can_be_read() -> None:
    for plan in plans():
        text = plan.explain()
        assert f"{plan.length:,}" in text
        assert f"transform of {plan.size:,} points as {'*'.join(map(str, plan.radices))}" in text
        assert plan.dtype in text
        assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("length", "taps", "dtype", "message"),
    [
        (0, None, "bfloat16", "a row of 0 samples.*at least 1"),
        (-5, None, "bfloat16", "a row of -5 samples"),
        (8, 9, "bfloat16", "a filter of 9 lags does not suit rows of 8"),
        (8, 0, "bfloat16", "a filter of 0 lags"),
        (8, None, "float32", "no kernel for float32 rows: use bfloat16 or float16, or backend='torch'"),
    ],
)
def test_what_cannot_be_planned(length: int, taps: int | None, dtype: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_plan(length, filter_length=taps, dtype=dtype)
