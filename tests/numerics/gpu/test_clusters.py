"""Rows that a cluster of multiprocessors shares, and their gradients."""

from dataclasses import replace

import pytest
import torch
from gpu_kernels import GATES, ON_A_GPU
from long_convolutions import BARS, Inputs, Problem, differentiated, error, faults, truth, worst_row

from genoconv.ops import fftconv, prepare_filter
from genoconv.ops.longconv import fused

pytestmark = ON_A_GPU

LENGTHS = (65_537, 98_304, 131_072, 160_000, 196_603, 229_376, 262_144)
"""Of three to eight chunks."""
LENIENCY = {torch.bfloat16: 1.0, torch.float16: 1.05}
"""Measured on an H200 in the worst row: bfloat16 2.15e-3 of 2.3e-3, float16 9.3e-4 where the bar is 9e-4."""


def on_clusters(x: Inputs) -> Inputs:
    """`x`, where clusters convolve it."""
    if fused.plan_of(x.u).regime != "cluster":
        pytest.skip("this GPU has no clusters of multiprocessors")
    assert fused.plan_of(x.u, gradients=True).regime == "cluster"
    return x


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("N", LENGTHS)
def test_clusters_convolve_rows_and_differentiate(N: int, dtype: torch.dtype) -> None:
    number = LENGTHS.index(N)
    gates = dict(zip(("gate_in", "gate_out"), GATES[number % 4], strict=True))
    # More rows than there are clusters at a time.
    problem = Problem(N, B=2, H=30, K=None if number % 3 else N - 1000, dtype=dtype, skip=number != 1, **gates)
    x = on_clusters(problem.inputs("cuda"))
    got = differentiated(x, backend="cuda")
    assert not faults(got, x, leniency=LENIENCY[dtype])
    y, want = got["y"], truth(x)["y"]
    assert error(y, want) <= LENIENCY[dtype] * BARS[dtype]
    assert worst_row(y, want) <= (LENIENCY[dtype] ** 2) * BARS[dtype]
    again = differentiated(x, backend="cuda")
    assert all(torch.equal(got[name], again[name]) for name in got), "other bits the second time"
    run = {"gate_in": x.gate_in, "gate_out": x.gate_out, "backend": "cuda"}
    kept, rows = prepare_filter(x.k, N, D=x.D), x.u.detach().requires_grad_()
    same = fftconv(rows, kept, **run)
    assert torch.equal(y, same.detach())
    assert torch.equal(got["du"], torch.autograd.grad(same, rows, x.dy)[0])
    assert list(kept.made) == [("cluster", fused.plan_of(x.u).size)]


@pytest.mark.parametrize(
    "problem",
    [
        Problem(131_072, B=9, H=3, hard=True),  # shares of the batch, of several rows
        Problem(262_144, B=5, H=7, gate_in=False),
        Problem(98_300, B=7, H=40, K=40_000, dtype=torch.float16),  # several channels a cluster, ragged
        Problem(90_001, B=3, H=90, gate_out=False, skip=False),
        Problem(196_608, B=1, H=1),
    ],
    ids=str,
)
def test_batches_are_shared_out_among_clusters(problem: Problem) -> None:
    x = on_clusters(problem.inputs("cuda"))
    assert not faults(differentiated(x, backend="cuda"), x, leniency=LENIENCY[x.u.dtype])


def test_chunks_of_different_sizes_and_a_value_that_is_not_finite() -> None:
    x = on_clusters(Problem(131_072, B=3, H=3, gate_in=False, gate_out=False).inputs("cuda"))
    x.u[..., :32_768] *= 1e-4
    x.dy[..., 98_304:] *= 1e-4
    assert not faults(differentiated(x, backend="cuda"), x)
    x.u[1, 2, 100_000] = float("nan")
    got = differentiated(x, backend="cuda")
    assert got["y"][1, 2].isnan().all()
    assert got["dk"][2].isnan().any()
    got["y"][1, 2], got["dk"][2], got["dD"][2] = 0, 0, 0
    assert all(value.isfinite().all() for value in got.values())


def test_batches_that_lie_far_apart() -> None:
    """Strides beyond 32 bits."""
    x = on_clusters(Problem(98_304, B=2, H=2).inputs("cuda"))
    apart = 2**32 + 8
    if torch.cuda.mem_get_info()[0] < 3 * 2 * apart:
        pytest.skip("needs 26 GB of free GPU memory")
    far = torch.empty(apart + 2 * 98_304, dtype=x.u.dtype, device="cuda").as_strided(x.u.shape, (apart, 98_304, 1))
    far.copy_(x.u)
    got, want = (differentiated(rows, backend="cuda") for rows in (replace(x, u=far), x))
    assert all(torch.equal(got[name], want[name]) for name in want)
