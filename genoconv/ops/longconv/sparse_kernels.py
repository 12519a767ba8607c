"""Frequency-sparse filters on the kernels of long rows, which hold one interleaved block and leave the others out."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from genoconv.errors import KernelError
from genoconv.ops.kernels import backend_of
from genoconv.ops.longconv import fused
from genoconv.ops.longconv.sparse import FrequencyMask, transform_size
from genoconv.ops.longconv.spectrum import StoredSpectrum
from genoconv.ops.longconv.three_pass import launches
from genoconv.ops.longconv.three_pass.plan import ThreePassPlan

_SUMMED = 1 << 24
"""Values whose products are summed at once for the gradient of the skip."""


def plan_of(u: Tensor, keep: FrequencyMask, backend: str = "auto") -> ThreePassPlan | None:
    """The plan for rows u (B, H, N) and filters with this mask; None where torch.fft serves them.

    Raises:
        KernelError: ``backend="cuda"`` and there is no such plan.
    """
    backend = backend_of(backend)
    plan, reason = (None, "") if backend == "torch" else _plan(u, keep)
    if plan is None and backend == "cuda":
        raise KernelError(f"{reason}: use backend='torch' (auto does)")
    return plan


def _plan(u: Tensor, keep: FrequencyMask) -> tuple[ThreePassPlan | None, str]:
    """The plan, or why there is none."""
    if not keep.interleaved or sum(keep.kept) != 1:
        return None, "the kernels do not skip frequencies but of masks with one interleaved block"
    reason = fused.unsupported(u)
    if reason:
        return None, reason
    plan, blocks = fused.plan_of(u, gradients=True), len(keep.kept)
    if not isinstance(plan, ThreePassPlan) or plan.size != transform_size(u.shape[-1], blocks, interleaved=True):
        return None, f"the kernels of rows of {u.shape[-1]:,} positions do not skip frequencies"
    found = plan.sparse(blocks, keep.kept.index(True))
    return found, f"transforms of {plan.size:,} points have no lines of every {blocks}th frequency"


def fftconv(
    plan: ThreePassPlan,
    u: Tensor,
    k: Tensor,
    D: Tensor | None,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    made: StoredSpectrum | None = None,
) -> Tensor:
    """As :func:`genoconv.ops.longconv.sparse.fftconv_sparse`. made: what T(k) keeps, where it is there already."""
    skip = None if D is None else D.float()
    y: Tensor = _Launches.apply(u, k.float(), skip, gate_in, gate_out, plan, made)  # type: ignore[no-untyped-call]
    return y


class _Launches(torch.autograd.Function):
    """The kernels; the skip stays out of the spectrum, which has not all of its frequencies."""

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        k: Tensor,
        D: Tensor | None,
        gate_in: Tensor | None,
        gate_out: Tensor | None,
        plan: ThreePassPlan,
        made: StoredSpectrum | None,
    ) -> Tensor:
        made = made or plan.prepare_filter(k, None)
        ctx.save_for_backward(u, made.filter, made.scale, D, gate_in, gate_out)
        ctx.plan, ctx.taps = plan, made.taps
        return launches.forward(plan, u, made, gate_in, gate_out, skip=D)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        u, kept, scale, D, gate_in, gate_out = ctx.saved_tensors
        spectrum = StoredSpectrum(kept, scale, ctx.taps)
        du, dk, _, d_in, d_out = launches.backward(ctx.plan, dy, u, spectrum, gate_in, gate_out, skip=D)
        dD = _skip_gradient(dy, u, gate_in, gate_out) if D is not None and ctx.needs_input_grad[2] else None
        return du, dk, dD, d_in, d_out, None, None


def _skip_gradient(dy: Tensor, u: Tensor, gate_in: Tensor | None, gate_out: Tensor | None) -> Tensor:
    """dD (H,) fp32, a few channels at a time. Products of bfloat16 rows are rounded, which their sums even out."""
    B, H, N = u.shape
    found = []
    at_once = max(1, _SUMMED // (B * N))
    for first in range(0, H, at_once):
        part = slice(first, first + at_once)
        v, dc = u[:, part], dy[:, part]
        if u.dtype != torch.bfloat16:  # the range of float16 does not hold products
            v, dc = v.float(), dc.float()
        if gate_in is not None:
            v = v * gate_in[:, part]
        if gate_out is not None:
            dc = dc * gate_out[:, part]
        found.append((v * dc).sum((0, 2), dtype=torch.float32))
    return torch.cat(found)
