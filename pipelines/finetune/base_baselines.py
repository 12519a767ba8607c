"""Rows that keep a report on every base honest: GC and the letters around a base, the frozen and an untrained model."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genoconv.pipelines.finetune.base_vectors import Features, Sample, of_model, sample
from genoconv.tokens import A, C, G, T, Tokens

if TYPE_CHECKING:
    from genoconv.pipelines.finetune.session import Session

Array = npt.NDArray[np.float32]

RADII = (5, 10, 20)
_GC_RADIUS = 50


def base_baselines(session: "Session") -> Iterator[tuple[str, Features]]:
    """Name of each baseline, and its predictions (n, K) in place of features. Each is a linear model."""
    from genoconv.pipelines.finetune.baselines import untrained_model

    parts = [sample(session, session.data.members(split)) for split in ("train", "valid")]
    yield f"GC content within {_GC_RADIUS} bases", _linear(session, parts, [gc_around])[1]
    chosen, found = _linear(session, parts, [letters_around(radius) for radius in RADII])
    yield f"letters within {RADII[chosen]} bases", found
    if session.config.mode == "head":
        yield "frozen model, linear", _linear(session, parts, [of_model(session.model)])[1]
    yield "random weights, linear", _linear(session, parts, [of_model(untrained_model(session))])[1]


def _linear(session: "Session", parts: list[Sample], choices: list[Features]) -> tuple[int, Features]:
    """The best of several kinds of features on the validation set: its number, and its linear model."""
    from genoconv.train.probes import fit_probe

    head = session.model.head.config
    probes = []
    for features in choices:
        (train, train_y), valid = ((some.features(features), some.targets) for some in parts)
        full, valid_full = np.isfinite(train_y).all(1), np.isfinite(valid[1]).all(1)
        held_out = valid[0][valid_full], valid[1][valid_full]
        probes.append(fit_probe(head, train[full], train_y[full], valid=held_out))
    best = min(range(len(probes)), key=lambda number: probes[number].loss)
    return best, lambda sequences: [probes[best].predict(some) for some in choices[best](sequences)]


def gc_around(sequences: Sequence[Tokens]) -> list[Array]:
    """(n, 1): GC content among the bases A, C, G, T near each base."""
    return [_gc_around(tokens) for tokens in sequences]


def _gc_around(tokens: Tokens) -> Array:
    upto = [np.r_[0, np.cumsum(some)] for some in ((tokens == C) | (tokens == G), (tokens >= A) & (tokens <= T))]
    place = np.arange(len(tokens))
    first, last = (place - _GC_RADIUS).clip(0), (place + _GC_RADIUS + 1).clip(max=len(tokens))
    strong, known = (some[last] - some[first] for some in upto)
    found: Array = (strong / np.maximum(known, 1)).astype(np.float32)[:, None]
    return found


def letters_around(radius: int) -> Features:
    """(n, 4 (2 radius + 1)): which base stands at each place near each base; zeros beyond the ends."""

    def features(sequences: Sequence[Tokens]) -> list[Array]:
        return [one(tokens) for tokens in sequences]

    def one(tokens: Tokens) -> Array:
        padded = np.pad(tokens, radius)
        near = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1)
        found: Array = np.concatenate([near == letter for letter in (A, C, G, T)], axis=1).astype(np.float32)
        return found

    return features
