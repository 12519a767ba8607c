"""Rows of different lengths in chunks that share a launch, through the kernels' own source and host code."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from emulation import harness
from long_convolutions import BARS, Inputs, Problem, error, truth, worst_row
from packed_rows import Spans, faults_of_rows, rows_of, truths
from torch import Tensor

from genoconv.ops import prepare_filter
from genoconv.ops.longconv.chunked import launches, operator
from genoconv.ops.longconv.chunked.operator import Layout
from genoconv.ops.longconv.chunked.plan import Group, Shares
from genoconv.ops.longconv.packed import convolve_spans

pytestmark = pytest.mark.skipif(not harness.available(), reason="needs g++ with C++20")

P = 4096
RAGGED = ((0, 12_293), (12_293, 12_400), (12_407, 16_503), (16_503, 21_290))  # a gap; 4, 1, 1 and 2 chunks
ALIGNED = ((0, 8200), (8208, 8312))


def layout(spans: Spans, *, taps: int, apart: tuple[int, ...] = ()) -> Layout:
    """All rows in chunks of P positions; those ``apart`` as a second group of the same size."""
    groups = []
    for rows in ([r for r in range(len(spans)) if r not in apart], list(apart)):
        if rows:
            ordered = sorted(rows, key=lambda row: spans[row][0] - spans[row][1])
            counts = [-(-(spans[row][1] - spans[row][0]) // P) for row in ordered]
            groups.append(Group(P, tuple(ordered), counts[0], sum(counts), min(counts[0], -(-taps // P) + 1)))
    return Layout(spans, Shares(tuple(groups), ()), full=False)


def solve(x: Inputs, where: Layout) -> dict[str, Tensor]:
    """y and every gradient by one call of the operator."""
    leaves = {n: v.clone().requires_grad_() for n, v in vars(x).items() if v is not None and n != "dy"}
    gates = (leaves.get("gate_in"), leaves.get("gate_out"))
    y = operator.fftconv(leaves["u"], leaves["k"], leaves.get("D"), *gates, where)
    gradients = torch.autograd.grad(y, list(leaves.values()), x.dy)
    return {"y": y.detach()} | {f"d{name}": g for name, g in zip(leaves, gradients, strict=True)}


@pytest.mark.parametrize(
    ("spans", "problem", "apart", "slices"),
    [
        (RAGGED, Problem(21_290, B=1, H=1, K=8000), (1, 3), 1),
        (ALIGNED, Problem(8312, B=1, H=2, K=5000, dtype=torch.float16, gate_in=False, skip=False), (), 2),
    ],
    ids=str,
)
def test_rows_in_chunks_are_rows_and_so_are_their_gradients(
    spans: Spans,
    problem: Problem,
    apart: tuple[int, ...],
    slices: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launches, "_KEPT_CHUNKS", 3)  # the rows apart together, others one after the other
    monkeypatch.setattr(launches, "slices", lambda *_: slices)
    x = problem.inputs()
    x.u[..., :4096] *= 1e-3  # chunks of a row differ in size
    with harness.machine() as gpu:
        got = solve(x, layout(spans, taps=x.k.shape[1], apart=apart))
    assert not faults_of_rows(got, truths(x, spans), spans)
    for (_, a), (b, _) in pairwise(spans):
        assert not got["y"][..., a:b].any(), "a gap is not zero"
        assert not got["du"][..., a:b].any(), "a gap is not zero"
    assert not gpu.overrun(), "written beside a buffer"
    assert gpu.counts.keys() == {"chunk_spectra", "chunk_rows", "chunk_gradients", "filter_grad"}
    for name, counts in gpu.counts.items():
        assert counts.faults == 0, name
        assert counts.wavefronts <= 1.02 * counts.ideal, name


def test_rows_that_are_better_off_elsewhere_join_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = ((0, 4200), (4208, 4608), (4608, 8000), (8000, 8300))
    x = Problem(8304, B=1, H=1, K=4200, gate_in=False).inputs()
    (group,) = layout((spans[0], spans[2]), taps=4200).shares.groups
    where = Layout(spans, Shares((replace(group, rows=(0, 2)),), (1, 3)), full=False)
    monkeypatch.setattr(operator, "layout_of", lambda *_: where)
    with harness.machine():
        y = convolve_spans(x.u, x.k, spans, x.D, None, x.gate_out)
    for (a, b), row in zip(spans, rows_of(x, spans), strict=True):
        assert error(y[..., a:b].contiguous(), truth(row)["y"]) <= BARS[torch.bfloat16]
    assert not y[..., 4200:4208].any()


def test_a_row_that_is_not_finite_stays_by_itself_and_spectra_are_kept() -> None:
    spans = ((0, 4200), (4200, 8296), (8296, 8396))
    x = Problem(8396, B=1, H=1, K=4200).inputs()
    x.u[..., 4300] = float("nan")
    kept = prepare_filter(x.k, 4200, D=x.D)
    with harness.machine() as gpu:
        for _ in range(2):
            y = operator.fftconv(x.u, kept, None, x.gate_in, x.gate_out, layout(spans, taps=4200))
            if "chunk_spectra" in gpu.counts:
                made = gpu.counts.pop("chunk_spectra")
    assert made.faults == 0
    assert "chunk_spectra" not in gpu.counts, "the spectra were made again"
    want = [truth(row)["y"] for row in rows_of(x, spans)]
    for (a, b), value in zip(spans, want, strict=True):
        if value.isfinite().all():
            assert worst_row(y[..., a:b].contiguous(), value) <= BARS[torch.bfloat16]
        else:
            assert y[..., a:b].isnan().all()


def test_of_a_filter_that_its_skip_cancels_nothing_is_left() -> None:
    spans = ((0, 4000),)
    x = Problem(4000, B=1, H=1, K=9, gate_in=False, gate_out=False).inputs()
    x.k.zero_()
    x.k[:, 0] = -x.D.fill_(1.0)
    where = layout(spans, taps=9)
    assert where.shares.groups[0].filter_chunks == 1  # or the second one, where the tap is, stays
    with harness.machine():
        y = operator.fftconv(x.u, x.k, x.D, None, None, where)
    assert y.abs().amax() <= 1e-3 * x.u.abs().amax()
