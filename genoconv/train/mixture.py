"""Several tables of windows as one, and the parts of the data that figures are reported for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genoconv.tokens import Tokens
from genoconv.train.batch import Item
from genoconv.train.readers import WindowReader


class JoinedReader:
    """The windows of several readers, one table after the other.

    Args:
        readers: at least one; some may be empty.

    Attributes:
        lengths: bases of every window, shape (windows,).
        parts: windows of each reader.
    """

    def __init__(self, readers: Sequence[WindowReader]) -> None:
        self.readers = tuple(readers)
        self.parts = tuple(map(len, readers))
        self.lengths: npt.NDArray[np.int64] = np.concatenate([reader.lengths for reader in readers])
        self._first = np.cumsum([0, *self.parts])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Tokens:
        """Tokens of one window."""
        return self.read(index).tokens

    def read(self, index: int, *, crop: tuple[int, int] | None = None, flip: bool = False) -> Item:
        """One window; as :meth:`.WindowReader.read`."""
        number = int(np.searchsorted(self._first, index, side="right")) - 1
        return self.readers[number].read(index - int(self._first[number]), crop=crop, flip=flip)


@dataclass(frozen=True)
class Strata:
    """Parts of the data with figures of their own: sources, and regions within them.

    A base's stratum is ``source * max(1, len(regions)) + region``.

    Attributes:
        sources: names; none where there is a single source.
        regions: names; none where there are no regions.
    """

    sources: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of strata; 0 where all is one part."""
        return max(1, len(self.sources)) * max(1, len(self.regions)) if self.sources or self.regions else 0

    def groups(self) -> dict[str, list[int]]:
        """Name -> strata of each source, then of each region."""
        each = max(1, len(self.regions))
        groups = {name: list(range(number * each, (number + 1) * each)) for number, name in enumerate(self.sources)}
        return groups | {name: list(range(number, len(self), each)) for number, name in enumerate(self.regions)}
