"""Chunks of partial convolutions through the kernels' own source, strides and all."""

import pytest
import torch
from emulation import harness
from long_convolutions import BARS, Problem, error, faults, truth, worst_row

from genoconv.ops.longconv.overlap_save import launches, through_kernels
from genoconv.ops.longconv.overlap_save.plan import Chunks

pytestmark = pytest.mark.skipif(not harness.available(), reason="needs g++ with C++20")


@pytest.mark.parametrize(
    ("N", "K", "overlap", "dtype"), [(704, 50, 64, torch.bfloat16), (600, 130, 136, torch.float16)]
)
def test_chunks_of_the_kernels_are_the_convolution_and_its_gradients(
    N: int, K: int, overlap: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = Chunks(N, K, 256, overlap, fused=True)
    monkeypatch.setattr(through_kernels, "_VALUES", 3 * 256)  # three chunks at once
    x = Problem(N, H=1, K=K, dtype=dtype, skip=dtype == torch.bfloat16).inputs()
    with harness.machine() as gpu:
        kept = through_kernels.transform(x.u, x.k, x.D, chunks, spectrum=None, scale=None)
        got = {"y": through_kernels.forward(x.u, kept, x.gate_in, x.gate_out, chunks)}
        du, dk, dD, dgate_in, _ = through_kernels.backward(x.dy, x.u, kept, x.gate_in, x.gate_out, chunks)
        dgate_out = through_kernels.forward(x.u, kept, x.gate_in, x.dy, chunks)
    assert dgate_in is not None
    got |= {"du": du, "dk": dk, "dgate_in": dgate_in, "dgate_out": dgate_out}
    if x.D is not None:
        got["dD"] = dD
    assert not faults(got, x)
    assert not gpu.overrun()


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        (4096, Problem(9003, B=3, H=2, K=4096, hard=True)),
        (16384, Problem(20_000, B=1, H=1, K=16_384, dtype=torch.float16, gate_in=False)),
    ],
    ids=str,
)
def test_pairs_of_chunks_are_the_convolution(points: int, problem: Problem) -> None:
    x, K = problem.inputs(), problem.K or problem.N
    with harness.machine() as gpu:
        chunks = Chunks(problem.N, K, points, 0, fused=True)
        kept = through_kernels.transform(x.u, x.k, x.D, chunks, spectrum=None, scale=None)
        y = through_kernels.forward(x.u, kept, x.gate_in, x.gate_out, chunks)
    want = truth(x)["y"]
    assert error(y, want) <= BARS[x.u.dtype]
    # A row by itself, where others are larger or smaller.
    assert worst_row(y, want) <= 4 * BARS[x.u.dtype]
    assert not gpu.overrun()
    counts = gpu.counts["chunks"]
    assert counts.faults == 0
    assert counts.wavefronts <= 1.02 * counts.ideal


@pytest.mark.parametrize("shares", [1, 3])
@pytest.mark.parametrize(
    ("points", "problem"),
    [
        (4096, Problem(17_003, B=2, H=1, K=4096)),
        (4096, Problem(12_296, B=1, H=2, K=3000, dtype=torch.float16, gate_in=False, gate_out=False, skip=False)),
    ],
    ids=str,
)
def test_gradients_of_pairs_of_chunks(
    points: int, problem: Problem, shares: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launches, "shares_of", lambda *_, **__: shares)
    x, K = problem.inputs(), problem.K or problem.N
    x.u[..., :points] *= 1e-3  # chunks of a row differ in size
    with harness.machine() as gpu:
        chunks = Chunks(problem.N, K, points, 0, fused=True)
        kept = through_kernels.transform(x.u, x.k, x.D, chunks, spectrum=None, scale=None)
        y = through_kernels.forward(x.u, kept, x.gate_in, x.gate_out, chunks)
        found = through_kernels.backward(x.dy, x.u, kept, x.gate_in, x.gate_out, chunks)
    names = ("y", "du", "dk", "dD", "dgate_in", "dgate_out")
    got = {name: g for name, g in zip(names, (y, *found), strict=True) if g is not None}
    if x.D is None:
        del got["dD"]
    assert not faults(got, x)
    assert not gpu.overrun()
    counts = gpu.counts["partial_gradients"]
    assert counts.faults == 0
    assert counts.wavefronts <= 1.02 * counts.ideal
