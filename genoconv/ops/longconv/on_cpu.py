"""The long convolution by torch.fft on a CPU, without gradients: a few channels at a time, which stay in the caches."""

import torch
from torch import Tensor

from genoconv.ops.longconv.spectrum import FilterSpectrum, fast_size
from genoconv.ops.precision import upcast
from genoconv.ops.registration import untracked

_VALUES = 1 << 17
"""Values that each thread transforms at once: half a megabyte in float32."""
_LEAST = 1 << 15
"""Values of a row of channels, H N, below which many rows at once are faster."""


def serves(u: Tensor, *others: Tensor | None) -> bool:
    """Whether :func:`fftconv` may be called with these, and is faster."""
    on_cpu = all(x is None or x.device.type == "cpu" for x in (u, *others))
    return u[:1].numel() >= _LEAST and on_cpu and untracked(u, *others)


def fftconv(
    u: Tensor, k: Tensor | FilterSpectrum, D: Tensor | None, gate_in: Tensor | None, gate_out: Tensor | None
) -> Tensor:
    """Arguments and result of :func:`.conv.fftconv`."""
    _, H, N = u.shape
    if isinstance(k, FilterSpectrum):
        size, spectrum, D = k.size, k.rfft(k.size), k.skip
    else:
        size = fast_size(N + k.shape[1] - 1)
        spectrum = torch.fft.rfft(k.to(upcast(u[:0]).dtype), n=size)
    y = torch.empty(u.shape, dtype=u.dtype)
    channels = max(1, _VALUES * torch.get_num_threads() // size)
    for b in range(len(u)):
        for first in range(0, H, channels):
            piece = b, slice(first, first + channels)
            x = upcast(u[piece]) if gate_in is None else upcast(u[piece]) * upcast(gate_in[piece])
            z = torch.fft.rfft(x, n=size).mul_(spectrum[piece[1]])
            found = torch.fft.irfft(z, n=size)[:, :N]
            if D is not None:
                found.addcmul_(x, D[piece[1]].to(x.dtype)[:, None])
            if gate_out is None or y.dtype != found.dtype:
                y[piece] = found if gate_out is None else found.mul_(upcast(gate_out[piece]))
            else:
                torch.mul(found, gate_out[piece], out=y[piece])
    return y
