"""Plans of long rows: every length within a card's reach, little padding, memory that does not follow the batch."""

from math import prod

import pytest

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import ARCHS, Card, card_of
from genoconv.ops.longconv.regimes import choose_plan, reach
from genoconv.ops.longconv.three_pass.factors import LONGEST
from genoconv.ops.longconv.three_pass.plan import ThreePass, ThreePassPlan

H200 = card_of("sm_90")
LENGTHS = (32769, 40000, 65536, 100_003, 131_072, 160_000, 450_000, 524_288, 1_000_000, 1_048_576, 2_473_537, LONGEST)


def plan_of(length: int, *, card: Card = H200, dtype: str = "bfloat16") -> ThreePassPlan:
    plan = choose_plan(length, card=card, dtype=dtype).whole
    assert isinstance(plan, ThreePassPlan)
    return plan


@pytest.mark.parametrize("length", LENGTHS)
def test_no_length_wastes_more_than_a_quarter(length: int) -> None:
    plan = plan_of(length)
    assert length <= plan.size <= 1.25 * length
    assert prod(plan.radices) == plan.size == plan.lines * plan.points
    assert plan.scales == 1 + plan.lines == ThreePass().scales(plan.size, H200)


@pytest.mark.parametrize("arch", ARCHS)
def test_every_kernel_fits_its_card(arch: str) -> None:
    card = card_of(arch)
    for size in ThreePass().sizes(card):
        for dtype in ("bfloat16", "float16"):
            plan = ThreePass().plan(size, size, filter_length=size, dtype=dtype, card=card)
            for kernel in plan.kernels():
                assert kernel.smem_bytes <= card.smem
                assert kernel.threads <= 1024
                assert list(kernel.defines) == sorted(kernel.defines)


def test_how_far_each_card_reaches() -> None:
    assert {arch: reach(card_of(arch)) for arch in ARCHS} == {
        "sm_80": LONGEST,
        "sm_86": 6 << 20,
        "sm_87": LONGEST,
        "sm_89": 6 << 20,
        "sm_90": LONGEST,
        "sm_100": LONGEST,
        "sm_120": 6 << 20,
    }


def test_long_and_short_rows_share_kernels() -> None:
    """Kernels depend on the points of a line and on how many tiles of 16, or half of one, a column has; not on N."""
    assert set(plan_of(45_000).kernels()) == set(plan_of(65_536).kernels())
    kinds: dict[tuple[int, bool, int], set[Kernel]] = {}
    for size in ThreePass().sizes(H200):
        if size > 32768:
            plan = plan_of(size)
            half = plan.split and plan.radix <= 8
            kind = plan.points, plan.split, 8 if half else -(-plan.radix // 16) * 16
            assert kinds.setdefault(kind, set(plan.kernels())) == set(plan.kernels()), size
    every = set().union(*kinds.values())
    # Ten for the columns of each kind, three for the lines of each length.
    assert len(every) == 10 * len(kinds) + 3 * len({points for points, *_ in kinds})
    assert len(kinds) == 12


def test_memory_does_not_follow_the_batch() -> None:
    for length in LENGTHS:
        plan = plan_of(length)
        assert plan.spectrum_bytes == 4 * plan.size
        for batches in (1, 2, 8, 64, 640):
            assert plan.workspace_bytes(batches, 64, backward=False) <= 65 * 2**20
            backward = plan.workspace_bytes(batches, 64, backward=True)
            sums = 2 * plan.spectrum_bytes  # of parts of a batch
            assert backward <= max(5 * plan.spectrum_bytes, 6 * plan.group_bytes + sums) * 1.01, (length, batches)


def test_rows_of_a_batch_go_back_together_where_there_is_room() -> None:
    """Rows of one channel share a filter and their sums: in parts they would read both again."""
    for length, batches in ((65_536, 64), (1_048_576, 16), (2_097_152, 8)):
        assert plan_of(length).rows_at_once(batches * 64, batches=batches) >= batches


def test_a_plan_can_be_read() -> None:
    for length in LENGTHS:
        text = plan_of(length).explain()
        assert f"length {length:,}" in text
        assert "regime three-pass" in text
        assert max(map(len, text.splitlines())) <= 120
