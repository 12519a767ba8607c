"""Which plan convolves rows where another one has the gradients: its filter is transformed for both."""

from types import SimpleNamespace

import pytest
import torch

from genoconv.gpu.targets import ARCHS, card_of
from genoconv.ops.longconv import fused
from genoconv.ops.longconv.regimes import choose_plan, transforms


def plan_that_notes(name: str, calls: list[str]) -> SimpleNamespace:
    def prepare_filter(k: torch.Tensor, D: object) -> str:
        calls.append(f"{name}: filter")
        return name

    def forward(u: torch.Tensor, spectrum: str, gate_in: object, gate_out: object, *, fresh: bool) -> torch.Tensor:
        assert spectrum == name
        calls.append(f"{name}: rows")
        return u

    plan = SimpleNamespace(prepare_filter=prepare_filter, forward=forward)
    plan.gradients = plan
    return plan


@pytest.mark.parametrize(
    ("gradients", "other", "expected"),
    [
        (False, True, ["own: filter", "own: rows"]),
        (True, True, ["own: filter", "own: rows", "other: filter"]),
        (True, False, ["own: filter", "own: rows"]),
    ],
)
def test_a_filter_is_transformed_once_for_each_plan(
    gradients: bool, other: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    own = plan_that_notes("own", calls)
    if other:
        own.gradients = plan_that_notes("other", calls)
    monkeypatch.setattr(fused, "plan_of", lambda u: own)
    u = torch.zeros(3, 1, 8)
    y, spectrum = fused.convolve(u, torch.zeros(1, 8), None, None, None, gradients=gradients)
    assert y is u
    assert calls == expected
    assert spectrum == ("other" if gradients and other else "own")


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("gradients", [False, True])
def test_the_transform_of_every_length_is_that_of_its_plan(arch: str, gradients: bool) -> None:
    """The operator says from lengths alone, which a compiler follows as symbols, how large spectra are."""
    card = card_of(arch)
    table = transforms(card, gradients=gradients)
    sizes = [size for _, size, _ in table]
    assert sizes == sorted(set(sizes))
    ends = {size for _, size, _ in (*transforms(card), *table)}
    for length in sorted(ends | {size + 1 for size in ends} - {max(ends) + 1}):
        plan = choose_plan(length, card=card)
        plan = plan.gradients if gradients else plan
        assert next(row for row in table if row[1] >= length) == (plan.regime, plan.size, plan.scales)
