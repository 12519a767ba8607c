"""Rows by clusters of multiprocessors through the kernel's own source and host code, against float64."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from broken_kernels import CLUSTER_CHANGES, broken_sources
from emulation import harness
from long_convolutions import BARS, Inputs, Problem, error, faults, truth
from torch import Tensor

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card
from genoconv.ops.longconv import fused, regimes
from genoconv.ops.longconv.cluster.plan import KERNELS, ClusterPlan
from genoconv.ops.longconv.host import DTYPES
from genoconv.ops.longconv.one_sm.plan import OneSm

pytestmark = pytest.mark.skipif(not harness.available(), reason="needs g++ with C++20")

SMALL = 4096
"""Points of a chunk; those of the plans are 32,768."""


@dataclass(frozen=True)
class Case:
    """A problem for a cluster of so many blocks.

    scales: of every chunk of u, then all others as the last; of dy from the other end on, so that large chunks of one
    meet small ones of the other.
    """

    blocks: int
    problem: Problem
    scales: tuple[float, ...] = (1.0,)
    points: int = SMALL

    def __str__(self) -> str:
        scaled = f"-{self.scales}" if set(self.scales) != {1.0} else ""
        return f"{self.blocks}x{self.points}-{self.problem}{scaled}"

    def plan(self) -> ClusterPlan:
        x, card, dtype = self.problem, Card("sm_90", 227 * 1024, 2, 50 * 2**20), DTYPES[self.problem.dtype]
        part = OneSm().plan(self.points, self.points, filter_length=self.points, dtype=dtype, card=card)
        return ClusterPlan(x.N, x.K or x.N, dtype, card, self.blocks * self.points, part)

    def __iter__(self) -> Iterator[Kernel]:  # what conftest builds
        plan, x = self.plan(), self.problem
        yield from plan.filter_kernels
        for name in KERNELS:
            yield plan.kernel(name, aligned=x.N % 8 == 0, gate_in=x.gate_in, gate_out=x.gate_out)

    def inputs(self) -> Inputs:
        x = self.problem.inputs()
        for chunk in range(self.blocks):
            scale, part = self.scales[min(chunk, len(self.scales) - 1)], slice(chunk * self.points, None)
            x.u[..., part][..., : self.points] *= scale
            x.dy[..., self.blocks * self.points - part.start - self.points :][..., : self.points] *= scale
        return x

    def solve(
        self, x: Inputs, sources: Path | None = None, *, gradients: bool = True
    ) -> tuple[dict[str, Tensor], harness.Machine]:
        with harness.machine(sources=sources) as gpu, pytest.MonkeyPatch.context() as patch:
            patch.setattr(regimes, "choose_plan", lambda *_, **__: self.plan())
            if gradients:
                return harness.solve(x), gpu
            y, _ = fused.convolve(x.u, x.k, x.D, x.gate_in, x.gate_out, gradients=False)
            return {"y": y}, gpu


FIRST = Case(3, Problem(2 * SMALL + 5, B=3, H=2), scales=(1e-4, 1.0))
CASES = (
    FIRST,
    Case(3, Problem(3 * SMALL, B=1, H=1, gate_in=False, gate_out=False), scales=(1e-4, 1e-4, 1.0)),
    Case(4, Problem(4 * SMALL - 8, B=1, H=2, K=9001, dtype=torch.float16, gate_out=False), scales=(1.0, 0.5)),
    Case(8, Problem(8 * SMALL - 3, B=3, H=1, hard=True, gate_in=False, skip=False)),
    Case(3, Problem(2 * 32_768 + 1, B=1, H=1, dtype=torch.float16), points=32_768),
)

IN_ROWS = ("chunks not brought to one scale", "a chunk's own product alone", "one share of the slots left out")
"""Changes of what both directions share, which rows show: gradients need not be built for them."""


def wrong_rows(y: Tensor, x: Inputs) -> bool:
    return not error(y, truth(x)["y"]) <= BARS[y.dtype]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_chunks_of_a_cluster_are_the_convolution_and_so_are_their_gradients(case: Case) -> None:
    x = case.inputs()
    got, gpu = case.solve(x)
    assert not faults(got, x)
    assert not gpu.overrun(), "written beside a buffer"
    assert set(gpu.counts) == {"chunk_spectra", "cluster_rows", "cluster_gradients", "filter_grad"}
    for counts in gpu.counts.values():
        assert counts.faults == 0
        assert counts.wavefronts <= 1.02 * counts.ideal


def test_a_value_that_is_not_finite_stays_in_its_row() -> None:
    x = FIRST.inputs()
    x.u[1, 0, 2 * SMALL + 1] = float("nan")
    got, _ = FIRST.solve(x)
    for name in ("y", "dgate_out"):
        y = got[name]
        assert y[1, 0].isnan().all()
        assert y[0].isfinite().all()
        assert y[2].isfinite().all()
        assert y[1, 1].isfinite().all()
    assert got["du"].isfinite().all()
    assert got["dk"][0, :SMALL].isnan().all(), "the lags to which the value contributes"
    assert got["dk"][1].isfinite().all()


@pytest.mark.parametrize("change", CLUSTER_CHANGES)
def test_a_broken_kernel_shows(change: str, tmp_path: Path) -> None:
    x = FIRST.inputs()
    got, _ = FIRST.solve(x, broken_sources(change, tmp_path), gradients=change not in IN_ROWS)
    assert wrong_rows(got["y"], x) if change in IN_ROWS else faults(got, x)
