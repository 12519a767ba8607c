"""Chunks of partial convolutions by the fused kernels: chunks are batches, seen in place through strides.

Letters as in `genoconv.ops.longconv.conv`; P positions of a chunk, which is a size that the kernels transform. All
chunks are P long: the first begins with the row, the last ends with it, and what two chunks both compute is taken from
the one that owns it.
"""

from collections.abc import Iterator
from itertools import groupby

import torch
from torch import Tensor

from genoconv.ops.longconv.fused import plan_of
from genoconv.ops.longconv.one_sm.plan import OneSmPlan
from genoconv.ops.longconv.overlap_save import launches
from genoconv.ops.longconv.overlap_save.plan import Chunks, Span
from genoconv.ops.longconv.spectrum import StoredSpectrum

_VALUES = 1 << 25
"""Values of the chunks that are convolved in one launch: many blocks, and 64 MB for each of their results."""


def transform(
    u: Tensor, k: Tensor, D: Tensor | None, chunks: Chunks, *, spectrum: Tensor | None, scale: Tensor | None
) -> StoredSpectrum:
    """T(k) + D for chunks of rows u, as it was prepared, or else from k (H, K) and D (H,)."""
    if spectrum is not None and scale is not None:
        return StoredSpectrum(spectrum, scale, chunks.taps)
    return plan_of(u[..., : chunks.points], gradients=True).prepare_filter(k, D)


def forward(
    u: Tensor, spectrum: StoredSpectrum, gate_in: Tensor | None, gate_out: Tensor | None, chunks: Chunks
) -> Tensor:
    """y (B, H, N) contiguous, of u's type. spectrum: T(k) + D for transforms of P points."""
    if chunks.paired:
        return launches.forward(_plan_of_pairs(u, chunks), u, spectrum, gate_in, gate_out)
    y = torch.empty(u.shape, dtype=u.dtype, device=u.device)
    for b in range(len(u)):
        for run in _runs(list(chunks.forward()), chunks, channels=u.shape[1]):
            rows = [_batch(x, b, run, chunks) for x in (u, gate_in, gate_out)]
            assert rows[0] is not None
            found = plan_of(rows[0], gradients=True).forward(rows[0], spectrum, rows[1], rows[2])
            _keep_own(found, y[b], run, chunks)
    return y


def backward(
    dy: Tensor,
    u: Tensor,
    spectrum: StoredSpectrum,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    chunks: Chunks,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """(du, dk, dD, dgate_in, dgate_out): rows of u's type, dk (H, K) and dD (H,) fp32. Bitwise repeatable.

    Chunks that overlap leave out dgate_out.
    """
    if chunks.paired:
        return launches.backward(_plan_of_pairs(u, chunks), dy, u, spectrum, gate_in, gate_out)
    H = u.shape[1]
    du = torch.empty(u.shape, dtype=u.dtype, device=u.device)
    dgate_in = None if gate_in is None else torch.empty_like(du)
    dk = torch.zeros(H, spectrum.taps, dtype=torch.float32, device=u.device)
    dD = torch.zeros(H, dtype=torch.float32, device=u.device)
    for b in range(len(u)):
        for run in _runs(list(chunks.backward()), chunks, channels=H):
            rows = [_batch(x, b, run, chunks) for x in (dy, u, gate_in, gate_out)]
            assert rows[0] is not None
            assert rows[1] is not None
            # Every product of dk belongs to the chunk that owns its position of u: no other chunk may see it.
            owned, own = torch.zeros(rows[1].shape, dtype=u.dtype, device=u.device), _own(run[0], chunks)
            owned[..., own] = rows[1][..., own]
            du_rows, dk_part, dD_part, dgate_rows, _ = plan_of(owned, gradients=True).backward(
                rows[0], owned, spectrum, rows[2], rows[3]
            )
            dk += dk_part
            dD += dD_part
            _keep_own(du_rows, du[b], run, chunks)
            if dgate_in is not None and dgate_rows is not None:
                _keep_own(dgate_rows, dgate_in[b], run, chunks)
    return du, dk, dD, dgate_in, None


def _plan_of_pairs(u: Tensor, chunks: Chunks) -> OneSmPlan:
    plan = plan_of(u[..., : chunks.points], gradients=True)
    assert isinstance(plan, OneSmPlan)
    return plan


def _start(span: Span, chunks: Chunks) -> int:
    """Where the P positions begin that this chunk reads."""
    return min(span.start, chunks.length - chunks.points)


def _runs(spans: list[Span], chunks: Chunks, *, channels: int) -> Iterator[list[Span]]:
    """Chunks for one launch: whole ones whose starts are ``step`` apart, so that strides can describe them."""
    at_once = max(1, _VALUES // (channels * chunks.points))
    numbered = enumerate(spans)
    for _, members in groupby(numbered, key=lambda pair: _start(pair[1], chunks) - pair[0] * chunks.step):
        run = [span for _, span in members]
        for first in range(0, len(run), at_once):
            yield run[first : first + at_once]


def _batch(x: Tensor | None, b: int, run: list[Span], chunks: Chunks) -> Tensor | None:
    """Row b of x (B, H, N) as a batch of chunks (chunks, H, P); nothing is copied."""
    if x is None:
        return None
    row = x[b, :, _start(run[0], chunks) :]
    shape = (len(run), x.shape[1], chunks.points)
    return row.as_strided(shape, (chunks.step * x.stride(2), x.stride(1), x.stride(2)))


def _own(span: Span, chunks: Chunks) -> slice:
    """Which of its P positions a chunk owns: the same ones for all chunks of a run."""
    start = _start(span, chunks)
    return slice(span.first - start, span.last - start)


def _keep_own(found: Tensor, row: Tensor, run: list[Span], chunks: Chunks) -> None:
    """Move what the chunks own of found (chunks, H, P) to its place in row (H, N)."""
    own = found[..., _own(run[0], chunks)]
    row[:, run[0].first : run[-1].last].view(len(row), len(run), -1).copy_(own.transpose(0, 1))
