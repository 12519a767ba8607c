"""Rows of right-padded token ids: their opposite strand, and the parts in which long ones are read.

Letters in shapes: R records, N tokens, P parts, L tokens of a part.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from genoconv.tokens import PAD, A, T


def opposite(ids: Tensor) -> Tensor:
    """Reverse complement of right-padded ids (R, N), right-padded too."""
    place = torch.arange(ids.shape[1], device=ids.device)
    source = lengths(ids)[:, None] - 1 - place
    turned = ids.gather(1, source.clamp(min=0)).masked_fill(source < 0, PAD)
    return torch.where((turned >= A) & (turned <= T), A + T - turned, turned)  # A C G T follow one another


def lengths(ids: Tensor) -> Tensor:
    """(R,) tokens of each row up to the last that is not PAD."""
    place = torch.arange(1, ids.shape[1] + 1, device=ids.device)
    return torch.where(ids != PAD, place, 0).amax(1)


def cut(ids: Tensor, *, longest: int, last: bool, mirrored: bool = False) -> tuple[Tensor, Tensor]:
    """Parts of records that the model reads at once.

    Args:
        ids: (R, N), right-padded.
        longest: tokens that a part may have.
        last: only the last ``longest`` tokens of each record.
        mirrored: cut where the opposite strand is cut.

    Returns:
        Ids (R, P, L) with L <= ``longest``, PAD where a part or a record ends, and which of them are tokens (bool).
    """
    if ids.shape[1] <= longest:
        return ids[:, None], (ids != PAD)[:, None]
    sizes = lengths(ids)
    if last:
        starts, ends = (sizes - longest).clamp(min=0)[:, None], sizes[:, None]
    else:
        parts = (-(-sizes // longest)).clamp(min=1)[:, None]
        number = torch.arange(int(parts.max()) + 1, device=ids.device).clamp(max=parts)
        whole = sizes[:, None]
        edges = whole - whole * (parts - number) // parts if mirrored else whole * number // parts
        starts, ends = edges[:, :-1], edges[:, 1:]
    length = int((ends - starts).max())
    index = starts[..., None] + torch.arange(length, device=ids.device)
    inside = index < ends[..., None]
    flat = index.clamp(max=ids.shape[1] - 1).flatten(1)
    pieces = ids.gather(1, flat).reshape(index.shape).masked_fill(~inside, PAD)
    return pieces, inside & (pieces != PAD)


def turned(values: Tensor, sizes: Tensor) -> Tensor:
    """Values of each base (R, N, D) of rows that were read backwards, in the order of the bases as given.

    Args:
        values: of the rows that :func:`opposite` makes.
        sizes: (R,) tokens of each row; what lies behind them becomes zero.
    """
    source = sizes[:, None] - 1 - torch.arange(values.shape[1], device=values.device)
    found = values.gather(1, source.clamp(min=0)[..., None].expand_as(values))
    return found.masked_fill(source[..., None] < 0, 0.0)


def overlapping(first: int, last: int, *, length: int, longest: int) -> Iterator[tuple[int, int, int]]:
    """Windows that give each base of a stretch a state, with at least half a window before it.

    A record that fits is one window. In a longer one, windows lie at multiples of half of ``longest``, and each is kept
    from its middle on, the first as a whole: which window a base belongs to depends on its place alone.

    Args:
        first, last: the stretch, 0-based half-open, not empty.
        length: bases of the record, in the direction in which it is read.
        longest: bases that the model reads at once, at least 2 where ``length`` is more.

    Yields:
        Start of a window, first base that it is kept for, and the end of both.
    """
    if length <= longest:
        yield 0, first, last
        return
    step = longest // 2
    for number in range(max(0, first // step - 1), max(0, (last - 1) // step - 1) + 1):
        start = number * step
        yield start, max(first, start + step if number else 0), min(last, start + 2 * step)
