"""The labels of whole records, whatever text they came from, and what training records lack of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genoconv.errors import DataError
from genoconv.lines import shortened
from genoconv.tokens import Tokens
from genoconv.wording import listed

if TYPE_CHECKING:
    from genoconv.train.readers import Reader

_OUTLIER = 30.0
"""Distance from the median, in units of the range that half of the values lie in."""

Targets = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Labels:
    """Targets of all records.

    Attributes:
        kind: as :attr:`.HeadConfig.kind`.
        names: as :attr:`.HeadConfig.labels`.
        targets: (records, C) float32, as :class:`.Labelled` takes them; NaN where one of several labels is missing.
        reason: why this kind, in words.
    """

    kind: Any
    names: tuple[str, ...]
    targets: Targets
    reason: str

    def known(self, members: npt.NDArray[np.int64]) -> Targets:
        """Targets (M, C) of some records."""
        return self.targets[members]

    def check_training(self, members: npt.NDArray[np.int64], *, source: str) -> str | None:
        """What the training records lack that others have, in words; None where nothing.

        Raises:
            DataError: they are all alike, so that nothing can be learned.
        """
        known = self.known(members)
        if self.kind == "regression" or self.kind == "multilabel":
            same = [name for name, column in zip(self.names, known.T, strict=True) if _alike(column)]
            if len(same) == len(self.names) or (same and self.kind == "regression"):
                raise DataError(
                    f"{source}: {listed(same)} is the same in every training record; nothing can be learned"
                )
            if same:
                return f"{listed(same)} is the same in every training record"
            return self._outliers(known) if self.kind == "regression" else None
        there = set(known[:, 0].astype(int).tolist())
        if len(there) < 2:
            [only] = there
            raise DataError(
                f"{source}: every training record is of class {shortened(self.names[only])}; nothing can be learned:"
                " change the splits"
            )
        lacking = [name for number, name in enumerate(self.names) if number not in there]
        return f"no training record of {listed(lacking)}, which cannot be learned" if lacking else None

    def _outliers(self, known: Targets) -> str | None:
        """A value so far from the others that it alone decides the loss, in words."""
        low, middle, high = np.nanquantile(known, (0.25, 0.5, 0.75), axis=0)
        away = np.abs(known - middle) / np.where(high > low, high - low, np.inf)
        row, column = np.unravel_index(int(np.nanargmax(away)), away.shape)
        if away[row, column] <= _OUTLIER:
            return None
        return (
            f"{self.names[column]} has the value {known[row, column]:g}, and half of its values lie between"
            f" {low[column]:g} and {high[column]:g}; such values dominate the loss: clip them, or take logarithms"
        )

    def groups(self) -> list[object]:
        """The class of each record, where it has one; equal for all others."""
        return list(self.targets[:, 0].tolist()) if self.kind in ("binary", "multiclass") else [0] * len(self.targets)

    def reader(self, sequences: Sequence[Tokens], members: npt.NDArray[np.int64], features: Targets | None) -> "Reader":
        """What training reads of some records; with their pooled vectors, where those stay as they are."""
        from genoconv.train.records import RecordReader

        return RecordReader(
            [sequences[number] for number in members],
            self.targets[members],
            features=None if features is None else features[members],
        )

    def describe(self) -> dict[str, Any]:
        """For ``data.json``, beside what is the same for all labels."""
        return {}


def _alike(column: Targets) -> bool:
    """Whether the known values of a column are all the same, or there are none."""
    known = column[np.isfinite(column)]
    return not len(known) or bool((known == known[0]).all())
