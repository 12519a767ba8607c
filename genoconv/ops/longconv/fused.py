"""The fused kernels as torch operators: fake tensors for torch.compile, gradients, prepared filters.

The operators take and give tensors only. A forward pass hands its filter's transform to the backward pass, so nothing
of a step is transformed twice; beyond that only inputs are kept.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from genoconv.gpu import compiler, targets
from genoconv.ops.kernels import index_of
from genoconv.ops.longconv import regimes
from genoconv.ops.longconv.host import DTYPES
from genoconv.ops.longconv.plan import Plan
from genoconv.ops.longconv.spectrum import FilterSpectrum, StoredSpectrum

_PLAIN = (Tensor, torch.nn.Parameter)


def unsupported(u: Tensor) -> str | None:
    """Why the kernels do not support rows u (B, H, N), and the remedy; None if they do."""
    if u.device.type != "cuda":
        return f"the kernels need CUDA tensors, but u is on {u.device.type}; move it to a GPU or use backend='torch'"
    if u.dtype not in DTYPES:
        return f"the kernels support bfloat16 and float16 rows, but u is {u.dtype}; cast it or use backend='torch'"
    found, _, obstacle = _served(u.device.index, DTYPES[u.dtype])
    if obstacle:
        return obstacle
    longest = found[-1][1]
    if u.shape[-1] > longest:
        return (
            f"rows of {u.shape[-1]:,} positions exceed the {longest:,} that the kernels support on this GPU; "
            "use backend='torch' or 'auto'"
        )
    if torch.compiler.is_compiling():
        return None  # sizes may be symbols there; what a plan still refuses shows when it runs
    return plan_of(u).obstacle(u.shape[1])


def sizes(u: Tensor) -> tuple[int, ...]:
    """Transform sizes that the kernels offer to rows like u, gradients included; empty where they offer none."""
    if u.device.type != "cuda" or u.dtype not in DTYPES:
        return ()
    _, differentiable, obstacle = _served(u.device.index, DTYPES[u.dtype])
    return () if obstacle else tuple(size for _, size, _ in differentiable)


def pair_sizes(u: Tensor, *, gradients: bool) -> tuple[int, ...]:
    """Those of :func:`sizes` whose kernels take chunks in pairs, with gradients where these are wanted."""
    return _pairs(u.device.index, DTYPES[u.dtype], gradients) if sizes(u) else ()


_Transform = tuple[str, int, int]


def _served(index: int | None, dtype: str) -> tuple[tuple[_Transform, ...], tuple[_Transform, ...], str | None]:
    """The transforms of one GPU, those of plans for gradients of such rows, and what keeps all kernels from running."""
    card = targets.local_card(torch.cuda.current_device() if index is None else index)
    found = regimes.transforms(card)
    if not found:
        reason = f"the kernels need compute capability 8.0 or later, but this GPU is {card.arch}; use backend='torch'"
        return (), (), reason
    return found, regimes.transforms(card, dtype=dtype, gradients=True), compiler.missing()


def _pairs(index: int | None, dtype: str, gradients: bool) -> tuple[int, ...]:
    card = targets.local_card(torch.cuda.current_device() if index is None else index)
    return regimes.pair_sizes(card, dtype=dtype, gradients=gradients)


# As torch.compiler.assume_constant_result does, which would load the compiler, two seconds of every start.
_served._dynamo_marked_constant = True  # type: ignore[attr-defined]
_pairs._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _transform_of(u: Tensor, *, gradients: bool) -> _Transform:
    """Regime, size and scales of the transform of rows u, whose length may be a symbol; of the plan for gradients."""
    found, differentiable, _ = _served(u.device.index, DTYPES[u.dtype])
    return next(transform for transform in (differentiable if gradients else found) if transform[1] >= u.shape[-1])


def plan_of(u: Tensor, *, gradients: bool = False) -> Plan:
    """The plan for rows u (B, H, N), or for their gradients."""
    plan = regimes.plan_on(u.shape[-1], DTYPES[u.dtype], index_of(u))
    return plan.gradients if gradients else plan


def fftconv(
    u: Tensor, k: Tensor | FilterSpectrum, D: Tensor | None, gate_in: Tensor | None, gate_out: Tensor | None
) -> Tensor:
    """As :func:`genoconv.ops.fftconv`, for rows that :func:`unsupported` has nothing against."""
    given = (u, gate_in, gate_out, D, None if isinstance(k, FilterSpectrum) else k)
    gradients = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in given)
    made = stored(k, u, gradients=gradients) if isinstance(k, FilterSpectrum) else None
    taps = None if isinstance(k, FilterSpectrum) else k.float()
    skip = None if D is None else D.float()
    y: Tensor
    if not watched(u, taps, skip, gate_in, gate_out):
        if gradients:
            y = _Launches.apply(u, taps, skip, gate_in, gate_out, made)  # type: ignore[no-untyped-call]
        else:
            y, _ = convolve(u, taps, skip, gate_in, gate_out, made, gradients=False)
    elif made is not None:
        y = _prepared(u, made.filter, made.scale, made.taps, gate_in, gate_out, gradients)
    else:
        y = _convolve(u, taps, skip, gate_in, gate_out, gradients)[0]
    return y


def stored(k: FilterSpectrum, u: Tensor, *, gradients: bool) -> StoredSpectrum:
    """T(k) + D of a prepared filter for rows like u (B, H, N), or for their gradients, made at its first use."""
    regime, size, _ = _transform_of(u, gradients=gradients)
    made = k.made.get((regime, size))
    return k.make(plan_of(u, gradients=gradients)) if made is None else made


def convolve(
    u: Tensor,
    k: Tensor | None,
    D: Tensor | None,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    made: StoredSpectrum | None = None,
    *,
    gradients: bool,
) -> tuple[Tensor, StoredSpectrum]:
    """y, and T(k) + D for a backward pass (``gradients``): `made`, or else from k and D."""
    if made is not None:
        return plan_of(u, gradients=gradients).forward(u, made, gate_in, gate_out), made
    assert k is not None
    plan = plan_of(u)
    spectrum = plan.prepare_filter(k, D)
    y = plan.forward(u, spectrum, gate_in, gate_out, fresh=True)
    return y, plan.gradients.prepare_filter(k, D) if gradients and plan.gradients is not plan else spectrum


class _Launches(torch.autograd.Function):
    """The kernels without an operator around them, for tensors that only autograd looks at."""

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        k: Tensor | None,
        D: Tensor | None,
        gate_in: Tensor | None,
        gate_out: Tensor | None,
        made: StoredSpectrum | None,
    ) -> Tensor:
        ctx.has_taps, ctx.has_skip = k is not None, D is not None
        y, made = convolve(u, k, D, gate_in, gate_out, made, gradients=True)
        ctx.save_for_backward(u, made.filter, made.scale, gate_in, gate_out)
        ctx.taps = made.taps
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        u, kept, scale, gate_in, gate_out = ctx.saved_tensors
        plan, spectrum = plan_of(u, gradients=True), StoredSpectrum(kept, scale, ctx.taps)
        du, dk, dD, d_in, d_out = plan.backward(dy, u, spectrum, gate_in, gate_out)
        return du, dk if ctx.has_taps else None, dD if ctx.has_skip else None, d_in, d_out, None


def watched(*tensors: Tensor | None) -> bool:
    """Whether somebody has to see an operator: a compiler, a mode, a transform, a tensor of another class.

    Operators cost a small problem more time on the host than its kernels take.
    """
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0:
        return True
    if torch._C._functorch.peek_interpreter_stack() is not None:  # vmap, grad, functionalize
        return True
    return any(x is not None and type(x) not in _PLAIN for x in tensors)


@torch.library.custom_op("genoconv::fftconv", mutates_args=(), device_types="cuda")
def _convolve(
    u: Tensor, k: Tensor, D: Tensor | None, gate_in: Tensor | None, gate_out: Tensor | None, gradients: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """y (B, H, N), and the filter's transform: (H, size) int32 and its scales (H, ...)."""
    y, made = convolve(u, k, D, gate_in, gate_out, gradients=gradients)
    return y, made.filter, made.scale


@_convolve.register_fake
def _(u: Tensor, k: Tensor, D: Any, gate_in: Any, gate_out: Any, gradients: bool) -> tuple[Tensor, Tensor, Tensor]:
    _, size, scales = _transform_of(u, gradients=gradients)
    H = u.shape[1]
    kept, scale = u.new_empty((H, size), dtype=torch.int32), u.new_empty((H, scales), dtype=torch.float32)
    return u.new_empty(u.shape), kept, scale


@torch.library.custom_op("genoconv::fftconv_prepared", mutates_args=(), device_types="cuda")
def _prepared(
    u: Tensor, kept: Tensor, scale: Tensor, taps: int, gate_in: Tensor | None, gate_out: Tensor | None, gradients: bool
) -> Tensor:
    return plan_of(u, gradients=gradients).forward(u, StoredSpectrum(kept, scale, taps), gate_in, gate_out)


@_prepared.register_fake
def _(u: Tensor, kept: Tensor, scale: Tensor, taps: int, gate_in: Any, gate_out: Any, gradients: bool) -> Tensor:
    return u.new_empty(u.shape)


@torch.library.custom_op("genoconv::fftconv_backward", mutates_args=(), device_types="cuda")
def _gradients(
    dy: Tensor, u: Tensor, kept: Tensor, scale: Tensor, taps: int, gate_in: Tensor | None, gate_out: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """du, dk, dD and the gates' gradients; an absent gate's is empty."""
    plan, spectrum = plan_of(u, gradients=True), StoredSpectrum(kept, scale, taps)
    du, dk, dD, d_in, d_out = plan.backward(dy, u, spectrum, gate_in, gate_out)
    return du, dk, dD, u.new_empty(0) if d_in is None else d_in, u.new_empty(0) if d_out is None else d_out


@_gradients.register_fake
def _(
    dy: Tensor, u: Tensor, kept: Tensor, scale: Tensor, taps: int, gate_in: Any, gate_out: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    H = u.shape[1]
    d_in, d_out = (u.new_empty(0 if gate is None else u.shape) for gate in (gate_in, gate_out))
    return (
        u.new_empty(u.shape),
        u.new_empty((H, taps), dtype=torch.float32),
        u.new_empty(H, dtype=torch.float32),
        d_in,
        d_out,
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    u, k, D, gate_in, gate_out, _ = inputs
    _, kept, scale = output
    ctx.mark_non_differentiable(kept, scale)
    ctx.save_for_backward(u, kept, scale, gate_in, gate_out)
    ctx.taps, ctx.has_skip = k.shape[1], D is not None


def _backward(ctx: Any, dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    u, kept, scale, gate_in, gate_out = ctx.saved_tensors
    du, dk, dD, d_in, d_out = _gradients(dy, u, kept, scale, ctx.taps, gate_in, gate_out)
    skip = dD if ctx.has_skip else None
    return du, dk, skip, None if gate_in is None else d_in, None if gate_out is None else d_out, None


def _keep_prepared(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    u, kept, scale, taps, gate_in, gate_out, _ = inputs
    ctx.save_for_backward(u, kept, scale, gate_in, gate_out)
    ctx.taps = taps


def _backward_prepared(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    u, kept, scale, gate_in, gate_out = ctx.saved_tensors
    du, _, _, d_in, d_out = _gradients(dy, u, kept, scale, ctx.taps, gate_in, gate_out)
    return du, None, None, None, None if gate_in is None else d_in, None if gate_out is None else d_out, None


_convolve.register_autograd(_backward, setup_context=_keep)
_prepared.register_autograd(_backward_prepared, setup_context=_keep_prepared)
