"""On a GPU: the fused kernels of the long convolution against the definition in float64.

    python -m pytest -m gpu tests/numerics/gpu

Every buffer that torch hands out is filled with NaN beforehand, so what a kernel does not write shows.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product

import pytest
import torch
from gpu_kernels import GATES, LOW, ON_A_GPU, check, compile_all, gated, kernels, needs, plan_gates, plan_of, served
from long_convolutions import (
    Problem,
    differentiated,
    error,
    faults,
    large_and_small_channels,
    truth,
    worst_channel_of_dk,
)
from torch import Tensor

from genoconv.errors import KernelError, UsageError
from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import local_card
from genoconv.ops import fftconv, prepare_filter
from genoconv.ops.longconv.one_sm import launches as one_sm
from genoconv.ops.longconv.one_sm.blocks import SIZES
from genoconv.ops.longconv.one_sm.plan import FITS
from genoconv.ops.longconv.one_sm.shares import Shares
from genoconv.ops.longconv.regimes import reach
from genoconv.ops.longconv.three_pass.plan import ThreePassPlan

pytestmark = [*ON_A_GPU, pytest.mark.usefixtures("poisoned_memory")]


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    wanted: set[Kernel] = set()
    for size, dtype in product(SIZES, LOW):
        if size <= served():
            first, second = plan_gates(size, dtype)
            wanted |= kernels(size, dtype, [first], ["aligned", "whole"]) | kernels(size, dtype, [second], ["ragged"])
            wanted |= kernels(size, torch.bfloat16, [(True, True)], FITS)
    for dtype in LOW:
        wanted |= kernels(SIZES[0], dtype, GATES, FITS)
    compile_all(wanted)


@pytest.mark.parametrize("dtype", LOW, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_every_plan(size: int, dtype: torch.dtype) -> None:
    needs(size)
    gates = [dict(zip(("gate_in", "gate_out"), pair, strict=True)) for pair in plan_gates(size, dtype)]
    # Rows that a batch does not share out evenly to steps; then ragged rows, a short filter, odd numbers of channels.
    check(Problem(size, B=67 if size < 2048 else 6, H=37, dtype=dtype, hard=True, **gates[0]))
    check(Problem(size - 3, B=3, H=131, K=size // 3, dtype=dtype, skip=False, **gates[1]))
    # One row alone; masked rows whose sums several steps make; many batches of few channels, so that a channel's batch
    # is cut into slices, and the same with every step filled.
    check(Problem(size - 8, B=1, H=1, dtype=dtype, hard=True, **gates[0]))
    check(Problem(size - 8, B=7, H=5, dtype=dtype, **gates[0]))
    # Not a single tap: it and the skip might cancel, and so might the one sum that is its gradient.
    for B in (130, 128):
        check(Problem(size, B=B, H=2, K=64, dtype=dtype, **gates[0]))


@pytest.mark.parametrize("size", SIZES)
def test_one_block_after_another_channel(size: int) -> None:
    """More channels than blocks, small ones after large: what one leaves behind in a block must not reach the next."""
    needs(size)
    plan = plan_of(size, torch.bfloat16)
    blocks = plan.card.sm_count * plan.filter_block.per_sm
    x = large_and_small_channels(Problem(size, B=2, H=blocks * plan.filter_block.rows + 5).inputs("cuda"))
    got = differentiated(x, backend="cuda")
    assert not faults(got, x)
    assert worst_channel_of_dk(got, x) < 2.3e-3


LONG = (40_000, 65_536, 100_003, 131_072, 160_000, 450_000, 524_288, 1_000_000, 2_473_537)


@pytest.mark.parametrize("dtype", LOW, ids=str)
@pytest.mark.parametrize("N", LONG)
def test_long_rows(N: int, dtype: torch.dtype) -> None:
    number = LONG.index(N)
    gates = dict(zip(("gate_in", "gate_out"), GATES[number % 4], strict=True))
    x = Problem(N, B=4, H=3, K=None if number % 3 else N // 2, dtype=dtype, hard=number % 2 == 0, **gates).inputs(
        "cuda"
    )
    # float16 rows: 1.1e-3 in place of 9e-4.
    assert not faults(differentiated(x, backend="cuda"), x, leniency=1.25 if dtype == torch.float16 else 1.0)


def test_long_rows_in_parts_of_a_batch_are_bitwise_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x = Problem(327_680, B=5, H=3).inputs("cuda")
    first = differentiated(x, backend="cuda")
    for rows in (1, 3, 8):
        monkeypatch.setattr(ThreePassPlan, "group_bytes", rows * 4 * 327_680)
        again = differentiated(x, backend="cuda")
        assert all(torch.equal(first[name], again[name]) for name in first)


def test_long_rows_need_no_memory_that_follows_the_batch() -> None:
    B, H, N = 16, 8, 1 << 20
    u, gate_in, gate_out = (torch.randn(B, H, N, device="cuda").bfloat16() for _ in range(3))
    k, D = torch.randn(H, N, device="cuda"), torch.randn(H, device="cuda")
    gated(u, k, D, gate_in, gate_out)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    y = gated(u, k, D, gate_in, gate_out)
    assert torch.cuda.max_memory_allocated() - before - y.numel() * 2 <= 4 * H * N + 2**26


@pytest.mark.parametrize(("gate_in", "gate_out"), GATES)
@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_short_rows(dtype: torch.dtype, gate_in: bool, gate_out: bool) -> None:
    for N in (1, 2, 7, 8, 9, 255):
        check(Problem(N, B=5, H=33, dtype=dtype, gate_in=gate_in, gate_out=gate_out, hard=N > 8))


@pytest.mark.parametrize("N", [1, 1000, 40000])
def test_float32_rows_are_served_in_full_precision(N: int) -> None:
    check(Problem(N, B=2, H=3, dtype=torch.float32))


def strided(x: Tensor, how: str) -> Tensor:
    """The same values in another layout."""
    B, H, N = x.shape
    if how == "channels strided":
        return torch.stack([x, x * 0], 2).flatten(1, 2)[:, ::2]
    if how == "batches strided":
        return torch.stack([x, x * 0], 1).flatten(0, 1)[::2]
    if how == "transposed":
        return x.transpose(1, 2).contiguous().transpose(1, 2)
    if how == "positions strided":
        return torch.stack([x, x * 0], 3).flatten(2, 3)[..., ::2]
    assert how == "off by one"
    return torch.cat([x.new_zeros(1), x.flatten()])[1:].view(B, H, N)


LAYOUTS = ("channels strided", "batches strided", "transposed", "positions strided", "off by one")


@pytest.mark.parametrize("how", LAYOUTS)
@pytest.mark.parametrize("N", [400, 4096, 5000])
def test_layouts_change_nothing(N: int, how: str) -> None:
    x = Problem(N, B=3, H=5).inputs("cuda")
    rows = {name: strided(getattr(x, name), how) for name in ("u", "gate_in", "gate_out", "dy")}
    assert all(torch.equal(rows[name], getattr(x, name)) for name in rows)
    got, want = differentiated(replace(x, **rows), backend="cuda"), differentiated(x, backend="cuda")
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_a_gradient_that_is_one_number_everywhere() -> None:
    x = Problem(600, B=3, H=5).inputs("cuda")
    u = x.u.clone().requires_grad_()
    fftconv(u, x.k, backend="cuda").sum().backward()
    want = truth(replace(x, D=None, gate_in=None, gate_out=None, dy=torch.ones_like(x.dy)))
    assert error(u.grad, want["du"]) < 2.3e-3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("N", SIZES)
def test_values_that_are_not_finite_stay_in_their_row(N: int, value: float) -> None:
    needs(N)
    x = Problem(N, B=6, H=3).inputs("cuda")
    clean = differentiated(x, backend="cuda")
    x.u[2, 1, N // 2] = value
    got = differentiated(x, backend="cuda")
    assert not got["y"][2, 1, N // 2 :].isfinite().any()
    elsewhere = torch.ones(6, 3, dtype=torch.bool)
    elsewhere[2, 1] = False
    for name in ("y", "du", "dgate_in", "dgate_out"):
        assert torch.equal(got[name][elsewhere], clean[name][elsewhere]), name
    for channel in (0, 2):
        assert torch.equal(got["dk"][channel], clean["dk"][channel])


@pytest.mark.parametrize("N", [300, 4096, 8192])
def test_the_same_call_twice_is_bitwise_the_same(N: int) -> None:
    x = Problem(N, B=70, H=9).inputs("cuda")
    first = differentiated(x, backend="cuda")
    for _ in range(5):
        again = differentiated(x, backend="cuda")
        assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize(("N", "B", "teams"), [(8192, 23, (3, 5, 12)), (32768, 7, (2, 4, 7))])
def test_teams_of_blocks_add_in_the_order_of_the_batch(
    N: int, B: int, teams: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever block has a step, and whoever waits for whom: the bits of the sums are those of one block alone."""
    x = Problem(N, B=B, H=5).inputs("cuda")
    got = {}
    for team in (1, *teams):
        shares = Shares(5 * team, 1, team)
        monkeypatch.setattr(one_sm, "_shares", lambda *_, shares=shares: shares)
        got[team] = differentiated(x, backend="cuda")
    assert not faults(got[1], x)
    for team in teams:
        assert all(torch.equal(got[1][name], got[team][name]) for name in got[1]), team


def test_prepared_filters() -> None:
    x = Problem(1000, B=3, H=5, gate_in=False).inputs("cuda")
    kept = prepare_filter(x.k, 1000, D=x.D)
    whole = fftconv(x.u, x.k, D=x.D, gate_out=x.gate_out, backend="cuda")
    want = truth(x)
    for N in (300, 1000, 500, 513):  # 300 and 500 share a transform of 512 points
        u, gate = x.u[..., :N].contiguous(), x.gate_out[..., :N].contiguous()
        got = fftconv(u, kept, gate_out=gate, backend="cuda")
        assert error(got, want["y"][..., :N]) < 2e-3
    assert torch.equal(fftconv(x.u, kept, gate_out=x.gate_out, backend="cuda"), whole)
    assert sorted(kept.made) == [("one-sm", 512), ("one-sm", 1024)]
    u = x.u.clone().requires_grad_()
    fftconv(u, kept, gate_out=x.gate_out, backend="cuda").backward(x.dy)
    assert error(u.grad, want["du"]) < 2.3e-3
    with pytest.raises(UsageError, match=r"prepared for 1,000 positions, but u has 1,001"):
        fftconv(torch.zeros(1, 5, 1001, device="cuda", dtype=torch.bfloat16), kept)


def test_forward_needs_no_memory_beyond_the_filters() -> None:
    B, H, N = 64, 128, 4096
    x = Problem(N, B=1, H=H).inputs("cuda")
    u, gate_in, gate_out = (t.repeat(B, 1, 1) for t in (x.u, x.gate_in, x.gate_out))
    call: Callable[[], Tensor] = partial(gated, u, x.k, x.D, gate_in, gate_out)
    call()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    y = call()
    beyond = torch.cuda.max_memory_allocated() - before - y.numel() * 2
    assert beyond <= 4 * H * N + 2**20


def test_what_the_kernels_refuse() -> None:
    limit = reach(local_card(0))
    long = torch.zeros(1, 1, limit + 1, dtype=torch.bfloat16, device="cuda")
    k = torch.zeros(1, 4, device="cuda")
    as_long = torch.zeros(1, limit + 1, device="cuda")  # a shorter filter would run in pieces
    with pytest.raises(KernelError, match=rf"{limit + 1:,} positions exceed the {limit:,}.*backend='torch'"):
        fftconv(long, as_long, backend="cuda")
    u = torch.zeros(1, 1, 8, dtype=torch.bfloat16, device="cuda")
    with pytest.raises(UsageError, match=r"k is on cpu, but u is on cuda:0"):
        fftconv(u, k.cpu(), backend="cuda")
    with pytest.raises(UsageError, match=r"gate_in is .* torch.float32, but u is .* torch.bfloat16"):
        fftconv(u, k, gate_in=u.float(), backend="cuda")
    with pytest.raises(UsageError, match=r"D is nan in channel 0"):
        prepare_filter(k, 8, D=torch.full((1,), float("nan"), device="cuda"))
