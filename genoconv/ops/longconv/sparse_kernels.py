"""Frequency-sparse filters on the kernels: those of long rows hold one interleaved block and leave the others out."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from genoconv.errors import KernelError
from genoconv.ops.kernels import backend_of
from genoconv.ops.longconv import fused
from genoconv.ops.longconv.one_sm.plan import OneSmPlan
from genoconv.ops.longconv.plan import Plan
from genoconv.ops.longconv.sparse import BLOCKS, FrequencyMask, transform_size
from genoconv.ops.longconv.spectrum import FilterSpectrum, StoredSpectrum
from genoconv.ops.longconv.three_pass import launches
from genoconv.ops.longconv.three_pass.plan import ThreePassPlan


def convolve(
    u: Tensor,
    k: Tensor | FilterSpectrum,
    keep: FrequencyMask,
    D: Tensor | None,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    backend: str,
) -> Tensor | None:
    """As :func:`genoconv.ops.longconv.sparse.fftconv_sparse`; None if torch.fft is to compute it.

    k: filters, or those that were prepared with this mask and a skip.

    Raises:
        KernelError: ``backend="cuda"``, and the kernels do not support this call.
    """
    backend = backend_of(backend)
    if backend == "torch":
        return None
    trained = torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in (k, D))
    plan, reason = _plan(u, keep, trained)
    if plan is None:
        if backend == "cuda":
            raise KernelError(reason)
        return None
    if isinstance(k, Tensor):
        prepared = FilterSpectrum(k.detach(), None if D is None else D.detach(), u.shape[-1], keep)
        taps, made = k, None
    else:
        prepared, taps, D = k, k.taps[:, : u.shape[-1]], k.skip
        made = k.made.get((plan.regime, plan.size)) or k.make(plan)
    if not keep.interleaved:
        taps, D, made = taps.detach(), None, made or prepared.make(plan)  # which has the skip
    return fftconv(plan, u, taps, D, gate_in, gate_out, made)


def _plan(u: Tensor, keep: FrequencyMask, trained: bool) -> tuple[Plan | None, str]:
    """The plan, or why there is none."""
    N, blocks, instead = u.shape[-1], len(keep.kept), "; use backend='torch' or 'auto'"
    if keep.interleaved and sum(keep.kept) != 1:
        return None, "the kernels support only one interleaved block" + instead
    if not keep.interleaved and (BLOCKS % blocks or trained or torch.compiler.is_compiling()):
        limits = f"{BLOCKS} bands or a divisor of that, without gradients of the filter or torch.compile"
        return None, f"the kernels support {limits}{instead}"
    reason = fused.unsupported(u)
    if reason:
        return None, reason
    plan, size = fused.plan_of(u).whole, transform_size(N, blocks)
    if plan.size != size:
        return None, f"rows of {N:,} need a transform of {size:,}, but the kernels use {plan.size:,}{instead}"
    if not keep.interleaved:
        known = isinstance(plan, OneSmPlan | ThreePassPlan)  # the order of whose spectra is
        return plan if known else None, f"{plan.regime} kernels do not support bands{instead}"
    found = plan.sparse(blocks, keep.kept.index(True)) if isinstance(plan, ThreePassPlan) else None
    return found, f"the kernels do not support {blocks} blocks in transforms of {plan.size:,} points{instead}"


def fftconv(
    plan: Plan,
    u: Tensor,
    k: Tensor,
    D: Tensor | None,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    made: StoredSpectrum | None = None,
) -> Tensor:
    """As :func:`genoconv.ops.longconv.sparse.fftconv_sparse`, by a plan of whole rows, with a skip of three passes.

    made: what T(k) keeps, where it is there already.
    """
    skip = None if D is None else D.float()
    y: Tensor = _Launches.apply(u, k.float(), skip, gate_in, gate_out, plan, made)  # type: ignore[no-untyped-call]
    return y


class _Launches(torch.autograd.Function):
    """The kernels; a skip stays out of a spectrum that has not all of its frequencies."""

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        k: Tensor,
        D: Tensor | None,
        gate_in: Tensor | None,
        gate_out: Tensor | None,
        plan: Plan,
        made: StoredSpectrum | None,
    ) -> Tensor:
        made = made or plan.prepare_filter(k, None)
        ctx.save_for_backward(u, made.filter, made.scale, D, gate_in, gate_out)
        ctx.plan, ctx.taps = plan, made.taps
        if D is None:
            return plan.forward(u, made, gate_in, gate_out)
        assert isinstance(plan, ThreePassPlan)
        return launches.forward(plan, u, made, gate_in, gate_out, skip=D)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        u, kept, scale, D, gate_in, gate_out = ctx.saved_tensors
        spectrum = StoredSpectrum(kept, scale, ctx.taps)
        if D is None:
            du, dk, _, d_in, d_out = ctx.plan.backward(dy, u, spectrum, gate_in, gate_out)
            return du, dk, None, d_in, d_out, None, None
        wanted = ctx.needs_input_grad[2]
        du, dk, dD, d_in, d_out = launches.backward(
            ctx.plan, dy, u, spectrum, gate_in, gate_out, skip=D, skip_gradient=wanted
        )
        return du, dk, dD if wanted else None, d_in, d_out, None, None
