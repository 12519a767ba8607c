"""Which plan convolves rows where another one has the gradients: its filter is transformed for both, or for one."""

from types import SimpleNamespace

import pytest
import torch

from genoconv.gpu.targets import card_of
from genoconv.ops.longconv import fused
from genoconv.ops.longconv.regimes import choose_plan


def plan_that_notes(name: str, calls: list[str], *, least_batch: int = 1) -> SimpleNamespace:
    def prepare_filter(k: torch.Tensor, D: object) -> str:
        calls.append(f"{name}: filter")
        return name

    def forward(u: torch.Tensor, spectrum: str, gate_in: object, gate_out: object, *, fresh: bool) -> torch.Tensor:
        assert spectrum == name
        calls.append(f"{name}: rows")
        return u

    plan = SimpleNamespace(prepare_filter=prepare_filter, forward=forward, least_batch=least_batch)
    plan.gradients = plan
    return plan


@pytest.mark.parametrize(
    ("batches", "gradients", "expected"),
    [
        (3, False, ["own: filter", "own: rows"]),
        (4, False, ["own: filter", "own: rows"]),
        (4, True, ["own: filter", "own: rows", "other: filter"]),
        (3, True, ["other: filter", "other: rows"]),
    ],
)
def test_a_small_batch_with_gradients_transforms_its_filter_once(
    batches: int, gradients: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    own = plan_that_notes("own", calls, least_batch=4)
    own.gradients = plan_that_notes("other", calls)
    monkeypatch.setattr(fused, "plan_of", lambda u: own)
    u = torch.zeros(batches, 1, 8)
    y, spectrum = fused.convolve(u, torch.zeros(1, 8), None, None, None, gradients=gradients)
    assert y is u
    assert calls == expected
    assert spectrum == ("other" if gradients else "own")


@pytest.mark.parametrize(("length", "least"), [(32_768, 1), (65_536, 1), (131_072, 4), (262_145, 1)])
def test_clusters_alone_need_several_batches(length: int, least: int) -> None:
    assert choose_plan(length, card=card_of("sm_90")).least_batch == least
