"""Every plan's kernels, from their own source, against the definition in float64: on any machine with g++."""

from dataclasses import dataclass
from itertools import product

import pytest
import torch
from emulation import harness
from long_convolutions import Problem, faults

from genoconv.ops import cuda, fused, prepare_filter
from genoconv.ops.plan import KERNELS, SIZES, Kernel, Plan, choose_plan, longest

pytestmark = pytest.mark.skipif(not harness.available(), reason="needs g++ with C++20")

KILOBYTES = (227, 163, 99)
GATES = tuple(product((True, False), repeat=2))


@dataclass(frozen=True)
class Case:
    """One build of one plan's kernels, and the problems that it is to solve.

    ragged: rows end within a chunk of eight, so the kernels' other way to memory is taken.
    """

    size: int
    kilobytes: int
    dtype: torch.dtype
    gates: tuple[bool, bool]
    ragged: bool

    def __str__(self) -> str:
        gates = "".join("-+"[gate] for gate in self.gates)
        words = (self.size, f"{self.kilobytes}KB", cuda.DTYPES[self.dtype], gates, *["ragged"] * self.ragged)
        return "-".join(map(str, words))

    @property
    def plan(self) -> Plan:
        return choose_plan(self.size, dtype=cuda.DTYPES[self.dtype], smem_per_block=self.kilobytes * 1024)

    def kernels(self) -> list[Kernel]:
        gate_in, gate_out = self.gates
        return [self.plan.kernel(n, aligned=not self.ragged, gate_in=gate_in, gate_out=gate_out) for n in KERNELS]

    def __iter__(self):  # what conftest builds
        return iter(self.kernels())

    def problems(self) -> list[tuple[Problem, int]]:
        """Problems, each with the SMs of the GPU that solves it."""
        shared = {"dtype": self.dtype, "gate_in": self.gates[0], "gate_out": self.gates[1]}
        rows = max(self.plan.forward.rows, self.plan.backward.rows)
        shortest = 1 if self.size == SIZES[0] else self.size // 2 + 1
        short = shortest + (self.size - shortest) // 3
        short = short | 1 if self.ragged else -(-short // 8) * 8
        long = self.size - 3 if self.ragged else self.size
        few = [
            # More rows than a step takes, and not a multiple: the batch is cut into slices where there are SMs enough.
            (Problem(long, B=rows + 1 if rows < 32 else rows // 2 + 1, H=1, hard=True, **shared), 3),
            # A filter shorter than the row; one batch, or channels that do not share out evenly.
            (Problem(short, B=1, H=3 if rows > 1 else 2, K=max(1, short // 3), skip=False, **shared), 2),
        ]
        if self.size == SIZES[0] and self.ragged:
            few += [(Problem(N, B=3, H=5, **shared), 132) for N in (1, 2, 7)]
            few += [(Problem(9, B=2 * rows + 1, H=1, **shared), 7)]
        return few


def cases() -> list[Case]:
    """Every plan that a card of 227, 163 or 99 KB can have, both types of rows where the plan is the largest card's."""
    found: list[Case] = []
    for kilobytes, size in product(KILOBYTES, SIZES):
        if size > longest(kilobytes * 1024):
            continue
        both = (torch.bfloat16, torch.float16)
        for dtype in both if kilobytes == KILOBYTES[0] else (both[len(found) % 2],):
            turn = len(found)
            found.append(Case(size, kilobytes, dtype, GATES[(turn + turn // 4) % 4], ragged=turn % 3 == 0))
    return found


def test_the_cases_leave_nothing_out() -> None:
    found = cases()
    assert {(c.size, c.dtype) for c in found} == set(product(SIZES, cuda.DTYPES))
    for kilobytes in KILOBYTES:
        assert max(c.size for c in found if c.kilobytes == kilobytes) == longest(kilobytes * 1024)
    assert {(c.gates, c.ragged) for c in found} == set(product(GATES, (True, False)))
    assert {(c.gates, c.dtype) for c in found} == set(product(GATES, cuda.DTYPES))
    assert {(c.size > 4096, c.ragged, c.dtype) for c in found} == set(
        product((True, False), (True, False), cuda.DTYPES)
    )
    assert any(c.plan.slices(p.B, p.H) > 1 for c in found for p, _ in c.problems())


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_plan_is_the_convolution_and_its_gradients(case: Case) -> None:
    for problem, sm_count in case.problems():
        x = problem.inputs()
        with harness.machine(smem=case.kilobytes * 1024, sm_count=sm_count) as gpu:
            got = harness.solve(x)
        assert not faults(got, x), str(problem)
        assert not gpu.overrun(), "written beside a buffer"
        for name, counts in gpu.counts.items():
            assert counts.faults == 0, name
            assert counts.wavefronts == counts.ideal, name  # no bank conflicts


@pytest.mark.parametrize("N", [256, 2048, 4096, 8192])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_in_its_row(N: int, value: float) -> None:
    problem = Problem(N, B=5, H=2)
    x = problem.inputs()
    with harness.machine():
        clean = harness.solve(x)
        x.u[2, 1, N // 3] = value
        got = harness.solve(x)
    for name in ("y", "dgate_out", "dgate_in"):
        hit = ~torch.isfinite(got[name])
        assert hit[2, 1].any(), name
        hit[2, 1] = False
        assert not hit.any(), name
        got[name][2, 1] = clean[name][2, 1]
        assert torch.equal(got[name], clean[name]), name
    assert torch.equal(got["du"], clean["du"])
    for name in ("dk", "dD"):
        assert not torch.isfinite(got[name][1]).any(), name
        assert torch.equal(got[name][0], clean[name][0]), name


def test_plain_tensors_reach_the_kernels_without_an_operator() -> None:
    x = Problem(512, B=3, H=2).inputs()
    leaves = [value.detach().requires_grad_() for value in (x.u, x.k, x.D, x.gate_in, x.gate_out)]
    with harness.machine():
        want = harness.solve(x)
        # An operator would refuse tensors of the CPU.
        y = fused.fftconv(*leaves)
        got = dict(zip(("du", "dk", "dD", "dgate_in", "dgate_out"), torch.autograd.grad(y, leaves, x.dy), strict=True))
        assert torch.equal(y.detach(), want["y"])
        kept = prepare_filter(x.k, 512, D=x.D)
        u, gate = leaves[0], leaves[3]
        y = fused.fftconv(u, kept, None, gate, x.gate_out)
        again = dict(zip(("du", "dgate_in"), torch.autograd.grad(y, (u, gate), x.dy), strict=True))
        with torch.no_grad():
            assert torch.equal(fused.fftconv(*leaves), want["y"])
    for results in (got, again):
        for name, value in results.items():
            assert torch.equal(value, want[name]), name
