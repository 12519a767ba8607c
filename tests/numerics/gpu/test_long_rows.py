"""What only long rows have: pairs of chunks, filters that leave frequencies out."""

from functools import partial

import pytest
import torch
from gpu_kernels import ON_A_GPU
from long_convolutions import BARS, Problem, error, faults, gradients_through, truth
from long_convolutions import differentiated as longconv

from genoconv.ops import FrequencyMask, fftconv, fftconv_sparse, fftconv_stream, prepare_filter
from genoconv.ops.longconv import conv
from genoconv.ops.longconv.overlap_save.plan import Chunks
from genoconv.ops.longconv.three_pass.plan import ThreePassPlan

pytestmark = ON_A_GPU


@pytest.mark.parametrize(
    "problem",
    [
        Problem(300_000, B=2, H=3, K=32_768),
        Problem(299_999, B=2, H=3, K=10_000, dtype=torch.float16, gate_in=False),
        Problem(200_000, B=2, H=3, K=5000, gate_out=False, skip=False, hard=True),
        Problem(150_000, B=3, H=2, K=3000, dtype=torch.float16),
        Problem(131_072, B=2, H=140, K=4000),
    ],
    ids=str,
)
def test_pairs_of_chunks_are_the_convolution(problem: Problem) -> None:
    x = problem.inputs("cuda")
    for gradients in (True, False):
        way = conv.choose(x.u, problem.K or problem.N, "cuda", gradients=gradients)
        assert isinstance(way, Chunks)
        assert way.paired
    got = longconv(x, backend="cuda")
    assert not faults(got, x)
    for name, again in longconv(x, backend="cuda").items():
        assert torch.equal(again, got[name]), name
    gates = {"gate_in": x.gate_in, "gate_out": x.gate_out}
    want = truth(x)["y"]
    kept = prepare_filter(x.k, problem.N, D=x.D)
    assert error(fftconv(x.u, kept, **gates, backend="cuda"), want) <= BARS[x.u.dtype]


def test_pieces_of_a_row_are_the_row() -> None:
    x = Problem(400_003, B=1, H=3, K=20_000).inputs("cuda")
    state, found = None, []
    for start, stop in ((0, 7), (7, 150_000), (150_000, 150_100), (150_100, 400_003)):
        part = slice(start, stop)
        gates = {"gate_in": x.gate_in[..., part], "gate_out": x.gate_out[..., part]}
        y, state = fftconv_stream(x.u[..., part], x.k, state, D=x.D, **gates)
        found.append(y)
    assert error(torch.cat(found, -1), truth(x)["y"]) <= BARS[x.u.dtype]


@pytest.mark.parametrize(
    ("problem", "every", "first"),
    [
        (Problem(131_072, B=2, H=3), 4, 1),  # columns of one step
        (Problem(130_001, B=2, H=3, dtype=torch.float16, gate_in=False), 2, 0),
        (Problem(130_001, B=3, H=2, gate_in=False, gate_out=False), 2, 1),
        (Problem(1_000_000, B=1, H=2, K=700_000, gate_out=False), 8, 5),  # columns of two steps
        (Problem(2_400_000, B=1, H=2, skip=False), 4, 3),
        (Problem(1_048_571, B=2, H=2, dtype=torch.float16), 4, 2),
        (Problem(16_000_000, B=1, H=1), 4, 0),
    ],
    ids=str,
)
def test_lines_that_a_mask_drops_are_left_out(
    problem: Problem, every: int, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = FrequencyMask(tuple(b == first for b in range(every)), interleaved=True)
    x = problem.inputs("cuda")
    convolve = partial(fftconv_sparse, keep=keep, backend="cuda")
    got, want = gradients_through(convolve, x), gradients_through(partial(convolve, backend="torch"), x.double())
    for name, value in want.items():
        bar = (1.3 if x.u.dtype == torch.float16 else 1.0) * BARS[x.u.dtype]
        # The skip's gradient is a sum in fp32 of what nobody rounds.
        assert error(got[name], value) <= (BARS[torch.float32] if name == "dD" else bar), name
    monkeypatch.setattr(ThreePassPlan, "group_bytes", 1)  # a row at a time
    for name, again in gradients_through(convolve, x).items():
        assert torch.equal(again, got[name]), name
    kept = prepare_filter(x.k, problem.N, D=x.D, keep=keep)
    y = fftconv(x.u, kept, gate_in=x.gate_in, gate_out=x.gate_out, backend="cuda")
    torch.testing.assert_close(y, got["y"], rtol=0, atol=0)


@pytest.mark.parametrize(
    "problem",
    [
        Problem(4096, B=2, H=3),
        Problem(60_000, B=2, H=3, dtype=torch.float16),
        Problem(131_072, B=2, H=2),
        Problem(1_000_000, B=1, H=2, K=500_000),
    ],
    ids=str,
)
def test_bands_of_a_filter_without_gradient(problem: Problem) -> None:
    keep = FrequencyMask(tuple(b < 2 or b > 13 for b in range(16)))
    x, exact = problem.inputs("cuda"), problem.inputs("cuda").double()
    found = []
    for rows, backend in ((x, "cuda"), (exact, "torch")):
        u = rows.u.requires_grad_()
        gates = {"gate_in": rows.gate_in, "gate_out": rows.gate_out}
        y = fftconv_sparse(u, rows.k, keep, D=rows.D, **gates, backend=backend)
        found.append((y.detach(), *torch.autograd.grad(y, u, rows.dy)))
    # float16 rows of three passes: 1.1e-3 in place of 9e-4.
    leniency = 1.25 if x.u.dtype is torch.float16 else 1.0
    for got, want in zip(*found, strict=True):
        assert error(got, want) <= leniency * BARS[x.u.dtype]
