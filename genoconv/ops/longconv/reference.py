"""The specification: the convolution carried out as a plan says, in float64 or float32, on any CPU.

The twisted transform of a row x of size N,

    T(x)_f = sum_j x_j exp(-i pi j (4 f + 1) / 2N),

diagonalises causal convolution (with zero history) of rows of length N or less: the first N samples of k conv x are
the real part of T^-1(T(k) T(x)). It is computed as a chain of small matrix products, one for each radix r of the
plan. With j = j1 M + j', f = f1 + r f' and M = N / r, a transform of twist t (above, t = 1) becomes

    sum_j' exp(-i pi j' (4 f' + t') / 2M)  sum_j1 exp(-i pi j1 (4 f1 + t) / 2r) x_(j1, j'),     t' = (4 f1 + t) / r,

which is an r x r matrix product followed by transforms of size M and twist t', one for each f1. Spectra stay in the
order in which the digits f1, f2, ... come out (Monarch order); nothing is ever put back.

Sources: Cooley and Tukey 1965; Fu et al. 2023, https://arxiv.org/abs/2311.05908 (the products); the gradients follow
from T being a scaled unitary map.
"""

import math
from typing import Any, Protocol

import torch
from torch import Tensor


class Transform(Protocol):
    """What the specification needs of a plan: points of the transform and its radices, first contracted first."""

    @property
    def size(self) -> int: ...
    @property
    def radices(self) -> tuple[int, ...]: ...


def transform(x: Tensor, plan: Transform) -> Tensor:
    """T(x) of rows x (..., n), n <= size, real: (..., size) complex in Monarch order."""
    z = torch.nn.functional.pad(x, (0, plan.size - x.shape[-1])).reshape(-1, 1, plan.size) + 0j
    for matrices, r in _stages(plan, x):
        rows, branches, points = z.shape
        z = torch.einsum("pfj,lpjm->lpfm", matrices, z.view(rows, branches, r, points // r))
        z = z.reshape(rows, branches * r, points // r)
    return z.reshape(*x.shape[:-1], plan.size)


def inverse(X: Tensor, plan: Transform) -> Tensor:
    """Real part of T^-1(X) of spectra X (..., size) in Monarch order: (..., size) real."""
    z = X.reshape(-1, plan.size, 1)
    for matrices, r in reversed(_stages(plan, X.real)):
        rows, branches, points = z.shape
        z = torch.einsum("pfj,lpfm->lpjm", matrices.conj(), z.view(rows, branches // r, r, points))
        z = z.reshape(rows, branches // r, r * points)
    return z.real.reshape(*X.shape[:-1], plan.size) / plan.size


def _stages(plan: Transform, like: Tensor) -> list[tuple[Tensor, int]]:
    """Matrices (branches, r, r) and radix of every stage, in the precision of ``like``."""
    assert math.prod(plan.radices) == plan.size
    dtype = torch.complex128 if like.dtype == torch.float64 else torch.complex64
    twist = torch.ones(1, dtype=torch.float64)
    stages = []
    for r in plan.radices:
        digit = torch.arange(r, dtype=torch.float64)
        phase = 4 * digit + twist[:, None]  # (branches, f1)
        angle = -math.pi / (2 * r) * phase[:, :, None] * digit
        stages.append((torch.polar(torch.ones_like(angle), angle).to(dtype), r))
        twist = (phase / r).flatten()
    return stages


class _Specification(torch.autograd.Function):
    """Forward and the written-out gradients: what the kernels compute, product for product."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, k: Tensor, D: Tensor, gate_in: Tensor, gate_out: Tensor, plan: Transform
    ) -> Tensor:
        filters = transform(k, plan) + D[:, None]
        x = transform(gate_in * u, plan)
        y = inverse(filters * x, plan)[..., : u.shape[-1]]
        ctx.save_for_backward(u, gate_in, gate_out, filters, x, y)
        ctx.plan, ctx.taps = plan, k.shape[1]
        return gate_out * y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        u, gate_in, gate_out, filters, x, y = ctx.saved_tensors
        dc = transform(dy * gate_out, ctx.plan)
        dx = inverse(filters.conj() * dc, ctx.plan)[..., : u.shape[-1]]
        dk = inverse((x.conj() * dc).sum(0), ctx.plan)
        return dx * gate_in, dk[:, : ctx.taps], dk[:, 0], dx * u, dy * y, None


def convolve(
    u: Tensor,
    k: Tensor,
    plan: Transform,
    *,
    D: Tensor | None = None,
    gate_in: Tensor | None = None,
    gate_out: Tensor | None = None,
) -> Tensor:
    """As :func:`genoconv.ops.fftconv`, by the plan, differentiable by the kernels' own formulas.

    Args:
        u: (B, H, N) float64 or float32, N <= ``plan.size``.
        k: (H, K), K <= N.
        plan: size and radices.
        D: (H,).
        gate_in, gate_out: (B, H, N).
    """
    ones = torch.ones_like(u)
    skip = torch.zeros_like(k[:, 0]) if D is None else D
    gates = (ones if gate is None else gate for gate in (gate_in, gate_out))
    y: Tensor = _Specification.apply(u, k, skip, *gates, plan)  # type: ignore[no-untyped-call]
    return y


def convolve_in_parts(
    u: Tensor,
    k: Tensor,
    plan: Transform,
    *,
    D: Tensor | None = None,
    gate_in: Tensor | None = None,
    gate_out: Tensor | None = None,
) -> Tensor:
    """As :func:`convolve`, for rows and filters of any length, cut into parts of ``plan.size``; without gradients.

    With S_n = sum_m T(k_m) T(x_(n-m)), part n of y is the real part of T^-1(S_n + i S_(n-1)): what reaches beyond part
    n - 1 has come back to its start, as the negated imaginary part.
    """
    points, length = plan.size, u.shape[-1]
    count = -(-length // points)

    def parts(x: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(x, (0, count * points - x.shape[-1]))
        return transform(padded.view(*x.shape[:-1], count, points), plan)

    rows, filters = parts(u if gate_in is None else u * gate_in), parts(k)
    if D is not None:
        filters[:, 0] += D[:, None]
    # S_n, with the parts of the filter in reverse beside those of the row.
    sums = torch.stack([(filters[:, : n + 1].flip(1) * rows[:, :, : n + 1]).sum(2) for n in range(count)], 2)
    carried = torch.nn.functional.pad(sums[:, :, :-1], (0, 0, 1, 0))
    y = inverse(sums + 1j * carried, plan).flatten(-2)[..., :length]
    return y if gate_out is None else y * gate_out
