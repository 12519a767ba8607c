"""What only long rows have: pairs of chunks, filters that leave frequencies out."""

import pytest
import torch
from gpu_kernels import ON_A_GPU
from long_convolutions import BARS, Inputs, Problem, error, faults, truth
from long_convolutions import differentiated as longconv
from torch import Tensor

from genoconv.ops import FrequencyMask, fftconv, fftconv_sparse, fftconv_stream, prepare_filter
from genoconv.ops.longconv import conv
from genoconv.ops.longconv.overlap_save.plan import Chunks

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
        (Problem(1_000_000, B=1, H=2, K=700_000, gate_out=False), 8, 5),  # columns of two steps
        (Problem(2_400_000, B=1, H=2, skip=False), 4, 3),
    ],
    ids=str,
)
def test_lines_that_a_mask_drops_are_left_out(problem: Problem, every: int, first: int) -> None:
    keep = FrequencyMask(tuple(b == first for b in range(every)), interleaved=True)
    x = problem.inputs("cuda")
    got, want = (differentiated(rows, keep, backend) for rows, backend in ((x, "cuda"), (x.double(), "torch")))
    for name, value in want.items():
        assert error(got[name], value) <= (1.3 if x.u.dtype == torch.float16 else 1.0) * BARS[x.u.dtype], name
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


def differentiated(x: Inputs, keep: FrequencyMask, backend: str) -> dict[str, Tensor]:
    """y and the gradients of all inputs."""
    leaves = {n: v.detach().requires_grad_() for n, v in vars(x).items() if v is not None and n != "dy"}
    rest = {name: leaf for name, leaf in leaves.items() if name not in ("u", "k")}
    y = fftconv_sparse(leaves["u"], leaves["k"], keep, **rest, backend=backend)
    gradients = torch.autograd.grad(y, list(leaves.values()), x.dy)
    return {"y": y.detach()} | {f"d{name}": g for name, g in zip(leaves, gradients, strict=True)}
