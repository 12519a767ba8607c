"""What tests on a GPU share: when they run, and the kernels that the GPU at hand has."""

from collections.abc import Iterable
from itertools import product

import pytest
import torch
from long_convolutions import (
    Inputs,
    Problem,
    differentiated,
    faults,
)
from torch import Tensor

from genoconv.gpu import cache
from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import local_card
from genoconv.ops import fftconv
from genoconv.ops.longconv import host
from genoconv.ops.longconv.one_sm.blocks import SIZES
from genoconv.ops.longconv.one_sm.plan import KERNELS, Fit, OneSm, OneSmPlan
from genoconv.ops.longconv.regimes import plan_on

ON_A_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU; torch sees none here"),
]

LOW = (torch.bfloat16, torch.float16)
GATES = tuple(product((True, False), repeat=2))


def served() -> int:
    return OneSm().sizes(local_card(0))[-1] if torch.cuda.is_available() else 0


def plan_of(size: int, dtype: torch.dtype) -> OneSmPlan:
    plan = plan_on(size, host.DTYPES[dtype], 0)
    assert isinstance(plan, OneSmPlan)
    return plan


def kernels(size: int, dtype: torch.dtype, gates: Iterable[tuple[bool, bool]], fits: Iterable[Fit]) -> set[Kernel]:
    plan, ways = plan_of(size, dtype), product(KERNELS, gates, fits)
    return {plan.kernel(name, fit=fit, gate_in=g[0], gate_out=g[1]) for name, g, fit in ways}


def compile_all(wanted: Iterable[Kernel]) -> None:
    cache.compile_all(wanted, arch=local_card(0).arch)


def plan_gates(size: int, dtype: torch.dtype) -> list[tuple[bool, bool]]:
    """Two of the four sets of gates, all of them in turns."""
    turn = SIZES.index(size) + LOW.index(dtype)
    return [GATES[(turn + i) % 4] for i in range(2)]


def needs(N: int) -> None:
    if served() < N:
        pytest.skip(f"this GPU's kernels end at {served():,} positions")


def check(problem: Problem) -> None:
    x = problem.inputs("cuda")
    assert not faults(differentiated(x, backend="cuda"), x), str(problem)


def operands(x: Inputs, *, grad: bool = True) -> tuple[Tensor, ...]:
    return tuple(t.detach().requires_grad_(grad) for t in (x.u, x.k, x.D, x.gate_in, x.gate_out))


def gated(u: Tensor, k: Tensor, D: Tensor, gate_in: Tensor, gate_out: Tensor) -> Tensor:
    return fftconv(u, k, D=D, gate_in=gate_in, gate_out=gate_out, backend="cuda")
