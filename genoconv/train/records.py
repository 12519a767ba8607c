"""Labelled sequences as the training loop reads them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from genoconv.tokens import Tokens, reverse_complement
from genoconv.train.batch import Item

Array = npt.NDArray[np.float32]


class RecordReader:
    """Records in memory; a :class:`.Reader`.

    Args:
        sequences: tokens of each record, in the direction in which it is to be read.
        targets: (records, C) what is to be predicted; see :class:`.Labelled`.
        features: (records, D) pooled vectors of a frozen model; None where the model is to compute them.

    Attributes:
        lengths: bases of every record.
    """

    def __init__(self, sequences: Sequence[Tokens], targets: Array, *, features: Array | None = None) -> None:
        self.sequences = sequences
        self.targets = targets
        self.features = features
        self.lengths: npt.NDArray[np.int64] = np.array([len(sequence) for sequence in sequences], np.int64)

    def __len__(self) -> int:
        return len(self.sequences)

    def read(self, index: int, *, crop: tuple[int, int] | None = None, flip: bool = False) -> Item:
        """One record; what was computed beforehand does not depend on ``crop`` or ``flip``."""
        first, last = crop or (0, int(self.lengths[index]))
        tokens = self.sequences[index][first:last]
        features = None if self.features is None else self.features[index]
        tokens = reverse_complement(tokens) if flip else tokens
        return Item(tokens, target=self.targets[index], features=features)


class BaseReader:
    """Records in memory with targets for every base; a :class:`.Reader`.

    Args:
        sequences: tokens of each record, in the direction in which it is to be read.
        targets: of each record (bases, C), in the same direction; NaN where nothing is known. See :class:`.Labelled`.
        opposite: those of the opposite strand, in the direction in which that is read, where they differ from
            ``targets`` reversed; None where they do not.

    Attributes:
        lengths: bases of every record.
    """

    def __init__(
        self, sequences: Sequence[Tokens], targets: Sequence[Array], *, opposite: Sequence[Array] | None = None
    ) -> None:
        self.sequences = sequences
        self.targets = targets
        self.opposite = opposite
        self.lengths: npt.NDArray[np.int64] = np.array([len(sequence) for sequence in sequences], np.int64)

    def __len__(self) -> int:
        return len(self.sequences)

    def read(self, index: int, *, crop: tuple[int, int] | None = None, flip: bool = False) -> Item:
        """One record or part of it, or its opposite strand with the targets of that."""
        first, last = crop or (0, int(self.lengths[index]))
        tokens, targets = self.sequences[index][first:last], self.targets[index][first:last]
        if not flip:
            return Item(tokens, target=targets)
        if self.opposite is None:
            return Item(reverse_complement(tokens), target=targets[::-1])
        length = int(self.lengths[index])
        return Item(reverse_complement(tokens), target=self.opposite[index][length - last : length - first])
