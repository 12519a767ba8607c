"""Short rows of a packed tensor moved together into batches, and results moved back: two copies, however many rows."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from genoconv.ops.longconv import captures
from genoconv.ops.registration import transformed

Span = tuple[int, int]


class Move(NamedTuple):
    """Positions of one tensor in terms of another's.

    Attributes:
        sources: (positions,) which position of the other each takes; any where it takes none.
        none: (positions,) where it takes none; None if nowhere.
    """

    sources: Tensor
    none: Tensor | None


class Batches(NamedTuple):
    """Where rows of (1, H, T) go as batches (rows, H, longest), and where those come from.

    Attributes:
        shapes: rows and longest of each batch.
        there: the packed positions to those of all batches, one row after the other, zeros behind short ones.
        back: the other way, zeros where no row is.
    """

    shapes: tuple[tuple[int, int], ...]
    there: Move
    back: Move

    def take(self, x: Tensor) -> list[Tensor]:
        """Rows of x (1, H, T) as batches."""
        moved = _move(x, self.there, self.back)
        parts = torch.split(moved, [rows * longest for rows, longest in self.shapes], dim=-1)
        shaped = zip(parts, self.shapes, strict=True)
        return [part.view(x.shape[1], *shape).transpose(0, 1) for part, shape in shaped]

    def put_back(self, found: Sequence[Tensor]) -> Tensor:
        """Results of all batches as (1, H, T)."""
        rows = [y.transpose(0, 1).reshape(1, y.shape[1], -1) for y in found]
        return _move(torch.cat(rows, dim=-1), self.back, self.there)


@lru_cache(maxsize=2)
def batches_of(
    spans: tuple[Span, ...], groups: tuple[tuple[int, ...], ...], total: int, device: torch.device
) -> Batches:
    """Batches of the rows of each group, made once for all layers of a model.

    Args:
        spans: start and stop of every row in ``total`` positions.
        groups: numbers of the rows of each batch.
        total: T.
        device: of the rows.
    """
    shapes, parts, back, first, moved = [], [], np.full(total, -1), 0, 0
    for group in groups:
        longest = max(spans[row][1] - spans[row][0] for row in group)
        places = np.full((len(group), longest), -1)
        for number, row in enumerate(group):
            start, stop = spans[row]
            places[number, : stop - start] = np.arange(start, stop)
            back[start:stop] = np.arange(first, first + stop - start)
            first += longest
            moved += stop - start
        shapes.append((len(group), longest))
        parts.append(places.ravel())
    there = np.concatenate(parts)
    return Batches(tuple(shapes), _uploaded(there, device, moved < first), _uploaded(back, device, moved < total))


def _uploaded(sources: NDArray[np.int64], device: torch.device, gaps: bool) -> Move:
    """gaps: whether there are positions that take none; not looked up in ``sources``, which torch.compile cannot."""
    found = captures.uploaded(torch.from_numpy(np.maximum(sources, 0)), device)
    return Move(found, captures.uploaded(torch.from_numpy(sources < 0), device) if gaps else None)


def _move(x: Tensor, there: Move, back: Move) -> Tensor:
    if transformed():
        return _taken(x, there)
    moved: Tensor = _Moved.apply(x, there, back)  # type: ignore[no-untyped-call]
    return moved


class _Moved(torch.autograd.Function):
    """Positions of x (1, H, T) in another order, zeros where there are none; gradients go the other way.

    Slices would make a gradient as large as all rows for each of them.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, there: Move, back: Move) -> Tensor:
        ctx.back = back
        return _taken(x, there)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _taken(gradient, ctx.back), None, None


def _taken(x: Tensor, move: Move) -> Tensor:
    captures.keep(*move)
    found = x.index_select(2, move.sources)
    return found if move.none is None else found.masked_fill_(move.none, 0)
