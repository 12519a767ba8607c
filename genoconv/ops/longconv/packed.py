"""Rows of different lengths in one call, end to end without padding, with ``cu_seqlens`` as in attention kernels.

The fused kernels read rows in place: one launch for all rows that share a chunk size
(`genoconv.ops.longconv.chunked`). Of the remaining rows, and of all rows without these kernels, long ones take a call
each, and short ones of similar length are copied into a batch, padded to the longest row of that batch.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from genoconv.errors import UsageError
from genoconv.ops.kernels import backend_of
from genoconv.ops.longconv import arguments, conv, fused
from genoconv.ops.longconv.chunked import operator
from genoconv.ops.longconv.moves import Span, batches_of
from genoconv.ops.longconv.spectrum import FilterSpectrum
from genoconv.ops.registration import transformed

_ALONE = 1 << 22
"""Rows of at least this many values (channels x positions) are convolved alone by the kernels."""

_SIMILAR = 1.25
"""Largest ratio of lengths in a batch of short rows, which are padded to the longest."""


def fftconv_packed(
    u: Tensor,
    k: Tensor | FilterSpectrum,
    cu_seqlens: Tensor | Sequence[int],
    *,
    D: Tensor | None = None,
    gate_in: Tensor | None = None,
    gate_out: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Convolve packed rows, each separately: row r is positions ``cu_seqlens[r]`` to ``cu_seqlens[r + 1]``.

    Args:
        u: (1, H, T), the rows one after the other; floating types as in :func:`genoconv.ops.fftconv`.
        k: (H, K), K up to the length of the longest row; shorter rows use the first taps. Or the result of
            :func:`prepare_filter` for the longest row.
        cu_seqlens: R + 1 ascending integers from 0 to T; every row has at least one position. Best a list or on the
            CPU: reading it from a GPU waits for the stream.
        D: (H,), the skip, or None. Must be None if ``k`` is prepared.
        gate_in, gate_out: (1, H, T) like ``u``, or None.
        backend: as in ``fftconv``.

    Returns:
        (1, H, T) like ``u``: the result of ``fftconv`` for each row. Differentiable in the same inputs.

    Raises:
        UsageError: shapes, types or ``cu_seqlens`` do not match; the message shows both.
        KernelError: as ``fftconv``.
    """
    arguments.check(u, k, D, gate_in, gate_out, backend, piece=True)
    if u.shape[0] != 1:
        raise UsageError(f"u must be (1, H, T), with the rows one after the other; got {tuple(u.shape)}")
    bounds = arguments.row_bounds(cu_seqlens, u.shape[-1])
    return convolve_spans(u, k, list(pairwise(bounds)), D, gate_in, gate_out, backend)


def convolve_spans(
    u: Tensor,
    k: Tensor | FilterSpectrum,
    spans: Sequence[Span],
    D: Tensor | None,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    backend: str = "auto",
) -> Tensor:
    """As :func:`fftconv_packed`, for rows with gaps between them; the result is zero in a gap.

    spans: start and stop of every row, 0-based, half-open, ascending.
    """
    if backend_of(backend) != "torch":
        layout = operator.layout_of(u, k, tuple(spans), D, gate_in, gate_out)
        if layout is not None:
            y = operator.fftconv(u, k, D, gate_in, gate_out, layout)
            others = [spans[row] for row in layout.shares.others]
            return y + _in_batches(u, k, others, D, gate_in, gate_out, backend) if others else y
    return _in_batches(u, k, spans, D, gate_in, gate_out, backend)


def _in_batches(
    u: Tensor,
    k: Tensor | FilterSpectrum,
    spans: Sequence[Span],
    D: Tensor | None,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    backend: str,
) -> Tensor:
    """As :func:`convolve_spans`, a call of ``fftconv`` for each group of similar rows."""
    lengths = [stop - start for start, stop in spans]
    # What the kernels read in place torch.fft would copy, and a group's filter is transformed once.
    alone = _ALONE // u.shape[1] if fused.sizes(u) else u.shape[-1] + 1
    # What a frequency-sparse filter does depends on the length of the rows, so none of them may be padded.
    sparse = isinstance(k, FilterSpectrum) and k.keep is not None
    groups = list(similar(lengths, alone=alone, ratio=1 if sparse else _SIMILAR))
    filters = _filters(k, [max(lengths[row] for row in group) for group in groups])
    pieces = _pieces(spans, {group[0] for group in groups if len(group) == 1}, u.shape[-1])
    sizes = [stop - start for start, stop, _ in pieces]
    inputs = [None if x is None else torch.split(x, sizes, dim=-1) for x in (u, gate_in, gate_out)]

    def convolved(rows: Sequence[Tensor | None], taps: Tensor | FilterSpectrum) -> Tensor:
        assert rows[0] is not None
        return conv.fftconv(rows[0], taps, D=D, gate_in=rows[1], gate_out=rows[2], backend=backend)

    by_row = {group[0]: taps for group, taps in zip(groups, filters, strict=True)}
    found: list[Tensor | None] = [
        None if piece.row is None else convolved([None if x is None else x[number] for x in inputs], by_row[piece.row])
        for number, piece in enumerate(pieces)
    ]
    several = tuple(tuple(group) for group in groups if len(group) > 1)
    if several:
        between = [number for number, piece in enumerate(pieces) if piece.row is None]
        rest = [None if x is None else _joined([x[number] for number in between]) for x in inputs]
        rows = batches_of(_in_rest(spans, pieces), several, sum(sizes[number] for number in between), u.device)
        batches = [[None] * len(several) if x is None else rows.take(x) for x in rest]
        results = [convolved(batch, by_row[group[0]]) for group, *batch in zip(several, *batches, strict=True)]
        back = torch.split(rows.put_back(results), [sizes[number] for number in between], dim=-1)
        for number, part in zip(between, back, strict=True):
            found[number] = part
    gaps = (u.new_zeros(1, u.shape[1], size) for size in sizes)
    return _joined([gap if part is None else part for part, gap in zip(found, gaps, strict=True)])


class _Piece(NamedTuple):
    """A row that is convolved where it lies, or all that lies between two of those (row None)."""

    start: int
    stop: int
    row: int | None


def _pieces(spans: Sequence[Span], single: set[int], total: int) -> list[_Piece]:
    """All of ``total`` positions, in order."""
    found, done = [], 0
    for row in sorted(single):
        start, stop = spans[row]
        if start > done:
            found.append(_Piece(done, start, None))
        found.append(_Piece(start, stop, row))
        done = stop
    if total > done:
        found.append(_Piece(done, total, None))
    return found


def _in_rest(spans: Sequence[Span], pieces: Sequence[_Piece]) -> tuple[Span, ...]:
    """Where rows are once those that are convolved where they lie are taken out; for these, anywhere."""
    found, removed, left = [], 0, [piece for piece in pieces if piece.row is not None]
    for start, stop in spans:
        found.append((start - removed, stop - removed))
        if left and start == left[0].start:
            removed += stop - start
            left.pop(0)
    return tuple(found)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=-1)


def similar(lengths: Sequence[int], *, alone: int, ratio: float = _SIMILAR) -> Iterator[list[int]]:
    """Numbers of the rows to convolve together: from ``alone`` positions on by themselves, shorter ones in groups.

    ratio: largest one of the lengths in a group.
    """
    group: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if lengths[row] >= alone:
            yield [row]
        elif group and lengths[row] > ratio * lengths[group[0]]:
            yield group
            group = [row]
        else:
            group.append(row)
    if group:
        yield group


def _filters(k: Tensor | FilterSpectrum, lengths: list[int]) -> list[Tensor | FilterSpectrum]:
    """The filter of each group."""
    if isinstance(k, FilterSpectrum):
        return [k] * len(lengths)
    if transformed():
        return [k[:, :length] for length in lengths]
    return list(_Beginnings.apply(k, [min(length, k.shape[1]) for length in lengths]))  # type: ignore[no-untyped-call]


class _Beginnings(torch.autograd.Function):
    """k[:, :n] for several n; their gradients are added in place, where slices would each make a whole filter."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, lengths: list[int]) -> tuple[Tensor, ...]:
        ctx.shape, ctx.lengths = k.shape, lengths
        return tuple(k.narrow(1, 0, length) for length in lengths)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        dk = gradients[0].new_zeros(ctx.shape)
        for length, gradient in zip(ctx.lengths, gradients, strict=True):
            dk[:, :length] += gradient
        return dk, None
