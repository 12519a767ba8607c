"""Rows in chunks as one step of autograd, however many rows and sizes of chunks there are.

The spectra of the filter are made once for each size of chunks and handed to the backward pass; beyond that only inputs
are kept.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from genoconv.ops.longconv import fused
from genoconv.ops.longconv.chunked import launches
from genoconv.ops.longconv.chunked.plan import Shares, share_out
from genoconv.ops.longconv.host import DTYPES
from genoconv.ops.longconv.moves import Span
from genoconv.ops.longconv.spectrum import FilterSpectrum, StoredSpectrum, constant


@dataclass(frozen=True)
class Layout:
    """Where rows are in (1, H, T), and how they are shared out.

    Attributes:
        spans: start and stop of every row, 0-based, half-open, ascending.
        shares: of those rows.
        full: whether the groups' rows cover all T positions.
    """

    spans: tuple[Span, ...]
    shares: Shares
    full: bool


def layout_of(u: Tensor, k: Tensor | FilterSpectrum, spans: tuple[Span, ...], *rest: Tensor | None) -> Layout | None:
    """How the kernels take rows of u (1, H, T) in chunks; None where they do not.

    rest: D and gates, as far as there are any.
    """
    if u.device.type != "cuda" or u.dtype not in DTYPES or (isinstance(k, FilterSpectrum) and k.keep is not None):
        return None
    taps = k.taps if isinstance(k, FilterSpectrum) else k
    whole = fused.sizes(u)
    if not whole or fused.watched(u, taps, *rest):
        return None
    lengths = tuple(stop - start for start, stop in spans)
    shares = share_out(
        lengths,
        taps=min(taps.shape[1], max(lengths)),
        channels=u.shape[1],
        sizes=launches.sizes(u),
        whole=whole,
    )
    if not shares.groups:
        return None
    covered = sum(lengths[row] for group in shares.groups for row in group.rows)
    return Layout(spans, shares, covered == u.shape[-1])


def fftconv(
    u: Tensor,
    k: Tensor | FilterSpectrum,
    D: Tensor | None,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    layout: Layout,
) -> Tensor:
    """y (1, H, T) of the rows of a layout's groups, as :func:`genoconv.ops.fftconv` has each; zero elsewhere."""
    if isinstance(k, FilterSpectrum):
        made = [_kept(k, u, group.points, group.filter_chunks) for group in layout.shares.groups]
        y: Tensor = _Rows.apply(u, None, None, gate_in, gate_out, layout, made)  # type: ignore[no-untyped-call]
        return y
    taps, skip = k.float(), None if D is None else D.float()
    y = _Rows.apply(u, taps, skip, gate_in, gate_out, layout, None)  # type: ignore[no-untyped-call]
    return y


def _kept(k: FilterSpectrum, u: Tensor, points: int, chunks: int) -> StoredSpectrum:
    """The spectra of a prepared filter, at least as many as are needed."""
    key = ("chunked", points)
    made = k.made.get(key)
    if made is None or made.filter.shape[1] < chunks:
        plan = launches.plan_of(points, u)
        made = k.made[key] = constant(lambda: launches.prepare_filter(plan, k.taps, k.skip, chunks))
    return made


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        k: Tensor | None,
        D: Tensor | None,
        gate_in: Tensor | None,
        gate_out: Tensor | None,
        layout: Layout,
        made: list[StoredSpectrum] | None,
    ) -> Tensor:
        u, gate_in, gate_out = _contiguous(u), _optional(gate_in), _optional(gate_out)
        y, spectra = _like(u, layout), []
        for number, group in enumerate(layout.shares.groups):
            plan = launches.plan_of(group.points, u)
            if made is None:
                assert k is not None
                spectrum = launches.prepare_filter(plan, k, D, group.filter_chunks)
            else:
                spectrum = made[number]
            launches.forward(plan, group, layout.spans, u, spectrum, gate_in, gate_out, y)
            spectra += [spectrum.filter, spectrum.scale]
        ctx.layout, ctx.taps = layout, None if k is None else k.shape
        ctx.has_skip = D is not None
        ctx.save_for_backward(u, gate_in, gate_out, *spectra)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        u, gate_in, gate_out, *spectra = ctx.saved_tensors
        layout: Layout = ctx.layout
        inputs = (_contiguous(dy.to(u.dtype)), u, gate_in, gate_out)
        d_in, d_out = (None if gate is None else _like(u, layout) for gate in (gate_in, gate_out))
        gradients = (_like(u, layout), d_in, d_out)
        parts = []
        for number, group in enumerate(layout.shares.groups):
            filters, scale = spectra[2 * number : 2 * number + 2]
            spectrum = StoredSpectrum(filters, scale, filters.shape[1] * group.points)
            plan = launches.plan_of(group.points, u)
            parts.append(launches.backward(plan, group, layout.spans, inputs, spectrum, gradients))
        dk = _sum_of([part for part, _ in parts], ctx.taps) if ctx.taps else None
        dD = torch.stack([skip for _, skip in parts]).sum(0) if ctx.has_skip else None
        du, d_in, d_out = gradients
        return du, dk, dD, d_in, d_out, None, None


def _sum_of(parts: list[Tensor], shape: torch.Size) -> Tensor:
    """dk (H, K) from gradients of as many taps as the rows of each group reach."""
    first, *rest = sorted(parts, key=lambda part: -part.shape[1])
    dk = first[:, : shape[1]] if first.shape[1] >= shape[1] else first.new_zeros(shape)
    for part in rest if first.shape[1] >= shape[1] else parts:
        count = min(part.shape[1], shape[1])
        dk[:, :count] += part[:, :count]
    return dk


def _like(u: Tensor, layout: Layout) -> Tensor:
    """Memory for results: zeros where rows leave gaps."""
    return torch.empty(u.shape, dtype=u.dtype, device=u.device) if layout.full else torch.zeros_like(u)


def _contiguous(x: Tensor) -> Tensor:
    """x as the kernels take it: positions next to one another."""
    return x if x.stride(2) == 1 else x.contiguous()


def _optional(x: Tensor | None) -> Tensor | None:
    return None if x is None else _contiguous(x)
