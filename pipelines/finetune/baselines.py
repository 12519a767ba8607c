"""Rows that keep a report honest: what GC, k-mers, the frozen model and an untrained one predict already."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from genoconv.models.heads import Predictor
    from genoconv.pipelines.finetune.session import Session

Array = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

KS = (3, 4, 5)
MOST_RECORDS = 20_000
"""Records that a linear model learns from: more change it little, and their k-mers take gigabytes."""


def baselines(session: "Session", features: Array | None) -> Iterator[tuple[str, dict[str, Array]]]:
    """Name of each baseline, and its predictions for validation and test. Each is a linear model of fixed features.

    Args:
        session: the run, before or after training.
        features: pooled vectors of all records by the model that it started from, where they were computed.
    """
    from genoconv.pipelines.finetune.vectors import pooled
    from genoconv.train.probes import gc_share, kmer_shares

    data = session.data
    both = session.config.both_strands

    def sequences(members: Numbers) -> list[npt.NDArray[np.uint8]]:
        return [data.sequences[number] for number in members]

    yield "GC content", _linear(session, [lambda members: gc_share(sequences(members))])[1]
    kmers: list[Callable[[Numbers], Array]] = [
        lambda members, k=k: kmer_shares(sequences(members), k, both_strands=both)  # type: ignore[misc]
        for k in KS
    ]
    chosen, found = _linear(session, kmers)
    yield f"{KS[chosen]}-mer frequencies", found
    if features is not None:
        yield "frozen model, linear", _linear(session, [lambda members: features[members]])[1]
    untrained = untrained_model(session)
    yield "random weights, linear", _linear(session, [lambda members: pooled(untrained, sequences(members))])[1]


def _linear(session: "Session", choices: list[Callable[[Numbers], Array]]) -> tuple[int, dict[str, Array]]:
    """The best of several kinds of features on the validation set: its number, and predictions of its linear model."""
    from genoconv.train.probes import fit_probe

    data, head = session.data, session.model.head.config
    train, valid = data.members("train"), data.members("valid")
    train = train[:: -(-len(train) // MOST_RECORDS)]
    probes = []
    for features in choices:
        held_out = features(valid), data.labels.known(valid)
        probes.append(fit_probe(head, features(train), data.labels.known(train), valid=held_out))
    best = min(range(len(probes)), key=lambda number: probes[number].loss)
    splits = [split for split in ("valid", "test") if len(data.members(split))]
    return best, {split: probes[best].predict(choices[best](data.members(split))) for split in splits}


def untrained_model(session: "Session") -> "Predictor":
    """The same network and pooling with random weights."""
    import torch

    from genoconv.models.heads import Predictor
    from genoconv.models.hyena import HyenaDNA

    torch.manual_seed(session.config.run.seed)
    device = next(session.model.parameters()).device
    model = HyenaDNA(session.model.config).to(device)
    head = session.model.head.config
    if head.pooling == "attention":  # untrained, it is the mean
        head = head.model_copy(update={"pooling": "mean"})
    return Predictor.on(model, head).eval()
