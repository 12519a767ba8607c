"""A batch: windows as tensors, with what is given beside them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genoconv.genome.windows.batches import pad_batch
from genoconv.tokens import Tokens

_NONE = torch.empty(0, dtype=torch.uint8)
NO_STRATUM = 255
"""The stratum of padding."""


class Batch(NamedTuple):
    """Windows of one batch, right-padded.

    Attributes:
        ids: (B, L) uint8 tokens.
        weights: (B, L) float32 weight of each base in the loss; shape (0,) where all are one.
        tokens: how many of ``ids`` are not padding.
        targets: what is to be predicted of each window, shape (B, C), or of each base, shape (B, L, C), with NaN where
            that is unknown and for padding; shape (0,) where it is the sequence.
        strata: (B, L) uint8, the part of the data that each base belongs to, :data:`NO_STRATUM` for padding; shape
            (0,) where there is one part.
        features: (B, D) vectors computed beforehand, which stand for the model's own; shape (0,) where there are none.
    """

    ids: Tensor
    weights: Tensor
    tokens: int
    targets: Tensor
    strata: Tensor = _NONE
    features: Tensor = _NONE


class Parcel:
    """A batch on its way from a reading process: as arrays, which cross as bytes; each tensor would open a socket."""

    def __init__(self, batch: Batch) -> None:
        self._tokens = batch.tokens
        self._arrays = {name: value.numpy() for name, value in batch._asdict().items() if isinstance(value, Tensor)}

    def open(self) -> Batch:
        """The batch."""
        return Batch(tokens=self._tokens, **{name: torch.from_numpy(array) for name, array in self._arrays.items()})

    def pin_memory(self) -> Batch:
        """The batch in memory that a GPU copies from by itself; a thread of the loader calls this."""
        batch = self.open()
        return batch._replace(**{name: getattr(batch, name).pin_memory() for name in self._arrays})


class Item(NamedTuple):
    """One window: its tokens (L,), and what is given with them.

    That is the weight of each in the loss, what is to be predicted of the window (C,) or of its tokens (L, C), the
    strata of the tokens, and the vector (D,) that stands for the model's own.
    """

    tokens: Tokens
    weights: npt.NDArray[np.float32] | None = None
    target: npt.NDArray[np.float32] | None = None
    strata: npt.NDArray[np.uint8] | None = None
    features: npt.NDArray[np.float32] | None = None


def collate(items: Sequence[Item]) -> Batch:
    """Pad windows on the right to the longest of them."""
    ids = pad_batch([item.tokens for item in items])
    weighted = any(item.weights is not None for item in items)
    weights = np.ones(ids.shape, np.float32) if weighted else np.empty(0, np.float32)
    targets = [item.target for item in items if item.target is not None]
    divided = any(item.strata is not None for item in items)
    strata = np.full(ids.shape, NO_STRATUM, np.uint8) if divided else np.empty(0, np.uint8)
    features = [item.features for item in items if item.features is not None]
    for row, item in enumerate(items):
        if item.weights is not None:
            weights[row, : len(item.tokens)] = item.weights
        if item.strata is not None:
            strata[row, : len(item.tokens)] = item.strata
    return Batch(
        ids=torch.from_numpy(ids),
        weights=torch.from_numpy(weights),
        tokens=sum(len(item.tokens) for item in items),
        targets=torch.from_numpy(_stacked(targets, ids.shape[1])),
        strata=torch.from_numpy(strata),
        features=torch.from_numpy(np.stack(features) if features else np.empty(0, np.float32)),
    )


def _stacked(targets: Sequence[npt.NDArray[np.float32]], length: int) -> npt.NDArray[np.float32]:
    """Targets of windows (C,), or of their bases (window, C), which are padded with NaN to ``length``."""
    if not targets or targets[0].ndim == 1:
        return np.stack(targets) if targets else np.empty(0, np.float32)
    found = np.full((len(targets), length, targets[0].shape[1]), np.nan, np.float32)
    for row, target in zip(found, targets, strict=True):
        row[: len(target)] = target
    return found
