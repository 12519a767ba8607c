"""Plans of rows that fit one multiprocessor: consistent whatever the length and the card."""

from dataclasses import FrozenInstanceError
from itertools import product
from math import prod

import pytest

from genoconv.gpu.targets import Card
from genoconv.ops.longconv.one_sm.blocks import DTYPES, SIZES
from genoconv.ops.longconv.one_sm.plan import FITS, KERNELS, OneSm, OneSmPlan

CARDS = {227: 32768, 163: 16384, 99: 8192}
"""KB of shared memory that a block may use, and the longest row that such a card serves."""

LENGTHS = sorted({1, 2, 3, 7, 100, 160, 1000, 5000, 20000, 31337} | {s + d for s in SIZES for d in (-1, 0, 1)})


def plan_of(
    length: int, *, dtype: str = "bfloat16", kilobytes: int = 227, sm_count: int = 132, arch: str = "sm_90"
) -> OneSmPlan:
    card = Card(arch, kilobytes * 1024, sm_count, 50 * 2**20)
    size = next(size for size in OneSm().sizes(card) if size >= length)
    return OneSm().plan(length, size, filter_length=length, dtype=dtype, card=card)


def every_plan() -> list[OneSmPlan]:
    return [
        plan_of(N, dtype=dtype, kilobytes=kilobytes, sm_count=sm_count)
        for kilobytes, limit in CARDS.items()
        for N in LENGTHS
        if limit >= N
        for dtype in DTYPES
        for sm_count in (1, 84, 132)
    ]


@pytest.mark.parametrize(("kilobytes", "limit"), CARDS.items())
def test_the_longest_row_of_a_card(kilobytes: int, limit: int) -> None:
    assert OneSm().sizes(Card("sm_90", kilobytes * 1024, 132, 0))[-1] == limit
    assert plan_of(limit, kilobytes=kilobytes).size == limit


def test_no_card_at_all() -> None:
    assert OneSm().sizes(Card("sm_90", 1024, 132, 0)) == ()


def test_every_plan_is_consistent() -> None:
    for plan in every_plan():
        assert plan.length <= plan.size < 2 * max(plan.length, 256)
        assert prod(plan.radices) == plan.size == 256 * plan.radix * plan.split
        for name in KERNELS:
            for fit, gate_in, gate_out in product(FITS, (True, False), (True, False)):
                kernel = plan.kernel(name, fit=fit, gate_in=gate_in, gate_out=gate_out)
                assert kernel.source == f"one_sm/{name}"
                assert kernel.name == name
                assert 0 < kernel.smem_bytes <= plan.card.smem
                assert kernel.threads % 32 == 0
                assert kernel.threads <= 1024
                assert list(kernel.defines) == sorted(kernel.defines)
                assert hash(kernel) == hash(plan.kernel(name, fit=fit, gate_in=gate_in, gate_out=gate_out))


def test_rows_choose_kernels_and_filters_do_not() -> None:
    plan = plan_of(1000)
    for name in ("forward", "backward"):
        assert len({plan.kernel(name, fit=fit, gate_in=g) for fit in FITS for g in (True, False)}) == 6
    half = plan_of(1000, dtype="float16")
    for name in ("spectrum", "filter_grad"):
        assert plan.kernel(name, fit="ragged", gate_in=False) == half.kernel(name)
    assert len(list(plan.kernels())) == 8


def test_rows_that_fill_every_step_need_no_masks() -> None:
    plan = plan_of(1024)
    for block in (plan.forward_block, plan.backward_block):
        assert plan.fit(block, 3 * block.rows, aligned=True) == "whole"
        assert plan.fit(block, 3 * block.rows + 1, aligned=True) == "aligned"
        assert plan.fit(block, 3 * block.rows, aligned=False) == "ragged"
        assert plan_of(1016).fit(block, 3 * block.rows, aligned=True) == "aligned"


@pytest.mark.parametrize(
    ("arch", "overlap"), [("sm_80", False), ("sm_89", False), ("sm_90", True), ("sm_100", True), ("sm_120", True)]
)
def test_kernels_overlap_where_the_gpu_can(arch: str, overlap: bool) -> None:
    assert plan_of(1000, arch=arch).has_pdl is overlap


def test_blocks_of_long_rows_work_in_teams() -> None:
    assert plan_of(32768).share_out(16, 768) == (128, 1, 8)
    assert plan_of(32768).share_out(1, 768) == (132, 1, 1)
    assert plan_of(4096).share_out(64, 768) == (132, 1, 1)
    for plan in every_plan():
        for batches, channels in ((1, 1), (2, 3), (7, 5), (64, 768), (1000, 1)):
            grid, slices, team = plan.share_out(batches, channels)
            assert 1 <= grid <= plan.card.sm_count * plan.backward_block.per_sm
            assert grid % team == 0
            assert slices * team <= -(-batches // plan.backward_block.rows)  # every block has a step


def test_the_backward_pass_needs_partial_sums_and_the_forward_pass_nothing() -> None:
    plan = plan_of(4096)
    assert plan.workspace_bytes(64, 768, backward=False) == 0
    assert plan.workspace_bytes(64, 768, backward=True) == 768 * 8 * 4096


def test_a_plan_is_pure_and_frozen() -> None:
    assert plan_of(5000) == plan_of(5000)
    assert plan_of(5000) != plan_of(5001)
    with pytest.raises(FrozenInstanceError):
        plan_of(5000).size = 1  # type: ignore[misc]


def test_slices_leave_no_multiprocessor_without_work() -> None:
    assert plan_of(1024, sm_count=132).share_out(4096, 1).slices > 16
    assert plan_of(1024, sm_count=132).share_out(4096, 10 * 132).slices == 1


@pytest.mark.parametrize(("channels", "refused"), [(2**17 - 1, False), (2**17, True)])
def test_a_batch_of_too_many_values_is_refused(channels: int, refused: bool) -> None:
    reason = plan_of(32768).obstacle(channels)
    assert (reason is not None) is refused
    if reason:
        assert "131,072 channels of 32,768 positions exceed the 4,294,967,295" in reason
        assert "'torch'" in reason


def test_a_plan_can_be_read() -> None:
    for plan in every_plan():
        text = plan.explain()
        assert f"{plan.length:,}" in text
        assert f"transform of {plan.size:,} points as {'*'.join(map(str, plan.radices))}" in text
        assert plan.dtype in text
        assert max(map(len, text.splitlines())) <= 120
