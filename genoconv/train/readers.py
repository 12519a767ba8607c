"""Windows by number, as tokens with their weights and regions."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.regions import RegionMap
from genoconv.tokens import Tokens, reverse_complement
from genoconv.train.batch import Item

if TYPE_CHECKING:
    import pandas as pd


class Reader(Protocol):
    """Windows by number, with their lengths in bases."""

    lengths: npt.NDArray[np.int64]

    def __len__(self) -> int: ...

    def read(self, index: int, *, crop: tuple[int, int] | None = None, flip: bool = False) -> Item:
        """One window or part of it, on its own strand or, flipped, on the other."""
        ...


@dataclass(frozen=True)
class RegionWeights:
    """What the regions of a genome are to a reader of its windows.

    Attributes:
        map: the label of each base.
        parts: of each label, the part of the data, (labels,).
        loss: of each label, the weight in the loss, (labels,); None where all are one.
    """

    map: RegionMap
    parts: npt.NDArray[np.uint8]
    loss: npt.NDArray[np.float32] | None = None


class WindowReader:
    """The tokens of a table of windows, each in the direction of its strand.

    Args:
        fasta: where from.
        windows: table with contig, start, end (0-based half-open) and strand.
        masked_weight: weight of soft-masked bases in the loss; None reads no mask.
        stratum: the part of the data that its bases belong to, or with ``regions`` the first of their parts; None where
            there is one part.
        regions: which region each base is in, with the part of each, counted from ``stratum``, and what it weighs in
            the loss; None where there are none.

    Attributes:
        lengths: bases of every window, shape (number of windows,).
    """

    def __init__(
        self,
        fasta: Fasta,
        windows: "pd.DataFrame",
        *,
        masked_weight: float | None = None,
        stratum: int | None = None,
        regions: RegionWeights | None = None,
    ) -> None:
        self.fasta = fasta
        self.contigs: list[str] = windows["contig"].tolist()
        self.starts = windows["start"].to_numpy(np.int64)
        self.ends = windows["end"].to_numpy(np.int64)
        self.lengths: npt.NDArray[np.int64] = self.ends - self.starts
        self.reverse = (windows["strand"] == "-").to_numpy(np.bool_)
        self.masked_weight = masked_weight
        self.stratum = stratum
        self.regions = regions

    def __len__(self) -> int:
        return len(self.contigs)

    def __getitem__(self, index: int) -> Tokens:
        """Tokens of one window."""
        return self.read(index).tokens

    def read(self, index: int, *, crop: tuple[int, int] | None = None, flip: bool = False) -> Item:
        """Tokens and loss weights of one window.

        Args:
            index: row of the table.
            crop: part of the window, 0-based half-open within it along the contig; None is all.
            flip: read the other strand instead.
        """
        first, last = crop or (0, int(self.lengths[index]))
        start = int(self.starts[index]) + first
        where = (self.contigs[index], start, start + last - first)
        weights: npt.NDArray[np.float32] | None = None
        if self.masked_weight is None:
            ids = self.fasta.tokens(*where)
        else:
            ids, mask = self.fasta.tokens_and_mask(*where)
            weights = np.where(mask, np.float32(self.masked_weight), np.float32(1))
        strata = None if self.stratum is None else np.full(len(ids), self.stratum, np.uint8)
        if self.regions is not None:
            labels = self.regions.map.labels(*where)
            strata = self.regions.parts[labels] + np.uint8(self.stratum or 0)
            if self.regions.loss is not None:
                weights = self.regions.loss[labels] if weights is None else weights * self.regions.loss[labels]
        if bool(self.reverse[index]) != flip:
            weights = None if weights is None else weights[::-1]
            strata = None if strata is None else strata[::-1]
            return Item(reverse_complement(ids), weights, None, strata)
        return Item(ids, weights, None, strata)
