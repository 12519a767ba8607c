"""Everything about a length is asked of its plan: a regime that nobody has heard of is served like the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from types import ModuleType
from typing import Any

import pytest
import torch
from calls import call
from torch import Tensor

from genoconv.errors import UsageError
from genoconv.gpu import cache, compiler, targets
from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import ARCHS, Card, card_of
from genoconv.ops import fftconv, prepare_filter
from genoconv.ops.longconv import conv, doctor, fused, regimes
from genoconv.ops.longconv.plan import Plan
from genoconv.ops.longconv.regimes import choose_plan, every_plan, reach, transforms
from genoconv.ops.longconv.spectrum import StoredSpectrum

H200 = card_of("sm_90")


@dataclass(frozen=True, eq=False)
class ToyPlan(Plan):
    """Convolves with torch, on a CPU, rows between what the other regimes serve and 2^30 positions."""

    regime = "toy"
    radices = (2**30,)
    scales = 3
    launches = ModuleType("toy")

    def obstacle(self, channels: int) -> str | None:
        return "the toy has no more than 5 channels" if channels > 5 else None

    def workspace_bytes(self, batches: int, channels: int, *, backward: bool) -> int:
        return 0

    def kernels(self) -> Iterator[Kernel]:
        yield Kernel("toy/convolve", (("TOY", self.size),), 0, 32)

    def explain_kernels(self) -> Iterator[str]:
        yield f"toy of {self.length:,}"


def _prepare_filter(plan: Plan, k: Tensor, D: Tensor | None) -> StoredSpectrum:
    skip = torch.zeros(len(k)) if D is None else D
    return StoredSpectrum(torch.cat([k, skip[:, None]], 1), torch.ones(len(k), 3), k.shape[1])


def _forward(plan: Plan, u: Tensor, spectrum: StoredSpectrum, *gates: Tensor | None, fresh: bool) -> Tensor:
    k, D = spectrum.filter[:, :-1], spectrum.filter[:, -1]
    return fftconv(u, k, D=D, gate_in=gates[0], gate_out=gates[1], backend="torch") + 1


def _backward(plan: Plan, dy: Tensor, u: Tensor, spectrum: StoredSpectrum, *gates: Tensor | None) -> Any:
    return dy * 2, spectrum.filter[:, :-1] * 3, spectrum.filter[:, -1] * 4, None, None


vars(ToyPlan.launches).update(prepare_filter=_prepare_filter, forward=_forward, backward=_backward)


class Toy:
    name = "toy"

    def gradients(self, size: int, dtype: str) -> regimes.Regime | None:
        return None

    def sizes(self, card: Card) -> tuple[int, ...]:
        return (2**10, 2**30)

    def scales(self, size: int, card: Card) -> int:
        return 3

    def plan(self, length: int, size: int, *, filter_length: int, dtype: str, card: Card) -> ToyPlan:
        return ToyPlan(length, filter_length, dtype, card, size)


class OneWay(Toy):
    """Has no kernels for gradients: rows of up to 2^10 positions get those of :class:`Toy`."""

    name = "one way"

    def gradients(self, size: int, dtype: str) -> regimes.Regime:
        return Toy()

    def sizes(self, card: Card) -> tuple[int, ...]:
        return (2**10,)

    def scales(self, size: int, card: Card) -> int:
        return 2

    def plan(self, length: int, size: int, *, filter_length: int, dtype: str, card: Card) -> "OneWayPlan":
        return OneWayPlan(length, filter_length, dtype, card, size)


@dataclass(frozen=True, eq=False)
class OneWayPlan(ToyPlan):
    regime = "one way"
    scales = 2
    launches = ModuleType("one way")

    @property
    def gradients(self) -> Plan:
        return Toy().plan(self.length, 2**10, filter_length=self.filter_length, dtype=self.dtype, card=self.card)


def _forward_one_way(plan: Plan, u: Tensor, spectrum: StoredSpectrum, *gates: Tensor | None, fresh: bool) -> Tensor:
    assert spectrum.scale.shape[1] == 2
    return _forward(plan, u, spectrum, *gates, fresh=fresh) + 10


def _prepare_one_way(plan: Plan, k: Tensor, D: Tensor | None) -> StoredSpectrum:
    made = _prepare_filter(plan, k, D)
    return StoredSpectrum(made.filter, made.scale[:, :2], made.taps)


vars(OneWayPlan.launches).update(prepare_filter=_prepare_one_way, forward=_forward_one_way)


@pytest.fixture
def _toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(regimes, "REGIMES", (*regimes.REGIMES, Toy()))
    monkeypatch.setattr(targets, "local_card", lambda index: H200)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(compiler, "missing", lambda: None)
    regimes.plan_on.cache_clear()
    yield
    regimes.plan_on.cache_clear()


BEYOND = 2**24 + 1
"""A length that no other regime serves."""


@pytest.mark.usefixtures("_toy")
def test_a_new_regime_is_explained_and_warmed(monkeypatch: pytest.MonkeyPatch) -> None:
    from genoconv.pipelines.kernels import run as kernels

    result = call("kernels", "explain", "-n", BEYOND)
    assert "regime toy: transform of 1,073,741,824 points" in result.stdout
    assert f"toy of {BEYOND:,}\n" in result.stdout
    assert Kernel("toy/convolve", (("TOY", 2**30),), 0, 32) in list(kernels.every_kernel("sm_90"))
    compiled: list[str] = []
    monkeypatch.setattr(cache, "compile_kernel", lambda source, defines, *, arch: compiled.append(source))
    monkeypatch.setattr(regimes, "REGIMES", (Toy(),))
    count = kernels.warm(["sm_90"], quiet=True)
    assert compiled == ["toy/convolve"] * 2
    assert count == 2


@pytest.mark.usefixtures("_toy")
def test_a_new_regime_is_dispatched_to(monkeypatch: pytest.MonkeyPatch) -> None:
    u = torch.zeros(1, 2, BEYOND, dtype=torch.bfloat16, device="meta")
    monkeypatch.setattr(torch.Tensor, "device", torch.device("cuda", 0))
    assert fused.unsupported(u) is None
    assert conv.choose(u, BEYOND, "auto") == "cuda"
    assert fused.plan_of(u).regime == "toy"
    assert "no more than 5 channels" in str(fused.unsupported(torch.zeros(1, 1, 1).expand(1, 6, BEYOND).bfloat16()))
    monkeypatch.setattr(regimes, "REGIMES", regimes.REGIMES[:-1])
    assert "positions exceed the" in str(fused.unsupported(u))


@pytest.mark.usefixtures("_toy")
def test_a_new_regime_convolves_differentiates_and_keeps_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regimes, "REGIMES", (Toy(),))
    u, k, D = torch.randn(2, 3, 8).bfloat16().requires_grad_(), torch.randn(3, 8), torch.randn(3)
    taps = k.clone().requires_grad_()
    y = fused.fftconv(u, taps, D, None, None)
    torch.testing.assert_close(y, fftconv(u, k, D=D) + 1)
    du, dk = torch.autograd.grad(y.sum(), (u, taps))
    assert (du == 2).all()
    torch.testing.assert_close(dk, 3 * k)
    kept = prepare_filter(k, 8, D=D)
    torch.testing.assert_close(fused.fftconv(u, kept, None, None, None), y)
    assert list(kept.made) == [("toy", 1024)]


@pytest.mark.usefixtures("_toy")
def test_a_regime_without_gradients_leaves_them_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regimes, "REGIMES", (OneWay(), Toy()))
    u, k, D = torch.randn(2, 3, 8).bfloat16(), torch.randn(3, 8), torch.randn(3)
    plain = fftconv(u, k, D=D)
    torch.testing.assert_close(fused.fftconv(u, k, D, None, None), plain + 11)
    taps, rows = k.clone().requires_grad_(), u.clone().requires_grad_()
    y = fused.fftconv(rows, taps, D, None, None)
    torch.testing.assert_close(y, plain + 11)
    du, dk = torch.autograd.grad(y.sum(), (rows, taps))
    assert (du == 2).all()
    torch.testing.assert_close(dk, 3 * k)
    kept = prepare_filter(k, 8, D=D)
    torch.testing.assert_close(fused.fftconv(u, kept, None, None, None), plain + 11)
    assert list(kept.made) == [("one way", 1024)]
    y = fused.fftconv(rows, kept, None, None, None)  # a prepared filter is transformed once for both ways
    torch.testing.assert_close(y, plain + 1)
    assert (torch.autograd.grad(y.sum(), rows)[0] == 2).all()
    assert list(kept.made) == [("one way", 1024), ("toy", 1024)]


@pytest.mark.usefixtures("_toy")
@pytest.mark.parametrize(
    ("N", "dtype", "gradients", "size", "scales"),
    [
        (40_000, torch.bfloat16, False, 65_536, 1),
        (40_000, torch.bfloat16, True, 40_960, 11),
        (120_000, torch.bfloat16, True, 131_072, 1),
        (120_000, torch.float16, False, 131_072, 1),
        (120_000, torch.float16, True, 131_072, 33),
    ],
)
def test_the_operator_promises_the_filter_that_its_backward_pass_takes(
    N: int, dtype: torch.dtype, gradients: bool, size: int, scales: int
) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        u = torch.empty(2, 3, N, dtype=dtype, device="cuda")
        k = torch.empty(3, N, device="cuda")
        y, kept, scale = torch.ops.genoconv.fftconv(u, k, None, None, None, gradients)
    assert (y.shape, kept.shape, scale.shape) == (u.shape, (3, size), (3, scales))


@pytest.mark.usefixtures("_toy")
def test_the_doctor_examines_a_new_regime(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reach(H200) == 2**30
    monkeypatch.setattr(regimes, "REGIMES", (Toy(),))
    found = list(doctor.check(torch.device("cpu")))
    assert [check.length for check in found] == [1024]


@pytest.mark.parametrize("arch", ARCHS)
def test_transforms_ascend_and_serve_every_length(arch: str) -> None:
    card = card_of(arch)
    sizes = [size for _, size, _ in transforms(card)]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == reach(card)
    for plan, (name, size, scales) in zip(every_plan(card), transforms(card), strict=True):
        assert (plan.regime, plan.size, plan.length, plan.scales) == (name, size, size, scales)
        assert prod(plan.radices) == size
        assert plan.spectrum_bytes >= 4 * size


def test_a_card_that_is_too_old_has_no_plan() -> None:
    old = Card("sm_75", 64 * 1024, 40, 4 * 2**20)
    assert reach(old) == 0
    with pytest.raises(UsageError, match=r"rows of 8 positions exceed the 0 that the kernels support on sm_75"):
        choose_plan(8, card=old)


@pytest.mark.parametrize(
    ("length", "taps", "dtype", "message"),
    [
        (0, None, "bfloat16", "length is 0; it must be at least 1"),
        (-5, None, "bfloat16", "length is -5; it must be"),
        (8, 9, "bfloat16", "K = 9 taps do not fit N = 8 positions; use 1 <= K <= 8"),
        (8, 0, "bfloat16", "K = 0 taps"),
        (8, None, "float32", "no kernel supports float32 rows; use bfloat16 or float16, or backend='torch'"),
        (2**30, None, "bfloat16", r"rows of 1,073,741,824 positions exceed the [\d,]+ .*227 KB.*'torch' or 'auto'"),
    ],
)
def test_what_cannot_be_planned(length: int, taps: int | None, dtype: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_plan(length, filter_length=taps, dtype=dtype, card=H200)


def test_a_card_is_fitted_once_and_not_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    class Counting(Toy):
        def sizes(self, card: Card) -> tuple[int, ...]:
            asked.append(card)
            return super().sizes(card)

    monkeypatch.setattr(regimes, "REGIMES", (Counting(),))
    assert regimes.reach(card_of("sm_90")) == regimes.reach(card_of("sm_90")) > 0
    assert asked == [card_of("sm_90")]
