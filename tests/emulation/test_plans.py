"""Every plan's kernels, from their own source, against the definition in float64: on any machine with g++."""

from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
from emulation import harness
from long_convolutions import BARS, Problem, error, faults, large_and_small_channels, truth, worst_channel_of_dk

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card
from genoconv.ops import prepare_filter
from genoconv.ops.longconv import fused
from genoconv.ops.longconv.host import DTYPES
from genoconv.ops.longconv.one_sm.blocks import SIZES
from genoconv.ops.longconv.one_sm.plan import FITS, KERNELS, Fit, OneSm, OneSmPlan
from genoconv.ops.longconv.one_sm.shares import Shares

pytestmark = pytest.mark.skipif(not harness.available(), reason="needs g++ with C++20")

KILOBYTES = (227, 163, 99)
GATES = tuple(product((True, False), repeat=2))


def card(kilobytes: int) -> Card:
    return Card("sm_90", kilobytes * 1024, 132, 50 * 2**20)


@dataclass(frozen=True)
class Case:
    """One build of one plan's kernels, and the problems that it is to solve.

    fit: ragged rows end within a chunk of eight, whole ones fill every step: other ways to memory.
    """

    size: int
    kilobytes: int
    dtype: torch.dtype
    gates: tuple[bool, bool]
    fit: Fit

    def __str__(self) -> str:
        gates = "".join("-+"[gate] for gate in self.gates)
        words = (self.size, f"{self.kilobytes}KB", DTYPES[self.dtype], gates, self.fit)
        return "-".join(map(str, words))

    @property
    def plan(self) -> OneSmPlan:
        dtype = DTYPES[self.dtype]
        return OneSm().plan(self.size, self.size, filter_length=self.size, dtype=dtype, card=card(self.kilobytes))

    def kernels(self) -> list[Kernel]:
        gate_in, gate_out = self.gates
        return [self.plan.kernel(n, fit=self.fit, gate_in=gate_in, gate_out=gate_out) for n in KERNELS]

    def __iter__(self):  # what conftest builds
        return iter(self.kernels())

    def problems(self) -> list[tuple[Problem, int]]:
        """Problems, each with the SMs of the GPU that solves it."""
        shared = {"dtype": self.dtype, "gate_in": self.gates[0], "gate_out": self.gates[1]}
        rows = max(self.plan.forward_block.rows, self.plan.backward_block.rows)
        shortest = 1 if self.size == SIZES[0] else self.size // 2 + 1
        short = shortest + (self.size - shortest) // 3
        short = short | 1 if self.fit == "ragged" else -(-short // 8) * 8
        long = self.size - 3 if self.fit == "ragged" else self.size
        if self.fit == "whole":
            return [
                (Problem(long, B=2 * rows if rows < 32 else rows, H=1, hard=True, **shared), 3),
                (Problem(long, B=rows, H=3 if rows < 32 else 2, K=long // 3, skip=False, **shared), 2),
            ]
        few = [
            # More rows than a step takes, and not a multiple: the batch is cut into slices where there are SMs enough.
            (Problem(long, B=rows + 1 if rows < 32 else rows // 2 + 1, H=1, hard=True, **shared), 3),
            # A filter shorter than the row; one batch, or channels that do not share out evenly.
            (Problem(short, B=1, H=3 if rows > 1 else 2, K=max(1, short // 3), skip=False, **shared), 2),
        ]
        if self.size == SIZES[0] and self.fit == "ragged":
            few += [(Problem(N, B=3, H=5, **shared), 132) for N in (1, 2, 7)]
            few += [(Problem(9, B=2 * rows + 1, H=1, **shared), 7)]
        return few


def cases() -> list[Case]:
    """Every plan that a card of 227, 163 or 99 KB can have, both types of rows where the plan is the largest card's."""
    found: list[Case] = []
    for kilobytes, size in ((n, size) for n in KILOBYTES for size in OneSm().sizes(card(n))):
        both = (torch.bfloat16, torch.float16)
        for dtype in both if kilobytes == KILOBYTES[0] else (both[len(found) % 2],):
            turn = len(found)
            found.append(Case(size, kilobytes, dtype, GATES[(turn + turn // 2) % 4], FITS[turn % 3]))
    return found


def test_the_cases_leave_nothing_out() -> None:
    found = cases()
    assert {(c.size, c.dtype) for c in found} == set(product(SIZES, DTYPES))
    for kilobytes in KILOBYTES:
        assert max(c.size for c in found if c.kilobytes == kilobytes) == OneSm().sizes(card(kilobytes))[-1]
    assert {(c.gates, c.fit) for c in found} == set(product(GATES, FITS))
    assert {(c.gates, c.dtype) for c in found} == set(product(GATES, DTYPES))
    assert {(c.size > 4096, c.fit, c.dtype) for c in found} == set(product((True, False), FITS, DTYPES))
    shares = [
        replace(c.plan, card=replace(c.plan.card, sm_count=n)).share_out(p.B, p.H)
        for c in found
        for p, n in c.problems()
    ]
    assert any(s.slices > 1 for s in shares)


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


@pytest.mark.parametrize("N", [16384, 32768])
def test_long_rows_of_fp16_keep_their_bar(N: int) -> None:
    """Because T(k) and the way back to dk round less: without that y is off by 9.06e-4 here, dk by 9.22e-4."""
    x = Problem(N, B=3, H=2, dtype=torch.float16).inputs()
    with harness.machine():
        got = harness.solve(x)
    want = truth(x)
    assert max(error(got[name], want[name]) for name in ("y", "du", "dk")) < BARS[torch.float16]


@pytest.mark.parametrize(("N", "B", "H"), [(256, 32, 37), (2048, 8, 7), (4096, 8, 5), (8192, 3, 3), (32768, 2, 3)])
def test_one_block_after_another_channel(N: int, B: int, H: int) -> None:
    """More channels than blocks, small ones after large: what one leaves behind in a block must not reach the next."""
    x = large_and_small_channels(Problem(N, B=B, H=H).inputs())
    with harness.machine(sm_count=1) as gpu:
        got = harness.solve(x)
    assert not faults(got, x)
    assert worst_channel_of_dk(got, x) < 2.3e-3
    assert all(counts.faults == 0 and counts.wavefronts == counts.ideal for counts in gpu.counts.values())


@pytest.mark.parametrize(("N", "B"), [(8192, 5), (32768, 3)])
def test_blocks_of_a_team_add_to_the_same_sums_in_turns(N: int, B: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Blocks run one after the other here, so each has one step of a channel: the next would wait for ever.
    x = Problem(N, B=B, H=2).inputs()
    got = {}
    for team in (1, 3):
        monkeypatch.setattr(OneSmPlan, "share_out", lambda *_, team=team: Shares(team, 1, team))
        with harness.machine() as gpu:
            got[team] = harness.solve(x)
        assert gpu.counts["backward"].faults == 0
    assert not faults(got[3], x)
    for name, value in got[1].items():
        assert torch.equal(got[3][name], value), name
    # With a block less, the first has a step that must wait for the second's: that it does not go on is seen.
    monkeypatch.setattr(OneSmPlan, "share_out", lambda *_: Shares(2, 1, 2))
    with harness.machine() as gpu:
        harness.solve(x)
    assert gpu.counts["backward"].faults > 0


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
