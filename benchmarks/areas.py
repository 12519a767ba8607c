"""The area under the ROC curve, and its bootstrap interval."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


def area(scores: Floats, positive: Labels) -> float:
    """Area under the ROC curve; ties count one half."""
    _, which, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[which]
    count = int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(scores) - count)))


def bootstrapped(scores: Floats, positive: Labels, *, samples: int = 1_000) -> tuple[float, float, float]:
    """:func:`area`, and the 95 % interval of samples drawn with replacement from each class."""
    draw = np.random.default_rng(0)
    classes = [np.flatnonzero(positive), np.flatnonzero(~positive)]
    areas = []
    for _ in range(samples):
        rows = np.concatenate([draw.choice(some, len(some)) for some in classes])
        areas.append(area(scores[rows], positive[rows]))
    low, high = np.quantile(areas, [0.025, 0.975])
    return area(scores, positive), float(low), float(high)
