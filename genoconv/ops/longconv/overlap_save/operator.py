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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """du, dk, dD, and the gradients of the gates; that of gate_out only where chunks are paired, else empty."""
    chunks = Chunks(u.shape[-1], k.shape[1], points, overlap, fused)
    if fused:
        from genoconv.ops.longconv.overlap_save import through_kernels

        made = through_kernels.transform(u, k, D, chunks, spectrum=spectrum, scale=scale)
        du, dk, dD, dgate_in, dgate_out = through_kernels.backward(dy, u, made, gate_in, gate_out, chunks)
    else:
        with torch.autocast(u.device.type, enabled=False):
            kept = through_torch.transform(k, chunks, like=u) if spectrum is None else spectrum
            du, dk, dD, dgate_in = through_torch.backward(dy, u, kept, D, gate_in, gate_out, chunks)
        dgate_out = None
    return (
        du,
        dk,
        dD,
        u.new_empty(0) if dgate_in is None else dgate_in,
        u.new_empty(0) if dgate_out is None else dgate_out,
    )


@_gradients.register_fake
def _(
    dy: Tensor,
    u: Tensor,
    k: Tensor,
    D: Any,
    gate_in: Any,
    gate_out: Any,
    spectrum: Any,
    scale: Any,
    points: int,
    overlap: int,
    fused: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    precise = torch.float64 if u.dtype == torch.float64 else torch.float32
    dk, dD = (u.new_empty(shape, dtype=precise) for shape in (k.shape, k.shape[:1]))
    dgate_in = u.new_empty(0 if gate_in is None else u.shape)
    dgate_out = u.new_empty(u.shape if _gives_both(gate_out, overlap, fused) else 0)
    return u.new_empty(u.shape), dk, dD, dgate_in, dgate_out


def _gives_both(gate_out: Tensor | None, overlap: int, fused: bool) -> bool:
    """Whether the gradient of gate_out comes with the others."""
    return gate_out is not None and fused and overlap == 0


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.points, ctx.overlap, ctx.fused = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    u, k, D, gate_in, gate_out, spectrum, scale = ctx.saved_tensors
    how = (spectrum, scale, ctx.points, ctx.overlap, ctx.fused)
    dy = dy.to(u.dtype)
    du = dk = dD = dgate_in = dgate_out = None
    wants_u, wants_k, wants_D, wants_in, wants_out, *_ = ctx.needs_input_grad
    both = _gives_both(gate_out, ctx.overlap, ctx.fused)
    if wants_u or wants_k or wants_D or wants_in or both:
        du, dk, dD, dgate_in, dgate_out = _gradients(dy, u, k, D, gate_in, gate_out, *how)
        dk, dD = dk.to(k.dtype), None if D is None else dD.to(D.dtype)
    if wants_out and not both:
        # dy times what gate_out multiplied: the same convolution, gated by dy.
        dgate_out = _convolve(u, k, D, gate_in, dy, *how)
    gradients = (du, dk, dD, dgate_in, dgate_out)
    wanted = (g if wants else None for g, wants in zip(gradients, ctx.needs_input_grad, strict=False))
    return (*wanted, None, None, None, None, None)


_convolve.register_autograd(_backward, setup_context=_keep)
