"""Partial convolutions as torch operators: fake tensors for torch.compile, gradients, prepared filters.

The operators take tensors and numbers only. Nothing but inputs is kept for the backward pass; the filter is short, so
its transform is made again.
"""

from typing import Any

import torch
from torch import Tensor

from genoconv.ops.longconv.fused import stored
from genoconv.ops.longconv.overlap_save import through_torch
from genoconv.ops.longconv.overlap_save.plan import Chunks
from genoconv.ops.longconv.spectrum import FilterSpectrum


def fftconv(
    u: Tensor,
    k: Tensor | FilterSpectrum,
    D: Tensor | None,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    chunks: Chunks,
) -> Tensor:
    """As :func:`genoconv.ops.fftconv`, in chunks that suit these rows."""
    taps, skip, spectrum, scale = k, D, None, None
    if isinstance(k, FilterSpectrum):
        taps, skip = k.taps, k.skip
        if chunks.fused:
            made = stored(k, u[..., : chunks.points], gradients=True)
            spectrum, scale = made.filter, made.scale
        else:
            spectrum = k.rfft(chunks.points)
    assert isinstance(taps, Tensor)
    y: Tensor = _convolve(
        u, taps, skip, gate_in, gate_out, spectrum, scale, chunks.points, chunks.overlap, chunks.fused
    )
    return y


@torch.library.custom_op("genoconv::fftconv_partial", mutates_args=())
def _convolve(
    u: Tensor,
    k: Tensor,
    D: Tensor | None,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    spectrum: Tensor | None,
    scale: Tensor | None,
    points: int,
    overlap: int,
    fused: bool,
) -> Tensor:
    """y (B, H, N). spectrum, scale: the filter's transform where prepared; that of the kernels holds the skip."""
    chunks = Chunks(u.shape[-1], k.shape[1], points, overlap, fused)
    if fused:
        from genoconv.ops.longconv.overlap_save import through_kernels

        made = through_kernels.transform(u, k, D, chunks, spectrum=spectrum, scale=scale)
        return through_kernels.forward(u, made, gate_in, gate_out, chunks)
    with torch.autocast(u.device.type, enabled=False):
        kept = through_torch.transform(k, chunks, like=u) if spectrum is None else spectrum
        return through_torch.forward(u, kept, D, gate_in, gate_out, chunks)


@_convolve.register_fake
def _(u: Tensor, *_: Any) -> Tensor:
    return u.new_empty(u.shape)


@torch.library.custom_op("genoconv::fftconv_partial_backward", mutates_args=())
def _gradients(
    dy: Tensor,
    u: Tensor,
    k: Tensor,
    D: Tensor | None,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    spectrum: Tensor | None,
    scale: Tensor | None,
    points: int,
    overlap: int,
    fused: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """du, dk, dD, and the gradient of gate_in, which is empty where there is none."""
    chunks = Chunks(u.shape[-1], k.shape[1], points, overlap, fused)
    if fused:
        from genoconv.ops.longconv.overlap_save import through_kernels

        made = through_kernels.transform(u, k, D, chunks, spectrum=spectrum, scale=scale)
        du, dk, dD, dgate_in = through_kernels.backward(dy, u, made, gate_in, gate_out, chunks)
    else:
        with torch.autocast(u.device.type, enabled=False):
            kept = through_torch.transform(k, chunks, like=u) if spectrum is None else spectrum
            du, dk, dD, dgate_in = through_torch.backward(dy, u, kept, D, gate_in, gate_out, chunks)
    return du, dk, dD, u.new_empty(0) if dgate_in is None else dgate_in


@_gradients.register_fake
def _(dy: Tensor, u: Tensor, k: Tensor, D: Any, gate_in: Any, *_: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    precise = torch.float64 if u.dtype == torch.float64 else torch.float32
    dk, dD = (u.new_empty(shape, dtype=precise) for shape in (k.shape, k.shape[:1]))
    return u.new_empty(u.shape), dk, dD, u.new_empty(0 if gate_in is None else u.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.points, ctx.overlap, ctx.fused = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    u, k, D, gate_in, gate_out, spectrum, scale = ctx.saved_tensors
    how = (spectrum, scale, ctx.points, ctx.overlap, ctx.fused)
    dy = dy.to(u.dtype)
    du = dk = dD = dgate_in = dgate_out = None
    wants_u, wants_k, wants_D, wants_in, wants_out, *_ = ctx.needs_input_grad
    if wants_u or wants_k or wants_D or wants_in:
        du, dk, dD, dgate_in = _gradients(dy, u, k, D, gate_in, gate_out, *how)
        dk, dD = dk.to(k.dtype), None if D is None else dD.to(D.dtype)
    if wants_out:
        # dy times what gate_out multiplied: the same convolution, gated by dy.
        dgate_out = _convolve(u, k, D, gate_in, dy, *how)
    gradients = (du, dk, dD, dgate_in, dgate_out)
    wanted = (g if wants else None for g, wants in zip(gradients, ctx.needs_input_grad, strict=False))
    return (*wanted, None, None, None, None, None)


_convolve.register_autograd(_backward, setup_context=_keep)
