"""A batch: windows as tensors, with what is given beside them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genoconv.genome.windows.batches import pad_batch
from genoconv.tokens import Tokens

_NONE = torch.empty(0, dtype=torch.uint8)
_Number = TypeVar("_Number", bound=np.generic)
NO_STRATUM = 255
"""The stratum of padding."""


class Batch(NamedTuple):
    """Windows of one batch: each a row, padded on the right, or packed end to end into one row.

    Attributes:
        ids: (B, L) uint8 tokens.
        weights: (B, L) float32 weight of each base in the loss; shape (0,) where all are one.
        tokens: how many of ``ids`` are not padding.
        targets: what is to be predicted of each window, shape (B, C), or of each base, shape (B, L, C), with NaN where
            that is unknown and for padding; shape (0,) where it is the sequence.
        strata: (B, L) uint8, the part of the data that each base belongs to, :data:`NO_STRATUM` for padding; shape
            (0,) where there is one part.
        features: (B, D) vectors computed beforehand, which stand for the model's own; shape (0,) where there are none.
        cu_seqlens: of packed windows, B is 1 and window r is tokens ``cu_seqlens[r]`` to ``cu_seqlens[r + 1]``; the
            first token of each has no weight and no stratum, for nothing before it predicts it. Empty where padded.
    """

    ids: Tensor
    weights: Tensor
    tokens: int
    targets: Tensor
    strata: Tensor = _NONE
    features: Tensor = _NONE
    cu_seqlens: tuple[int, ...] = ()


class Parcel:
    """A batch on its way from a reading process: as arrays, which cross as bytes; each tensor would open a socket."""

    def __init__(self, batch: Batch) -> None:
        self._plain: dict[str, Any] = {"tokens": batch.tokens, "cu_seqlens": batch.cu_seqlens}
        self._arrays = {name: value.numpy() for name, value in batch._asdict().items() if isinstance(value, Tensor)}

    def open(self) -> Batch:
        """The batch."""
        tensors: dict[str, Any] = {name: torch.from_numpy(array) for name, array in self._arrays.items()}
        return Batch(**self._plain, **tensors)

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


def collate_packed(items: Sequence[Item]) -> Batch:
    """Pack windows end to end into one row; they are sequence alone, without targets or vectors."""
    bounds = np.cumsum([0, *(len(item.tokens) for item in items)])
    weights = _end_to_end([item.weights for item in items], bounds, missing=np.float32(1), first=np.float32(0))
    strata = np.empty(0, np.uint8)
    if any(item.strata is not None for item in items):
        none = np.uint8(NO_STRATUM)
        strata = _end_to_end([item.strata for item in items], bounds, missing=none, first=none)
    return Batch(
        ids=torch.from_numpy(np.concatenate([item.tokens for item in items])[None]),
        weights=torch.from_numpy(weights),
        tokens=int(bounds[-1]),
        targets=torch.empty(0),
        strata=torch.from_numpy(strata),
        cu_seqlens=tuple(bounds.tolist()),
    )


def _end_to_end(
    parts: Sequence[npt.NDArray[_Number] | None], bounds: npt.NDArray[np.int64], *, missing: _Number, first: _Number
) -> npt.NDArray[_Number]:
    """Numbers of the tokens of packed windows, (1, T): ``missing`` where there are none, ``first`` at each start."""
    row = np.full((1, bounds[-1]), missing)
    for part, start, stop in zip(parts, bounds[:-1], bounds[1:], strict=True):
        if part is not None:
            row[0, start:stop] = part
        row[0, start] = first
    return row


def _stacked(targets: Sequence[npt.NDArray[np.float32]], length: int) -> npt.NDArray[np.float32]:
    """Targets of windows (C,), or of their bases (window, C), which are padded with NaN to ``length``."""
    if not targets or targets[0].ndim == 1:
        return np.stack(targets) if targets else np.empty(0, np.float32)
    found = np.full((len(targets), length, targets[0].shape[1]), np.nan, np.float32)
    for row, target in zip(found, targets, strict=True):
        row[: len(target)] = target
    return found
