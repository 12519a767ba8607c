"""Plan and specification together are direct convolution, and so are their gradients."""

import pytest
import torch
from torch import Tensor

from genoconv.gpu.targets import card_of
from genoconv.ops import fftconv
from genoconv.ops.longconv import reference, regimes
from genoconv.ops.longconv.one_sm.blocks import SIZES
from genoconv.ops.longconv.plan import Plan


def choose_plan(length: int) -> Plan:
    return regimes.choose_plan(length, card=card_of("sm_90"))


def direct(u: Tensor, k: Tensor, D: Tensor, gate_in: Tensor, gate_out: Tensor) -> Tensor:
    """y by the definition: a sum over lags."""
    x = u * gate_in
    y = x * D[:, None]
    for lag in range(k.shape[1]):
        y = y + k[:, lag, None] * torch.nn.functional.pad(x, (lag, 0))[..., : x.shape[-1]]
    return y * gate_out


def problem(N: int, K: int, *, B: int = 2, H: int = 3) -> tuple[Tensor, ...]:
    torch.manual_seed(N * 1000 + K)
    shapes = ((B, H, N), (H, K), (H,), (B, H, N), (B, H, N))
    return tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)


@pytest.mark.parametrize(
    ("N", "K"),
    [(1, 1), (2, 2), (3, 1), (31, 31), (97, 40), (255, 255), (256, 256), (257, 100), (600, 600), (1000, 999)],
)
def test_plan_and_specification_are_direct_convolution(N: int, K: int) -> None:
    u, k, D, gate_in, gate_out = problem(N, K)
    got = reference.convolve(u, k, choose_plan(N), D=D, gate_in=gate_in, gate_out=gate_out)
    want = direct(u, k, D, gate_in, gate_out)
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)
    dy = torch.randn_like(want)
    inputs = (u, k, D, gate_in, gate_out)
    for mine, true in zip(torch.autograd.grad(got, inputs, dy), torch.autograd.grad(want, inputs, dy), strict=True):
        torch.testing.assert_close(mine, true, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("N", SIZES)
def test_every_plan_agrees_with_the_fft_and_its_gradients(N: int) -> None:
    inputs = problem(N - 3, N // 2, B=1, H=2)
    u, k, D, gate_in, gate_out = inputs
    got = reference.convolve(u, k, choose_plan(N - 3), D=D, gate_in=gate_in, gate_out=gate_out)
    want = fftconv(u, k, D=D, gate_in=gate_in, gate_out=gate_out, backend="torch")
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
    dy = torch.randn_like(want)
    for mine, true in zip(torch.autograd.grad(got, inputs, dy), torch.autograd.grad(want, inputs, dy), strict=True):
        torch.testing.assert_close(mine, true, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize(("N", "K"), [(257, 257), (512, 300), (700, 700), (1024, 1000)])
def test_rows_in_parts_are_direct_convolution(N: int, K: int) -> None:
    u, k, D, gate_in, gate_out = (x.detach() for x in problem(N, K))
    got = reference.convolve_in_parts(u, k, choose_plan(256), D=D, gate_in=gate_in, gate_out=gate_out)
    torch.testing.assert_close(got, direct(u, k, D, gate_in, gate_out), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("N", SIZES)
def test_spectra_are_in_the_order_that_the_plan_says(N: int) -> None:
    plan = choose_plan(N)
    x = torch.randn(N, dtype=torch.float64, generator=torch.Generator().manual_seed(N))
    j = torch.arange(N, dtype=torch.float64)
    plain = torch.fft.fft(x * torch.polar(torch.ones_like(j), -torch.pi * j / (2 * N)))
    digits = torch.arange(N).reshape(*reversed(plan.radices)).permute(*reversed(range(len(plan.radices)))).flatten()
    torch.testing.assert_close(reference.transform(x, plan), plain[digits], rtol=1e-10, atol=1e-9)


def test_gradcheck() -> None:
    inputs = problem(20, 13, B=2, H=2)
    plan = choose_plan(20)

    def function(u: Tensor, k: Tensor, D: Tensor, gate_in: Tensor, gate_out: Tensor) -> Tensor:
        return reference.convolve(u, k, plan, D=D, gate_in=gate_in, gate_out=gate_out)

    assert torch.autograd.gradcheck(function, inputs)


def test_a_wrong_radix_order_shows() -> None:
    class Wrong:
        size = 512
        radices = (16, 16, 2)

    x = torch.randn(512, dtype=torch.float64)
    right = reference.transform(x, choose_plan(512))
    assert (reference.transform(x, Wrong()) - right).abs().max() > 1e-3
