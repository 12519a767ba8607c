"""The kernels of long rows, from their own source, against the definition in float64: small plans of every kind."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from broken_kernels import AHEAD_CHANGES, LONG_CHANGES, SPARSE_CHANGES, broken_sources
from emulation import harness
from long_convolutions import BARS, Inputs, Problem, error, faults, gradients_through, truth
from torch import Tensor

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card
from genoconv.ops import FrequencyMask, fftconv_sparse
from genoconv.ops.longconv import fused, regimes, sparse_kernels
from genoconv.ops.longconv.host import DTYPES
from genoconv.ops.longconv.three_pass.column_blocks import ColumnBlock
from genoconv.ops.longconv.three_pass.factors import COLUMN_WARPS
from genoconv.ops.longconv.three_pass.plan import ThreePassPlan

pytestmark = pytest.mark.skipif(not harness.available(), reason="needs g++ with C++20")


CARD = Card("sm_90", 227 * 1024, 2, 50 * 2**20)
POINTS = 4096  # of a line of small plans


def uneven_tiles(x: Inputs) -> None:
    """Half the columns become so small that their tiles have another scale."""
    x.u[..., torch.arange(x.u.shape[-1]) % POINTS >= POINTS // 2] *= 2.0**-13


def uneven_lines(x: Inputs) -> None:
    """Columns of three rows become waves of the first line's frequency, so that other lines have other scales."""
    position = torch.arange(x.u.shape[-1])
    wave = torch.cos(torch.pi / 6 * (position // POINTS))
    for rows in (x.u, x.dy, x.gate_in, x.gate_out):
        if rows is not None:
            rows.copy_(rows[..., position % POINTS])
    for rows in (x.u, x.dy):
        rows.copy_(rows * wave)


class LargeBlock(ColumnBlock):
    """The larger block and whole tile of longer columns: those take too long here."""

    warps = 2 * COLUMN_WARPS
    halved = False


class WithLargeBlock(ThreePassPlan):
    """With it."""

    @property
    def column_block(self) -> ColumnBlock:
        return LargeBlock(self.radix, self.split, self.card.smem)


@dataclass(frozen=True)
class Case:
    """A plan and a problem that it solves.

    change: made to the problem's inputs first. warps: of a block with columns of two steps; 16 where r1 is above 8.
    smem_kb: what a block may use of shared memory.
    """

    radix: int
    split: bool
    points: int
    problem: Problem
    change: Callable[[Inputs], None] | None = None
    warps: int = 8
    smem_kb: int = 227

    def __str__(self) -> str:
        change = "" if self.change is None else f"-{self.change.__name__}"
        change += "" if self.warps == 8 else f"-{self.warps} warps"
        change += "" if self.smem_kb == 227 else f"-{self.smem_kb} KB"
        return f"{self.radix}{'x16' if self.split else ''}x{self.points}-{self.problem}{change}"

    def plan(self, card: Card) -> ThreePassPlan:
        size = self.radix * (16 if self.split else 1) * self.points
        N, K = self.problem.N, self.problem.K or self.problem.N
        plan = WithLargeBlock if self.warps == 16 else ThreePassPlan
        card = replace(card, smem=self.smem_kb * 1024)
        return plan(N, K, DTYPES[self.problem.dtype], card, size, self.radix, self.split, self.points)

    def __iter__(self) -> Iterator[Kernel]:  # what conftest builds
        plan, x = self.plan(CARD), self.problem
        how = {"dtype": plan.dtype, "aligned": x.N % 8 == 0}
        yield plan.columns("columns_in", dtype="float32", aligned=False)
        yield plan.columns("columns_out", dtype="float32", aligned=False)
        yield from (plan.line_kernel(n, gate_out=x.gate_out) for n in ("lines", "line_spectra", "line_gradients"))
        for gated in {x.gate_in, x.gate_out}:
            yield plan.columns("columns_in", gated=gated, **how)
            yield plan.columns("columns_out", gated=gated, **how)
        yield plan.columns("columns_out", gated=x.gate_in, second=x.gate_in, **how)

    def solve(self, monkeypatch: pytest.MonkeyPatch, *, sources: Path | None = None, group_bytes: int = 1 << 25):
        with harness.machine(sources=sources) as gpu:
            monkeypatch.setattr(regimes, "choose_plan", lambda *_, **__: self.plan(CARD))
            monkeypatch.setattr(ThreePassPlan, "group_bytes", group_bytes)
            x = self.problem.inputs()
            if self.change is not None:
                self.change(x)
            return x, harness.solve(x), gpu


SMALL = Case(3, False, 4096, Problem(12288, B=2, H=2))

CASES = (
    SMALL,
    replace(SMALL, change=uneven_tiles),
    replace(SMALL, change=uneven_lines),
    # Ragged rows of unusual amplitudes, a constant row and zeros.
    Case(3, False, 4096, Problem(12285, B=3, H=2, dtype=torch.float16, hard=True)),
    # Two tiles of columns, a partial filter, no gates; rows that end within a line.
    Case(20, False, 4096, Problem(70000, B=1, H=1, K=20000, gate_in=False, gate_out=False, skip=False)),
    Case(3, False, 8192, Problem(24000, B=1, H=2, gate_out=False)),
    Case(3, False, 16384, Problem(49152, B=1, H=1, gate_in=False)),
    # Columns in two steps, padded.
    Case(2, True, 4096, Problem(131000, B=1, H=1)),
    Case(2, True, 4096, Problem(131000, B=1, H=1), warps=16),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_long_rows_are_the_convolution_and_its_gradients(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    x, got, gpu = case.solve(monkeypatch)
    # float16 rows of three lines: few terms even out the rounding of a column's matrix.
    assert not faults(got, x, leniency=1.5 if case.problem.dtype == torch.float16 else 1.0)
    assert not gpu.overrun(), "written beside a buffer"
    for name, counts in gpu.counts.items():
        assert counts.faults == 0, name
        assert counts.wavefronts <= 1.02 * counts.ideal, name


SPARSE = (
    # One line of four, rows that end within a line; one f1' of two, in columns of two steps, where few of a lane's
    # pieces fit shared memory, and where its gates wait there for sums too. Most kernels are SMALL's.
    (Case(4, False, 4096, Problem(14_504, B=2, H=1, K=9001)), 4, 1),
    (Case(4, False, 4096, Problem(14_503, B=1, H=1, K=9001, gate_in=False)), 4, 2),
    (Case(2, True, 4096, Problem(131_000, B=1, H=1, skip=False), smem_kb=99), 2, 1),
    (Case(2, True, 4096, Problem(131_000, B=1, H=1)), 2, 0),
)


def sparse_gradients(
    case: Case, every: int, first: int, *, sources: Path | None = None
) -> tuple[dict[str, Tensor], harness.Machine]:
    plan = case.plan(CARD).sparse(every, first)
    assert plan is not None
    assert plan.spectrum_bytes == 4 * plan.size // every
    with harness.machine(sources=sources) as gpu:
        return gradients_through(partial(sparse_kernels.fftconv, plan), case.problem.inputs()), gpu


def sparse_truth(case: Case, every: int, first: int) -> dict[str, Tensor]:
    keep = FrequencyMask(tuple(b == first for b in range(every)), interleaved=True)
    return gradients_through(partial(fftconv_sparse, keep=keep), case.problem.inputs().double())


@pytest.mark.parametrize(("dense", "every", "first"), SPARSE, ids=lambda x: str(x))
def test_lines_that_a_mask_drops_are_left_out(
    dense: Case, every: int, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ThreePassPlan, "group_bytes", 1 << 25)
    got, gpu = sparse_gradients(dense, every, first)
    for name, want in sparse_truth(dense, every, first).items():
        # Few lines even out little. The skip's gradient is a sum in fp32 of what nobody rounds.
        bar = BARS[torch.float32] if name == "dD" else 1.5 * BARS[dense.problem.dtype]
        assert error(got[name], want) <= bar, name
    assert not gpu.overrun()
    assert all(counts.faults == 0 for counts in gpu.counts.values())
    if dense.problem.B > 1:  # a row at a time
        monkeypatch.setattr(ThreePassPlan, "group_bytes", 1)
        for name, again in sparse_gradients(dense, every, first)[0].items():
            assert torch.equal(again, got[name]), name


@pytest.mark.parametrize("change", SPARSE_CHANGES)
def test_a_broken_gradient_of_the_skip_shows(change: str, tmp_path: Path) -> None:
    case, *block = SPARSE[0]
    got, _ = sparse_gradients(case, *block, sources=broken_sources(change, tmp_path))
    assert not error(got["dD"], sparse_truth(case, *block)["dD"]) <= BARS[torch.bfloat16]


def test_groups_and_parts_of_a_batch_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    case = replace(SMALL, problem=Problem(12288, B=3, H=2))
    _, whole, _ = case.solve(monkeypatch)
    for rows in (1, 2, 4):
        _, parts, _ = case.solve(monkeypatch, group_bytes=rows * 4 * 12288)
        for name, value in whole.items():
            assert torch.equal(parts[name], value), (name, rows)


def test_what_is_not_finite_stays_in_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    _, clean, _ = SMALL.solve(monkeypatch)
    inputs = Problem.inputs

    def spoilt(problem: Problem, *device: str):
        x = inputs(problem, *device)
        x.u[1, 0, 5000] = float("nan")
        return x

    monkeypatch.setattr(Problem, "inputs", spoilt)
    _, got, _ = SMALL.solve(monkeypatch)
    assert not torch.isfinite(got["dgate_in"][1, 0, 5000])
    for name in ("y", "dgate_out", "dgate_in"):
        assert name == "dgate_in" or not torch.isfinite(got[name][1, 0, 5000:]).any(), name
        got[name][1, 0] = clean[name][1, 0]
        assert torch.equal(got[name], clean[name]), name
    assert torch.equal(got["du"], clean["du"])
    assert not torch.isfinite(got["dk"][0]).any()
    assert torch.equal(got["dk"][1], clean["dk"][1])


@pytest.mark.parametrize("change", LONG_CHANGES)
def test_a_broken_kernel_shows(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Inputs that intact kernels convolve, as above, where only some inputs show what is broken.
    inputs = {"tiles not levelled": uneven_tiles, "scales of lines left out": uneven_lines}.get(change)
    problem = Problem(12285 if change == "last positions dropped" else 12288, B=2, H=1)
    case = replace(SMALL, problem=problem, change=inputs)
    x, got, _ = case.solve(monkeypatch, sources=broken_sources(change, tmp_path), group_bytes=4 * 12288)
    assert faults(got, x)


@pytest.mark.parametrize("change", [None, *AHEAD_CHANGES])
def test_what_is_not_awaited_shows(change: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(1, True, 4096, Problem(65536, B=1, H=1))
    monkeypatch.setattr(regimes, "choose_plan", lambda *_, **__: case.plan(CARD))
    x = case.problem.inputs()
    with harness.machine(sources=None if change is None else broken_sources(change, tmp_path)):
        y, _ = fused.convolve(x.u, x.k, x.D, x.gate_in, x.gate_out, gradients=False)
    assert (error(y, truth(x)["y"]) <= BARS[y.dtype]) == (change is None)
