"""What torch expects of the operators of the filter network's last layer, on a CPU; kernels: ``gpu/test_operators.py``.

A GPU's kernels have no part in it: sums in float32 stand for them, so that what is held is what torch sees. That is the
schema, shapes and types without values, the gradient's registration, and that a compiler finds nothing to break at.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from genoconv.ops.filter import fused
from genoconv.ops.filter.positions import Positions

D, F, N, START, MOST, SHIFT = 4, 3, 7, 5, 64, 0.05


def decay(rates: Tensor | None, count: int, start: int, most: int, shift: float) -> Tensor | float:
    if rates is None:
        return 1.0
    time = Positions(start, count, most).time(rates.device).to(rates.dtype)
    return torch.exp(-rates[:, None] * time) + shift


def forward(weight: Tensor, h: Tensor, rates: Tensor | None, start: int, most: int, shift: float) -> Tensor:
    return (weight @ h) * decay(rates, h.shape[1], start, most, shift)


def backward(
    dk: Tensor, weight: Tensor, h: Tensor, rates: Tensor | None, start: int, most: int, shift: float
) -> tuple[Tensor, Tensor]:
    decayed = dk * decay(rates, h.shape[1], start, most, shift)
    return decayed @ h.T, weight.T @ decayed


@pytest.fixture(autouse=True)
def on_a_cpu() -> Iterator[None]:
    """While a test runs, the operators can be called with tensors of a CPU."""
    with torch.library._scoped_library("genoconv", "FRAGMENT") as library:
        library.impl("filter_taps", forward, "CPU")
        library.impl("filter_taps_backward", backward, "CPU")
        yield


def operands(*, decays: bool) -> tuple[Tensor, Tensor, Tensor | None, int, int, float]:
    generator = torch.Generator().manual_seed(0)
    weight, h = (torch.randn(shape, generator=generator, requires_grad=True) for shape in ((D, F), (F, N)))
    return weight, h, torch.rand(D, generator=generator) if decays else None, START, MOST, SHIFT


@pytest.mark.parametrize("decays", [True, False])
def test_taps_pass_opcheck(decays: bool) -> None:
    torch.library.opcheck(torch.ops.genoconv.filter_taps.default, operands(decays=decays))
    weight, h, *rest = operands(decays=decays)
    with torch.no_grad():
        dk = torch.ones(D, N)
        torch.library.opcheck(torch.ops.genoconv.filter_taps_backward.default, (dk, weight, h, *rest))


@pytest.mark.parametrize("decays", [True, False])
def test_gradients_of_taps_are_those_of_the_plain_sums(decays: bool) -> None:
    given = operands(decays=decays)
    weights = torch.linspace(-1, 1, D * N).reshape(D, N)
    found, plain = (
        torch.autograd.grad((function(*given) * weights).sum(), given[:2])
        for function in (torch.ops.genoconv.filter_taps, forward)
    )
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other)


def test_taps_compile_whole() -> None:
    weight, h, rates, *_ = operands(decays=True)
    whole = torch.compile(fused.taps, fullgraph=True, backend="aot_eager")
    found = whole(weight, h, rates, Positions(START, N, MOST), SHIFT)
    plain = forward(weight, h, rates, START, MOST, SHIFT)
    torch.testing.assert_close(found, plain)
    for one, other in zip(*(torch.autograd.grad(k.square().sum(), (weight, h)) for k in (found, plain)), strict=True):
        torch.testing.assert_close(one, other)
