"""Plans of rows that a cluster of multiprocessors shares: which cards and lengths have them, and what they say."""

from dataclasses import replace
from math import prod

import pytest

from genoconv.gpu.targets import ARCHS, card_of
from genoconv.ops.longconv.cluster.plan import BLOCKS, Cluster, ClusterPlan
from genoconv.ops.longconv.regimes import choose_plan

H200 = card_of("sm_90")


def test_only_cards_with_clusters_and_room_for_a_chunk_have_them() -> None:
    sizes = tuple(blocks << 15 for blocks in BLOCKS)
    assert {arch: Cluster().sizes(card_of(arch)) for arch in ARCHS if Cluster().sizes(card_of(arch))} == {
        "sm_90": sizes,
        "sm_100": sizes,
    }
    assert Cluster().sizes(replace(H200, sm_count=16)) == (), "a part of a GPU"


@pytest.mark.parametrize(("length", "blocks"), [(65_537, 3), (98_304, 3), (160_000, 5), (262_144, 8)])
def test_a_row_has_as_many_blocks_as_chunks(length: int, blocks: int) -> None:
    plan = choose_plan(length, card=H200)
    assert isinstance(plan, ClusterPlan)
    assert plan.parts == blocks
    assert plan.gradients is plan
    assert plan.whole.size >= length, "filters with few frequencies have another plan"
    assert plan.size == blocks << 15 == prod(plan.radices)
    assert all(kernel.smem_bytes <= H200.smem for kernel in plan.kernels())
    assert plan.workspace_bytes(8, 256, backward=False) == 0
    assert f"{blocks} SMs, each SM with a chunk of 32,768 points" in plan.explain()
    assert f"backward: {128 * blocks} KB per cluster in the L2 cache" in plan.explain()
    assert "three-pass" not in plan.explain()


@pytest.mark.parametrize(("batches", "channels", "shares"), [(8, 384, 1), (8, 11, 3), (1, 4, 1), (100, 1, 25)])
def test_the_batch_is_shared_out_among_clusters(batches: int, channels: int, shares: int) -> None:
    """33 clusters of four: shares that leave none without work cost sums of 8 bytes per point each."""
    plan = choose_plan(131_072, card=H200)
    assert isinstance(plan, ClusterPlan)
    assert plan.clusters == 33
    assert plan.slices(batches, channels, clusters=33) == shares
    kept = 4 * 131_072 * min(33, shares * channels)
    assert plan.workspace_bytes(batches, channels, backward=True) == kept + 8 * 131_072 * channels * shares


@pytest.mark.parametrize(("length", "own"), [(98_304, True), (98_305, False), (120_000, False), (262_144, False)])
def test_gradients_of_longer_float16_rows_take_three_passes(length: int, own: bool) -> None:
    plan = choose_plan(length, card=H200, dtype="float16")
    assert isinstance(plan, ClusterPlan)
    assert plan.gradients is (plan if own else plan.whole)
    assert own == any(kernel.name == "cluster_gradients" for kernel in plan.kernels())
    assert ("backward: three-pass" in plan.explain()) == (not own)
    assert plan.workspace_bytes(8, 256, backward=True) == plan.gradients.workspace_bytes(8, 256, backward=True)
    assert plan.workspace_bytes(8, 256, backward=False) == 0


def test_halves_and_longer_rows_are_left_to_others() -> None:
    assert choose_plan(65_536, card=H200).regime == "halves"
    assert choose_plan(262_145, card=H200).regime == "three-pass"


def test_values_are_counted_in_32_bits() -> None:
    plan = choose_plan(262_144, card=H200)
    assert plan.obstacle(16_383) is None
    assert "exceed the 4,294,967,295 values (channels x positions)" in str(plan.obstacle(16_385))
