"""Filters that keep bands of frequencies, through the kernels' own source: what is masked is the stored spectrum."""

from dataclasses import replace

import pytest
import torch
from emulation import harness
from long_convolutions import BARS, Problem, error

from genoconv.errors import KernelError
from genoconv.gpu.targets import Card
from genoconv.ops import FrequencyMask, fftconv_sparse, prepare_filter
from genoconv.ops.longconv import fused, regimes, sparse_kernels
from genoconv.ops.longconv.plan import Plan
from genoconv.ops.longconv.three_pass.plan import ThreePassPlan

pytestmark = pytest.mark.skipif(not harness.available(), reason="needs g++ with C++20")

LOW = FrequencyMask(tuple(b < 2 or b > 13 for b in range(16)))
HALF = FrequencyMask((False, True, True, False))


THREE_PASSES = ThreePassPlan(14_504, 9001, "bfloat16", Card("sm_90", 227 * 1024, 2, 50 * 2**20), 16384, 4, False, 4096)


@pytest.mark.parametrize(
    ("problem", "keep", "plan"),
    [
        (Problem(512, B=33, H=1, K=300), HALF, None),
        (Problem(14_504, B=1, H=1, K=9001), LOW, THREE_PASSES),
    ],
    ids=("one-sm", "three-pass"),
)
def test_bands_are_those_of_the_definition(
    problem: Problem, keep: FrequencyMask, plan: Plan | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if plan is not None:
        monkeypatch.setattr(regimes, "choose_plan", lambda *_, **__: plan)
    x = problem.inputs()
    gates = {"gate_in": x.gate_in, "gate_out": x.gate_out}
    exact = {name: None if gate is None else gate.double() for name, gate in gates.items()}
    truth = x.u.double().requires_grad_()
    want = fftconv_sparse(truth, x.k.double(), keep, D=None if x.D is None else x.D.double(), **exact)
    (du,) = torch.autograd.grad(want, truth, x.dy.double())
    monkeypatch.setattr(fused, "unsupported", lambda _: None)
    u = x.u.clone().requires_grad_()
    with harness.machine() as gpu:
        y = sparse_kernels.convolve(u, x.k, keep, x.D, x.gate_in, x.gate_out, "auto")
        assert y is not None
        (got,) = torch.autograd.grad(y, u, x.dy)
        kept = prepare_filter(x.k, problem.N, D=x.D, keep=keep)
        prepared = sparse_kernels.convolve(x.u, kept, keep, None, x.gate_in, x.gate_out, "auto")
    assert error(y.detach(), want.detach()) <= BARS[x.u.dtype]
    assert error(got, du) <= BARS[x.u.dtype]
    torch.testing.assert_close(prepared, y.detach(), rtol=0, atol=0)
    assert not gpu.overrun()


def test_a_skip_that_the_filter_cancels_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """T(k) + D is nearly nothing; what is dropped of T(k) leaves D."""
    x = Problem(512, B=33, H=1, K=1).inputs()
    x = replace(x, k=-x.D[:, None] * (1 - 2.0**-20))
    gates = {"gate_in": x.gate_in, "gate_out": x.gate_out}
    exact = {name: gate.double() for name, gate in gates.items()}
    monkeypatch.setattr(fused, "unsupported", lambda _: None)
    with harness.machine():
        y = sparse_kernels.convolve(x.u, x.k, LOW, x.D, x.gate_in, x.gate_out, "auto")
    assert y is not None
    want = fftconv_sparse(x.u.double(), x.k.double(), LOW, D=x.D.double(), **exact, backend="torch")
    assert error(y, want) <= BARS[x.u.dtype]


def test_what_the_kernels_do_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "unsupported", lambda _: None)
    monkeypatch.setattr(sparse_kernels, "backend_of", lambda backend: backend)
    x = Problem(4096, B=1, H=1, gate_in=False, gate_out=False).inputs()
    six = FrequencyMask((True, False, True, True, False, True))
    with harness.machine():
        for rows, k, keep, message in (
            (x.u, x.k, six, "16 bands or a divisor"),
            (x.u, x.k.clone().requires_grad_(), LOW, "without gradients"),
            (x.u[..., :3000], x.k[:, :3000], LOW, "need a transform of 3,072, but the kernels use 4,096"),
        ):
            assert sparse_kernels.convolve(rows, k, keep, None, None, None, "auto") is None
            with pytest.raises(KernelError, match=message):
                sparse_kernels.convolve(rows, k, keep, None, None, None, "cuda")
