"""Rows of two halves through the kernel's own source, against the definition in float64: small and full shapes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from broken_kernels import HALVES_CHANGES, broken_sources
from emulation import harness
from long_convolutions import BARS, Inputs, Problem, error, truth, worst_row

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card
from genoconv.ops.longconv import fused
from genoconv.ops.longconv.halves.plan import Halves, HalvesPlan
from genoconv.ops.longconv.host import DTYPES

pytestmark = pytest.mark.skipif(not harness.available(), reason="needs g++ with C++20")

SMALL = 8192
"""Points of a half of the cards with the least shared memory."""
KILOBYTES = {8192: 99, 16_384: 163, 32_768: 227}


@dataclass(frozen=True)
class Case:
    """A problem for halves of ``points``; scales: of the halves of u, and of k and D."""

    points: int
    problem: Problem
    scales: tuple[float, float] = (1.0, 1.0)
    filter_scales: tuple[float, float] = (1.0, 1.0)

    def __str__(self) -> str:
        scaled = self.scales + self.filter_scales
        return f"{self.points}-{self.problem}" + (f"-{scaled}" if set(scaled) != {1.0} else "")

    def plan(self) -> HalvesPlan:
        x, card = self.problem, Card("sm_90", KILOBYTES[self.points] * 1024, 2, 50 * 2**20)
        return Halves().plan(x.N, 2 * self.points, filter_length=x.K or x.N, dtype=DTYPES[x.dtype], card=card)

    def __iter__(self) -> Iterator[Kernel]:  # what conftest builds
        plan, x = self.plan(), self.problem
        yield plan.filter_kernel
        yield plan.kernel(fit=plan.fit(aligned=x.N % 8 == 0), gate_in=x.gate_in, gate_out=x.gate_out)

    def inputs(self) -> Inputs:
        x = self.problem.inputs()
        for first, second, values in ((*self.scales, x.u), (*self.filter_scales, x.k)):
            values[..., : self.points] *= first
            values[..., self.points :] *= second
        if x.D is not None:
            x.D.mul_(self.filter_scales[0])
        return x

    def solve(self, x: Inputs, sources: Path | None = None) -> tuple[torch.Tensor, harness.Machine]:
        with harness.machine(smem=KILOBYTES[self.points] * 1024, sources=sources) as gpu:
            assert fused.plan_of(x.u).regime == "halves"
            y, _ = fused.convolve(x.u, x.k, x.D, x.gate_in, x.gate_out, gradients=False)
        return y, gpu


def wrong(y: torch.Tensor, x: Inputs) -> bool:
    want, bar = truth(x)["y"], BARS[x.u.dtype]
    return not (error(y, want) <= bar and worst_row(y, want) <= 2 * bar)


WHOLE = Case(SMALL, Problem(2 * SMALL, B=3, H=2, hard=True))
LARGER_SECOND_HALF = Case(SMALL, Problem(2 * SMALL, B=2, H=1), scales=(1e-4, 1.0))
LARGER_FIRST_HALF = Case(SMALL, Problem(2 * SMALL, B=2, H=1), scales=(1.0, 1e-6))
LARGER_LATE_TAPS = Case(SMALL, Problem(2 * SMALL, B=2, H=1), filter_scales=(1e-4, 1.0))

CASES = (
    WHOLE,
    LARGER_SECOND_HALF,
    LARGER_FIRST_HALF,
    LARGER_LATE_TAPS,
    Case(SMALL, Problem(9001, B=2, H=2, K=5000, dtype=torch.float16, gate_in=False)),
    Case(16_384, Problem(30_000, B=1, H=2, K=20_000, gate_out=False, skip=False)),
    Case(32_768, Problem(65_536, B=1, H=1)),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_halves_are_the_convolution(case: Case) -> None:
    x = case.inputs()
    y, gpu = case.solve(x)
    assert not wrong(y, x)
    assert not gpu.overrun(), "written beside a buffer"
    assert set(gpu.counts) == {"spectrum", "halves"}
    for counts in gpu.counts.values():
        assert counts.faults == 0
        assert counts.wavefronts <= 1.02 * counts.ideal


def test_a_value_that_is_not_finite_stays_in_its_row_and_does_not_reach_back() -> None:
    x = WHOLE.inputs()
    for batch, position in ((0, 5), (1, SMALL + 5)):
        x.u[batch, 0, position] = float("nan")
    y, _ = WHOLE.solve(x)
    assert y[0, 0].isnan().all()
    assert y[1, 0, SMALL:].isnan().all()
    assert y[1, 0, :SMALL].isfinite().all()
    assert y[:, 1].isfinite().all()
    assert y[2].isfinite().all()


SHOWN_BY = {
    "halves not brought to one scale": LARGER_SECOND_HALF,
    "peak of the first half forgotten": LARGER_FIRST_HALF,
    "filter not brought to one scale": LARGER_LATE_TAPS,
}


@pytest.mark.parametrize("change", HALVES_CHANGES)
def test_a_broken_kernel_shows(change: str, tmp_path: Path) -> None:
    case = SHOWN_BY.get(change, WHOLE)
    x = case.inputs()
    y, _ = case.solve(x, broken_sources(change, tmp_path))
    assert wrong(y, x)
