"""Chunks of partial convolutions by torch.fft, in float32 (float64 for float64 rows), on any device.

Letters: B batch, H channels, N positions, K taps, P points of a chunk. The transform of a chunk is circular with P
points and no padding: what comes round falls on positions that another chunk owns.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from genoconv.ops.longconv.overlap_save.plan import Chunks
from genoconv.ops.precision import upcast

_CPU_VALUES = 1 << 21
_GPU_VALUES = 1 << 26
"""Values of a chunk that are transformed at once: what stays in a CPU's caches, what fills a GPU."""


def forward(
    u: Tensor, spectrum: Tensor, D: Tensor | None, gate_in: Tensor | None, gate_out: Tensor | None, chunks: Chunks
) -> Tensor:
    """y (B, H, N) like ``u``. spectrum: :func:`transform` of the taps; D (H,)."""
    y = torch.empty(u.shape, dtype=u.dtype, device=u.device)
    for rows in _groups(u, chunks):
        skip = None if D is None else D[rows[1]].to(spectrum.real.dtype)[:, None]
        for span in chunks.forward():
            read, own = slice(span.start, span.stop), slice(span.first, span.last)
            v = _gated(u, gate_in, rows, read)
            x = torch.fft.rfft(v, n=chunks.points).mul_(spectrum[rows[1]])
            c = torch.fft.irfft(x, n=chunks.points)[..., span.first - span.start : span.last - span.start]
            if skip is not None:
                c = torch.addcmul(c, v[..., span.first - span.start :], skip)
            y[*rows, own] = c if gate_out is None else c * upcast(gate_out[*rows, own])
    return y


def backward(
    dy: Tensor,
    u: Tensor,
    spectrum: Tensor,
    D: Tensor | None,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    chunks: Chunks,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """(du, dk, dD, dgate_in): rows like ``u``, dk (H, K) and dD (H,) in the spectrum's precision."""
    du = torch.empty(u.shape, dtype=u.dtype, device=u.device)
    dgate_in = None if gate_in is None else torch.empty_like(du)
    products = torch.zeros_like(spectrum)
    for rows in _groups(u, chunks):
        channels = rows[1]
        skip = None if D is None else D[channels].to(spectrum.real.dtype)[:, None]
        for span in chunks.backward():
            read, own = slice(span.start, span.stop), slice(span.first, span.last)
            dc = _gated(dy, gate_out, rows, read)
            x = torch.fft.rfft(dc, n=chunks.points)
            v = torch.fft.rfft(_gated(u, gate_in, rows, own), n=chunks.points)
            products[channels] += torch.linalg.vecdot(v, x, dim=0)
            dv = torch.fft.irfft(x.mul_(spectrum[channels].conj()), n=chunks.points)[..., : span.last - span.first]
            if skip is not None:
                dv = torch.addcmul(dv, dc[..., : span.last - span.first], skip)
            du[*rows, own] = dv if gate_in is None else dv * upcast(gate_in[*rows, own])
            if dgate_in is not None:
                dgate_in[*rows, own] = dv * upcast(u[*rows, own])
    dk = torch.fft.irfft(products, n=chunks.points)[:, : chunks.taps].contiguous()
    return du, dk, dk[:, 0].clone(), dgate_in


def transform(taps: Tensor, chunks: Chunks, *, like: Tensor) -> Tensor:
    """What :func:`forward` wants of taps (H, K) for rows ``like`` these: (H, P / 2 + 1) complex."""
    spectrum: Tensor = torch.fft.rfft(taps.to(upcast(like[..., :0]).dtype), n=chunks.points)
    return spectrum


def _gated(x: Tensor, gate: Tensor | None, rows: tuple[slice, slice], positions: slice) -> Tensor:
    values = upcast(x[*rows, positions])
    return values if gate is None else values * upcast(gate[*rows, positions])


def _groups(u: Tensor, chunks: Chunks) -> Iterator[tuple[slice, slice]]:
    """Batches and channels that are done together, few enough that a chunk of them stays within its budget."""
    B, H, _ = u.shape
    room = (_CPU_VALUES if u.device.type == "cpu" else _GPU_VALUES) // chunks.points
    channels = max(1, min(H, room // B))
    batches = max(1, min(B, room))
    for b in range(0, B, batches):
        for h in range(0, H, channels):
            yield slice(b, b + batches), slice(h, h + channels)
