"""How good predictions for every base are: the figures of :mod:`.evaluation`, with intervals over whole windows.

Neighbouring bases are alike, so that an interval over bases would be far too narrow. Windows are drawn instead; a base
then weighs as often as its window was drawn, and nothing has to be sorted again.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from genoconv.models.heads import HeadConfig
from genoconv.train.evaluation import FIGURES, percentiles

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_MOST_BASES = 100_000
"""Bases from which intervals are computed, spread evenly over all of them."""


def figures(head: HeadConfig, predicted: Array, targets: Array) -> dict[str, float]:
    """The figures of all bases of one set; NaN where too few of them differ.

    Args:
        head: the task.
        predicted: (M, K) probabilities or values.
        targets: (M, C) as :class:`.Labelled` takes them; of ``regression`` with NaN where nothing is known.
    """
    return _prepared(head, predicted, targets).figures(np.ones(len(targets)))


def intervals(
    head: HeadConfig, predicted: Array, targets: Array, windows: npt.NDArray[np.int64], *, resamples: int, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of :func:`figures`, over windows.

    Args:
        head, predicted, targets: as for :func:`figures`.
        windows: (M,) number of the window of each base.
        resamples: how many times windows are drawn with replacement.
        seed: of the draws.
    """
    some = slice(None, None, -(-len(targets) // _MOST_BASES) or 1)
    prepared = _prepared(head, predicted[some], targets[some])
    names, owners = np.unique(windows[some], return_inverse=True)
    random = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in FIGURES[head.kind]}
    for _ in range(resamples if len(names) > 1 else 0):
        often = np.bincount(random.integers(len(names), size=len(names)), minlength=len(names))
        for name, value in prepared.figures(often[owners].astype(np.float64)).items():
            drawn[name].append(value)
    return percentiles(drawn)


class _Prepared(Protocol):
    def figures(self, weights: Floats) -> dict[str, float]: ...


def _prepared(head: HeadConfig, predicted: Array, targets: Array) -> _Prepared:
    p, y = predicted.astype(np.float64), targets.astype(np.float64)
    if head.kind == "regression":
        return _Mean([_Values(p[:, k], y[:, k]) for k in range(head.outputs)])
    if head.kind == "multiclass":
        return _Classes(p, y[:, 0].astype(np.int64))
    return _Mean([_Label(p[:, k], y[:, k] > 0.5) for k in range(head.outputs)])


class _Mean:
    """Each figure's mean over the columns that have it."""

    def __init__(self, columns: list[_Prepared]) -> None:
        self.columns = columns

    def figures(self, weights: Floats) -> dict[str, float]:
        each = [column.figures(weights) for column in self.columns]
        known = {name: [some[name] for some in each if not np.isnan(some[name])] for name in each[0]}
        return {name: float(np.mean(values)) if values else np.nan for name, values in known.items()}


class _Ranks:
    """The order of some values, by which weights add up."""

    def __init__(self, values: Floats) -> None:
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        self.ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True]) if len(ordered) else np.empty(0, np.int64)
        self.values = ordered[self.ends]

    def sums(self, weights: Floats) -> Floats:
        """Weight of all values up to each distinct one, ascending."""
        total: Floats = np.cumsum(weights[self.order])[self.ends]
        return total

    def ranks(self, weights: Floats) -> Floats:
        """Rank of each value, the same for equal ones, up to a constant."""
        upto = self.sums(weights)
        middle = (np.r_[0.0, upto[:-1]] + upto) / 2
        found = np.empty(len(weights))
        found[self.order] = np.repeat(middle, np.diff(np.r_[-1, self.ends]))
        return found


class _Label:
    """One label: probabilities (M,) and whether a base has it (M,)."""

    def __init__(self, p: Floats, y: npt.NDArray[np.bool_]) -> None:
        self.y = y.astype(np.float64)
        self.ranks = _Ranks(-p)
        self.called = int(np.searchsorted(self.ranks.values, -0.5, side="left"))  # distinct values above one half

    def figures(self, weights: Floats) -> dict[str, float]:
        if not len(self.y) or not weights.sum():
            return dict.fromkeys(FIGURES["binary"], np.nan)
        tp, fp = (self.ranks.sums(weights * some) for some in (self.y, 1 - self.y))
        positive, negative = float(tp[-1]), float(fp[-1])
        hits, alarms = (float(np.r_[0.0, some][self.called]) for some in (tp, fp))
        found = {"accuracy": (hits + negative - alarms) / (positive + negative)}
        if not positive or not negative:
            return found | dict.fromkeys(("mcc", "auroc", "auprc"), np.nan)
        called, rest = hits + alarms, positive + negative - hits - alarms
        spread = np.sqrt(called * rest * positive * negative)
        gained, passed = np.diff(tp, prepend=0.0), np.diff(fp, prepend=0.0)
        return found | {
            "mcc": (hits * (negative - alarms) - alarms * (positive - hits)) / spread if spread else 0.0,
            "auroc": float(((tp - gained / 2) * passed).sum()) / (positive * negative),
            "auprc": float((gained * tp / np.maximum(tp + fp, 1e-300)).sum()) / positive,
        }


class _Classes:
    """Several classes: probabilities (M, K) and numbers of classes (M,); areas are means over the classes there are."""

    def __init__(self, p: Floats, y: npt.NDArray[np.int64]) -> None:
        self.width = p.shape[1]
        self.cells = y * self.width + p.argmax(1)
        self.areas = _Mean([_Label(p[:, k], y == k) for k in range(self.width)])

    def figures(self, weights: Floats) -> dict[str, float]:
        table = np.bincount(self.cells, weights, minlength=self.width**2).reshape(self.width, self.width)
        total, there, called = table.sum(), table.sum(1), table.sum(0)
        if not total:
            return dict.fromkeys(FIGURES["multiclass"], np.nan)
        spread = np.sqrt((total**2 - (there**2).sum()) * (total**2 - (called**2).sum()))
        areas = self.areas.figures(weights)
        return {
            "accuracy": float(np.trace(table) / total),
            "mcc": float((np.trace(table) * total - there @ called) / spread) if spread else 0.0,
            "auroc": areas["auroc"],
            "auprc": areas["auprc"],
        }


class _Values:
    """One value: predicted and known (M,), the latter NaN where nothing is known."""

    def __init__(self, p: Floats, y: Floats) -> None:
        self.known = np.isfinite(y)
        self.p, self.y = p[self.known], y[self.known]
        scale = self.y.std() if len(self.y) else 0.0
        if scale:  # so that small numbers are not taken for constant
            self.p, self.y = self.p / scale, self.y / scale
        self.ranks = _Ranks(self.p), _Ranks(self.y)

    def figures(self, weights: Floats) -> dict[str, float]:
        w = weights[self.known]
        pearson = _correlation(self.p, self.y, w)
        if np.isnan(pearson):
            return dict.fromkeys(FIGURES["regression"], np.nan)
        mean = np.average(self.y, weights=w)
        rest, spread = (float((w * (self.y - other) ** 2).sum()) for other in (self.p, mean))
        x, y = (ranks.ranks(w) for ranks in self.ranks)
        return {"pearson": pearson, "spearman": _correlation(x, y, w), "r2": 1 - rest / spread}


def _correlation(x: Floats, y: Floats, weights: Floats) -> float:
    """Pearson's; NaN where one of the two does not vary."""
    total = weights.sum()
    if not total:
        return float("nan")
    x, y = (some - (weights * some).sum() / total for some in (x, y))
    xx, yy, xy = ((weights * some).sum() / total for some in (x * x, y * y, x * y))
    return float(xy / np.sqrt(xx * yy)) if min(xx, yy) > 1e-24 else float("nan")
