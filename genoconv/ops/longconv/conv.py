"""The long convolution that all models call.

    y = gate_out * ( k conv (gate_in * u)  +  D * (gate_in * u) )        causal, one filter per channel

Letters: B batch, H channels, N positions, K filter taps, K <= N. With K < N the convolution is partial; if K is much
smaller than N, it runs in chunks (`genoconv.ops.longconv.overlap_save`).
"""

import logging

import torch
from torch import Tensor

from genoconv.errors import KernelError
from genoconv.ops.kernels import backend_of
from genoconv.ops.longconv import arguments, fused, on_cpu
from genoconv.ops.longconv.overlap_save import operator
from genoconv.ops.longconv.overlap_save.plan import Chunks, choose_chunks
from genoconv.ops.longconv.sparse import FrequencyMask, fftconv_sparse
from genoconv.ops.longconv.spectrum import FilterSpectrum, constant, fast_size
from genoconv.ops.precision import full_precision, upcast
from genoconv.ops.registration import transformed

log = logging.getLogger(__name__)

_WIDE = (torch.float32, torch.float64)


def fftconv(
    u: Tensor,
    k: Tensor | FilterSpectrum,
    *,
    D: Tensor | None = None,
    gate_in: Tensor | None = None,
    gate_out: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Causal depthwise convolution of each row with its channel's filter, gated before and after.

    Args:
        u: (B, H, N), bfloat16, float16, float32 or float64.
        k: (H, K) float32 (float64 for float64 rows), K <= N; or the result of :func:`prepare_filter`.
        D: (H,), the skip; None means zero. Must be None if ``k`` is prepared, because D is then part of it.
        gate_in: (B, H, N) like ``u``; None means one.
        gate_out: (B, H, N) like ``u``; None means one.
        backend: ``torch`` uses torch.fft in float32 (float64 for float64 rows). ``cuda`` uses the fused kernels for
            bfloat16 and float16 rows and cuFFT in full precision for float32 and float64 rows, or raises an error.
            ``auto`` uses ``cuda`` if it supports the call, otherwise ``torch``, and logs each choice once.

    Returns:
        (B, H, N) in the type of ``u``, contiguous. Differentiable (once) in u, k, D and both gates; a prepared filter
        is a constant. A value that is not finite affects only its own row of y. In D such a value is an error if it
        can be detected without waiting for a GPU.

    Raises:
        UsageError: shapes, types or devices do not match; the message shows both.
        KernelError: ``backend="cuda"``, and the kernels do not support this call.
    """
    arguments.check(u, k, D, gate_in, gate_out, backend)
    if isinstance(k, FilterSpectrum) and k.keep is not None:
        return _sparse(u, k, k.keep, gate_in, gate_out, backend)
    taps = k.taps if isinstance(k, FilterSpectrum) else k
    given = (u, taps, D, gate_in, gate_out)
    gradients = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in given)
    way = choose(u, taps.shape[1], backend, gradients=gradients)
    if isinstance(way, Chunks) and (way.fused or not transformed()):  # the operator of chunks has no rules for these
        return operator.fftconv(u, k, D, gate_in, gate_out, way)
    if way == "cuda":
        return fused.fftconv(u, k, D, gate_in, gate_out)
    if on_cpu.serves(*given):
        return on_cpu.fftconv(u, k, D, gate_in, gate_out)
    return _torch_path(u, k, D, gate_in, gate_out)


def prepare_filter(
    k: Tensor, length: int, *, D: Tensor | None = None, keep: FrequencyMask | None = None
) -> FilterSpectrum:
    """Transform a filter once, for inference with many batches of rows of up to ``length`` positions.

    Args:
        k: (H, K) float32 or float64, on the device of the rows; K <= length.
        length: largest N, in positions.
        D: (H,), the skip, or None.
        keep: blocks of the spectrum to keep; the others are set to zero, see :mod:`genoconv.ops.longconv.sparse`.

    Returns:
        The prepared filter, to pass to :func:`fftconv` as ``k``. It is a constant, without gradient: later changes of
        ``k`` and ``D`` do not reach it.

    Raises:
        UsageError: K > length; shapes, types or devices do not match; or D is not finite.
    """
    arguments.check_filter(k, length, D, keep)
    copies = [None if x is None else constant(x.detach().clone) for x in (k, D)]
    assert copies[0] is not None
    return FilterSpectrum(copies[0], copies[1], length, keep)


def choose(u: Tensor, taps: int, backend: str, *, gradients: bool = False) -> str | Chunks:
    """``cuda`` or ``torch`` for whole rows, or chunks; a backend requested by name is never replaced.

    gradients: whether a backward pass will follow.
    """
    backend = backend_of(backend)
    length = u.shape[-1]
    if backend == "torch" or (backend == "auto" and u.device.type != "cuda"):
        return choose_chunks(length, taps=taps) or "torch"
    if u.device.type == "cuda" and u.dtype in _WIDE:
        _say_once("cuFFT, in full precision, for rows of float32 and float64")
        return choose_chunks(length, taps=taps) or "torch"
    sizes, pairs = fused.sizes(u), fused.pair_sizes(u, gradients=gradients)
    chunks = choose_chunks(length, taps=taps, sizes=sizes, pairs=pairs, gradients=gradients)
    reason = fused.unsupported(u if chunks is None else u[..., : chunks.points])
    if backend == "cuda" and reason:
        raise KernelError(reason)
    _say_once(f"torch.fft: {reason}" if reason else "genoconv's fused CUDA kernels")
    if reason:
        return choose_chunks(length, taps=taps) or "torch"
    return chunks or "cuda"


def _sparse(
    u: Tensor,
    k: FilterSpectrum,
    keep: FrequencyMask,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    backend: str,
) -> Tensor:
    from genoconv.ops.longconv import sparse_kernels  # which imports this module

    served = sparse_kernels.convolve(u, k, keep, None, gate_in, gate_out, backend)
    if served is not None:
        return served
    if u.device.type == "cuda":
        _say_once("torch.fft: the filter is frequency-sparse")
    taps = k.taps[:, : u.shape[-1]]
    return fftconv_sparse(u, taps, keep, D=k.skip, gate_in=gate_in, gate_out=gate_out, backend="torch")


_said: set[str] = set()


def _say_once(what: str) -> None:
    if what not in _said and not torch.compiler.is_compiling():
        _said.add(what)
        log.info("long convolutions run on %s", what)


def _torch_path(
    u: Tensor, k: Tensor | FilterSpectrum, D: Tensor | None, gate_in: Tensor | None, gate_out: Tensor | None
) -> Tensor:
    N = u.shape[-1]
    with full_precision(u):
        x = upcast(u) if gate_in is None else upcast(u) * upcast(gate_in)
        if isinstance(k, FilterSpectrum):
            size, spectrum, D = k.size, k.rfft(k.size), k.skip
        else:
            size = fast_size(N + k.shape[1] - 1)
            spectrum = torch.fft.rfft(k.to(x.dtype), n=size)
        y = torch.fft.irfft(torch.fft.rfft(x, n=size) * spectrum, n=size)[..., :N]
        if D is not None:
            y = torch.addcmul(y, x, D.to(x.dtype)[:, None])
        if gate_out is not None:
            y = y * upcast(gate_out)
        result: Tensor = y.to(u.dtype).contiguous()
    return result
