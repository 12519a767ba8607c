"""Figures of predictions for every base: those of torchmetrics, and intervals over windows."""

import numpy as np
import pytest

from genoconv.models.heads import HeadConfig
from genoconv.train import base_evaluation, evaluation

RANDOM = np.random.default_rng(4)


def example(kind: str, count: int = 400) -> tuple[HeadConfig, np.ndarray, np.ndarray]:
    labels = {"binary": ("no", "yes"), "regression": ("x", "y")}.get(kind, ("a", "b", "c"))
    head = HeadConfig(kind=kind, labels=labels, pooling="none")  # type: ignore[arg-type]
    p = RANDOM.random((count, head.outputs)).round(2).astype(np.float32)  # rounded: many are equal
    if kind == "multiclass":
        return head, p / p.sum(1, keepdims=True), RANDOM.integers(3, size=(count, 1)).astype(np.float32)
    noisy = p + RANDOM.normal(0, 0.4, p.shape)
    targets = noisy.round(1) if kind == "regression" else noisy > 0.5
    return head, p, targets.astype(np.float32)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "regression"])
def test_figures_are_those_of_torchmetrics(kind: str) -> None:
    head, p, y = example(kind)
    wanted = evaluation.figures(head, p, y)
    assert base_evaluation.figures(head, p, y) == pytest.approx(wanted, abs=1e-6)
    # A weight is a repetition.
    often = RANDOM.integers(3, size=len(p))
    wanted = evaluation.figures(head, p.repeat(often, axis=0), y.repeat(often, axis=0))
    assert base_evaluation._prepared(head, p, y).figures(often.astype(float)) == pytest.approx(wanted, abs=1e-6)


def test_intervals_are_over_windows() -> None:
    """Bases that repeat one another do not make an interval narrower."""
    head, p, y = example("binary", 60)
    plain = evaluation.intervals(head, p, y, resamples=400, seed=1)["auroc"]
    copies = 50
    windows = np.arange(60).repeat(copies)
    found = base_evaluation.intervals(
        head, p.repeat(copies, axis=0), y.repeat(copies, axis=0), windows, resamples=400, seed=1
    )["auroc"]
    assert found == pytest.approx(plain, abs=0.03)
    each = base_evaluation.intervals(
        head, p.repeat(copies, axis=0), y.repeat(copies, axis=0), np.arange(60 * copies), resamples=100
    )["auroc"]
    assert each[1] - each[0] < 0.5 * (found[1] - found[0])


def test_what_is_unknown_or_constant() -> None:
    _, p, y = example("regression")
    y[::3, 0] = np.nan
    known = np.isfinite(y[:, 0])
    one = HeadConfig(kind="regression", labels=("x",), pooling="none")
    wanted = evaluation.figures(one, p[known, :1], y[known, :1])
    assert base_evaluation.figures(one, p[:, :1], y[:, :1]) == pytest.approx(wanted, abs=1e-6)
    assert np.isnan(base_evaluation.figures(one, p[:, :1], np.full_like(y[:, :1], 2.0))["pearson"])
    binary = HeadConfig(kind="binary", labels=("no", "yes"), pooling="none")
    some = base_evaluation.figures(binary, p[:, :1], np.zeros((len(p), 1), np.float32))
    assert np.isnan(some["auroc"])
    assert some["accuracy"] == pytest.approx((p[:, 0] <= 0.5).mean())
    lonely = base_evaluation.intervals(one, p[:, :1], p[:, :1], np.zeros(len(p), np.int64), resamples=5)
    assert np.isnan(lonely["pearson"]).all()
