"""How good predictions are: the figures of a task, and their bootstrap intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics.functional import classification, regression

from genoconv.models.heads import HeadConfig

Array = npt.NDArray[np.float32]

RESAMPLES = 200
FIGURES: Mapping[str, tuple[str, ...]] = {
    "binary": ("accuracy", "mcc", "auroc", "auprc"),
    "multiclass": ("accuracy", "mcc", "auroc", "auprc"),
    "multilabel": ("accuracy", "mcc", "auroc", "auprc"),
    "regression": ("pearson", "spearman", "r2"),
}
"""Names of the figures, by kind of task. Those of several classes, labels or values are the mean over them."""


def figures(head: HeadConfig, predicted: Array, targets: Array) -> dict[str, float]:
    """The figures :data:`FIGURES` of one set of records; NaN where too few of them differ.

    Args:
        head: the task.
        predicted: (N, K) probabilities or values, as :meth:`.Predictor.predict` gives them.
        targets: (N, C) as :class:`.Labelled` takes them; of several, some may be NaN and are passed over.
    """
    p, y = torch.from_numpy(predicted).double(), torch.from_numpy(targets)
    if head.kind == "multiclass":
        return _of_classes(p, y[:, 0].long())
    columns = []
    for k, known in enumerate(y.isfinite().T):
        a, b = p[known, k], y[known, k]
        columns.append(_of_value(a, b.double()) if head.kind == "regression" else _of_labels(a, b.long()))
    return _means(columns)


def _means(columns: list[dict[str, float]]) -> dict[str, float]:
    """Each figure's mean over the columns that have it."""
    known = {name: [c[name] for c in columns if not np.isnan(c[name])] for name in columns[0]}
    return {name: float(np.mean(values)) if values else np.nan for name, values in known.items()}


def _of_labels(p: Tensor, y: Tensor) -> dict[str, float]:
    """One label: probabilities (N,), 0 or 1 (N,)."""
    both = bool(len(y)) and 0 < int(y.sum()) < len(y)
    return {
        "accuracy": _float(((p > 0.5).long() == y).double().mean()) if len(y) else np.nan,
        "mcc": _float(classification.binary_matthews_corrcoef(p, y)) if both else np.nan,
        "auroc": _float(classification.binary_auroc(p, y)) if both else np.nan,
        "auprc": _float(classification.binary_average_precision(p, y)) if both else np.nan,
    }


def _of_classes(p: Tensor, y: Tensor) -> dict[str, float]:
    """Several classes: probabilities (N, K), numbers of classes (N,); areas are means over the classes there are."""
    if not len(y):
        return dict.fromkeys(FIGURES["multiclass"], np.nan)
    areas = _means([_of_labels(p[:, k], (y == k).long()) for k in range(p.shape[1])])
    return {
        "accuracy": _float((p.argmax(1) == y).double().mean()),
        "mcc": _float(classification.multiclass_matthews_corrcoef(p, y, num_classes=p.shape[1])),
        "auroc": areas["auroc"],
        "auprc": areas["auprc"],
    }


def _of_value(p: Tensor, y: Tensor) -> dict[str, float]:
    """One value, predicted and known (N,); torchmetrics takes small numbers for constant, so both are scaled."""
    if not _varies(p) or not _varies(y):
        return dict.fromkeys(FIGURES["regression"], np.nan)
    p, y = (p - y.mean()) / y.std(), (y - y.mean()) / y.std()
    return {
        "pearson": _float(regression.pearson_corrcoef((p - p.mean()) / p.std(), y)),
        "spearman": _float(regression.spearman_corrcoef(p, y)),
        "r2": _float(regression.r2_score(p, y)),
    }


def _varies(values: Tensor) -> bool:
    return len(values) > 1 and bool(values.std() > 1e-12 * values.abs().max())


def _float(value: Any) -> float:
    return float(value)


def intervals(
    head: HeadConfig, predicted: Array, targets: Array, *, resamples: int, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of :func:`figures`, over records.

    Args:
        head, predicted, targets: as for :func:`figures`.
        resamples: how many times records are drawn with replacement.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in FIGURES[head.kind]}
    for _ in range(resamples):
        some = random.integers(len(targets), size=len(targets))
        for name, value in figures(head, predicted[some], targets[some]).items():
            drawn[name].append(value)
    return percentiles(drawn)


def percentiles(drawn: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """The 95 % interval of what was drawn of each figure; NaN where none of it is a number."""
    found = {}
    for name, values in drawn.items():
        known = [value for value in values if not np.isnan(value)]
        low, high = np.quantile(known, (0.025, 0.975)) if known else (np.nan, np.nan)
        found[name] = float(low), float(high)
    return found
