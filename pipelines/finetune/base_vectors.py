"""Some of the bases of a data set, evenly spaced, with the vectors of a model or plain features of each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genoconv.models.heads import Predictor
from genoconv.pipelines.finetune.bases import BaseLabels
from genoconv.tasks.bases import BaseVectors, whole
from genoconv.tokens import Tokens

if TYPE_CHECKING:
    from genoconv.pipelines.finetune.session import Session

Array = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Features = Callable[[Sequence[Tokens]], list[Array]]
"""Tokens (n,) of some records -> features of each of their bases, (n, F)."""

MOST_BASES = 20_000
_AT_ONCE = 1 << 16
"""Bases of records whose features are held at once, unless one record alone has more."""


@dataclass(frozen=True)
class Sample:
    """Bases with a target.

    Attributes:
        sequences: tokens of the records that have some of them.
        places: which bases of each, 0-based.
        targets: (M, C) of all of them.
    """

    sequences: list[Tokens]
    places: list[Numbers]
    targets: Array

    def features(self, features: Features) -> Array:
        """(M, F)."""
        held = (found for some in in_groups(self.sequences) for found in features(some))
        return np.concatenate([found[places] for found, places in zip(held, self.places, strict=True)])

    def vectors(self, model: Predictor) -> Array:
        """(M, S): what the head of ``model`` sees of each; the model stays in its mode."""
        training = model.training
        found = self.features(of_model(model))
        model.prepare().train(training)
        return found


def of_model(model: Predictor) -> Features:
    """The vectors that the head of a model sees."""
    vectors = BaseVectors(model)
    return lambda sequences: vectors([whole(tokens) for tokens in sequences])


def in_groups(sequences: Sequence[Tokens]) -> Iterator[list[Tokens]]:
    """Records in order, so many at a time that features of all their bases can be held."""
    group: list[Tokens] = []
    for tokens in sequences:
        if group and sum(map(len, group)) + len(tokens) > _AT_ONCE:
            yield group
            group = []
        group.append(tokens)
    yield group


def labels_of(session: "Session") -> BaseLabels:
    """The labels of a session with ``--per-base``."""
    labels = session.data.labels
    assert isinstance(labels, BaseLabels)
    return labels


def sample(session: "Session", members: Numbers, *, most: int = MOST_BASES) -> Sample:
    """About ``most`` bases of some records at equal distances among all that have a target."""
    labels = labels_of(session)
    every = [np.flatnonzero(labels.has_target(number)) for number in members.tolist()]
    step = max(1, -(-sum(map(len, every)) // most))
    sequences, places, targets, offset = [], [], [], 0
    for number, known in zip(members.tolist(), every, strict=True):
        some = known[-offset % step :: step]
        offset += len(known)
        if len(some):
            sequences.append(session.data.sequences[number])
            places.append(some)
            targets.append(labels.targets[number][some])
    return Sample(sequences, places, np.concatenate(targets))
