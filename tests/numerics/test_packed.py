"""Rows of different lengths in one call give what each gives by itself."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from long_convolutions import BARS, Problem, error
from packed_rows import faults_of_rows, spans_of, truths
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from genoconv.errors import UsageError
from genoconv.ops import FrequencyMask, fftconv, fftconv_packed, prepare_filter
from genoconv.ops.longconv import packed

LENGTHS = (1, 300, 7, 310, 64, 2, 305, 500)
BOUNDS = [0, *torch.tensor(LENGTHS).cumsum(0).tolist()]


def problem(dtype: torch.dtype = torch.float32, **changes: object) -> dict[str, Tensor]:
    """Leaves by name; K is that of the longest row."""
    x = Problem(BOUNDS[-1], B=1, H=3, dtype=dtype, **changes).inputs()  # type: ignore[arg-type]
    leaves = {name: value for name, value in vars(x).items() if value is not None and name != "dy"}
    return {name: value[:, :400].clone() if name == "k" else value for name, value in leaves.items()}


def together(u: Tensor, k: Tensor, **rest: Tensor) -> Tensor:
    return fftconv_packed(u, k, BOUNDS, **rest)  # type: ignore[arg-type]


def one_by_one(u: Tensor, k: Tensor, **rest: Tensor) -> Tensor:
    found = []
    for a, b in pairwise(BOUNDS):
        own = {n: x[..., a:b] if n != "D" else x for n, x in rest.items()}
        found.append(fftconv(u[..., a:b], k[:, : b - a], **own))  # type: ignore[arg-type]
    return torch.cat(found, dim=-1)


def differentiated(run: Callable[..., Tensor], leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    named = {name: x.detach().clone().requires_grad_() for name, x in leaves.items()}
    y = run(**named)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return {"y": y.detach(), **dict(zip(named, torch.autograd.grad(y, list(named.values()), dy), strict=True))}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("gates", [(True, True), (False, False)], ids=str)
@pytest.mark.parametrize("alone", [1, 305, 1 << 30])
def test_packed_rows_are_rows_and_so_are_their_gradients(
    alone: int, gates: tuple[bool, bool], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = packed.similar
    monkeypatch.setattr(packed, "similar", lambda lengths, **_: whole(lengths, alone=alone))
    leaves = problem(dtype, gate_in=gates[0], gate_out=gates[1])
    got, want = differentiated(together, leaves), differentiated(one_by_one, leaves)
    assert got.keys() == want.keys()
    for name, value in want.items():
        assert error(got[name], value.double()) <= BARS[dtype], name


def test_a_tensor_of_bounds_and_a_prepared_filter() -> None:
    leaves = problem()
    kept = prepare_filter(leaves["k"], 500, D=leaves["D"])
    gates = {name: leaves[name] for name in ("gate_in", "gate_out")}
    found = fftconv_packed(leaves["u"], kept, torch.tensor(BOUNDS, dtype=torch.int32), **gates)
    assert error(found, one_by_one(**leaves).double()) <= 1e-5


@pytest.mark.parametrize("interleaved", [False, True])
def test_rows_of_a_sparse_filter_are_those_of_single_calls(interleaved: bool) -> None:
    """Such a filter looks ahead, so that the padding of a row would change it."""
    leaves = problem()
    flags = (True, False) if interleaved else (True, False, False, True)
    kept = prepare_filter(leaves["k"], 500, D=leaves["D"], keep=FrequencyMask(flags, interleaved))
    alone = [fftconv(row, kept) for row in leaves["u"].split(LENGTHS, dim=-1)]
    torch.testing.assert_close(fftconv_packed(leaves["u"], kept, BOUNDS), torch.cat(alone, dim=-1))


def test_no_row_is_padded_to_the_longest_of_all() -> None:
    lengths = [10, 11, 12, 100, 124, 126, 5000, 6000]
    groups = list(packed.similar(lengths, alone=1 << 30))
    assert sorted(row for group in groups for row in group) == list(range(8))
    assert [sorted(lengths[row] for row in group) for group in groups] == [
        [10, 11, 12],
        [100, 124],
        [126],
        [5000, 6000],
    ]
    assert [6] in list(packed.similar(lengths, alone=5000)), "a long row stays where it lies"


class Operations(TorchDispatchMode):
    """Counts what is done."""

    count = 0

    def __torch_dispatch__(
        self, func: Callable[..., object], types: object, args: tuple[object, ...] = (), kwargs: Any = None
    ) -> object:
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_short_rows_cost_no_operations_of_their_own() -> None:
    counts = []
    for rows in (10, 50):
        u, k = torch.randn(1, 2, 30 * rows, requires_grad=True), torch.randn(2, 30, requires_grad=True)
        with Operations() as seen:
            y = fftconv_packed(u, k, range(0, 30 * rows + 1, 30))
            torch.autograd.grad(y, [u, k], torch.ones_like(y))
        counts.append(seen.count)
    # Cutting the gradient of one row out of that of all of them would take longer than convolving them.
    assert counts[0] == counts[1]


def test_between_rows_there_may_be_gaps() -> None:
    u, k = torch.randn(1, 2, 30), torch.randn(2, 8)
    y = packed.convolve_spans(u, k, [(2, 10), (16, 28)], None, None, None)
    for a, b in ((2, 10), (16, 28)):
        torch.testing.assert_close(y[..., a:b], fftconv(u[..., a:b], k))
    assert not y[..., :2].any()
    assert not y[..., 10:16].any()
    assert not y[..., 28:].any()


U, K = torch.zeros(1, 3, 40), torch.zeros(3, 9)
MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "batch": (lambda: fftconv_packed(U.expand(2, -1, -1), K, [0, 40]), r"\(1, H, T\).*got \(2, 3, 40\)"),
    "short of the end": (lambda: fftconv_packed(U, K, [0, 39]), "start at 0 and end at T = 40; got 0 to 39"),
    "late start": (lambda: fftconv_packed(U, K, [1, 40]), "got 1 to 40"),
    "no bounds": (lambda: fftconv_packed(U, K, []), "got nothing"),
    "empty row": (lambda: fftconv_packed(U, K, [0, 9, 9, 40]), "row 1 is from 9 to 9"),
    "backwards": (lambda: fftconv_packed(U, K, [0, 20, 10, 40]), "row 1 is from 20 to 10"),
    "half a position": (lambda: fftconv_packed(U, K, [0, 9.5, 40]), r"R \+ 1 integers; got \[0, 9.5, 40\]"),
    "text": (lambda: fftconv_packed(U, K, ["0", "40"]), "R \\+ 1 integers"),
    "a number": (lambda: fftconv_packed(U, K, 40), "R \\+ 1 integers; got 40"),
    "floating": (lambda: fftconv_packed(U, K, torch.tensor([0.0, 40.0])), r"a tensor \(2,\) of torch.float32 on cpu"),
    "two dimensions": (lambda: fftconv_packed(U, K, torch.tensor([[0, 40]])), r"a tensor \(1, 2\) of torch.int64"),
    "channels": (lambda: fftconv_packed(U, K[:2], [0, 40]), "k has 2 channels, but u has 3"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_value(mistake: str) -> None:
    call, message = MISTAKES[mistake]
    with pytest.raises(UsageError, match=message):
        call()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["y", "du", "dk", "dD", "dgate_in", "dgate_out"])
def test_results_that_are_zero_are_faults(name: str, channels: int) -> None:
    """The checks of the kernels allow more of results with few values, such as dD, but not this."""
    spans = spans_of((1, 77, 300))
    x = Problem(spans[-1][1], B=1, H=channels, dtype=torch.bfloat16).inputs()
    want = truths(x, spans)
    got = {
        key: torch.cat(values, -1).to(torch.float32 if key in ("dk", "dD") else x.u.dtype)
        for key, values in want.items()
    }
    assert not faults_of_rows(got, want, spans)
    assert faults_of_rows(got | {name: torch.zeros_like(got[name])}, want, spans)
