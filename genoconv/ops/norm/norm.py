"""Residual addition and layer norm, as one operator.

sum = residual + branch + branch_bias
normalised = (sum - mean) / sqrt(variance + eps) * weight + bias          over the last dimension, D
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from genoconv.errors import KernelError, UsageError
from genoconv.ops import kernels


def add_norm(
    residual: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    branch: Tensor | None = None,
    branch_bias: Tensor | None = None,
    eps: float = 1e-5,
    dtype: torch.dtype | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Add a branch to the residual stream and normalise the sum.

    Args:
        residual: (..., D) float32 or float64.
        weight, bias: (D,), of the norm.
        branch: (..., D) like ``residual``, of any floating type; None means zero.
        branch_bias: (D,), added with ``branch``; None means zero.
        eps: added to the variance.
        dtype: type of the normalised rows; None means that of ``weight``, or the type that autocast chooses.
        backend: ``torch``, ``cuda`` (kernels that read and write every row once, for float32 residuals with D a
            multiple of 8 up to 1,024), or ``auto``: the kernels if they support the call.

    Returns:
        The sum, in the type of ``residual``, and the normalised sum, both (..., D). Differentiable (with the kernels
        once) in all five tensors. Without a branch the sum is ``residual`` itself.

    Raises:
        UsageError: shapes do not match.
        KernelError: ``backend="cuda"``, and the kernels do not support this call.
    """
    _check(residual, weight, bias, branch, branch_bias)
    reason = kernels.unsupported(residual, backend) or _unsupported(residual, weight, branch, dtype)
    if reason is None:
        from genoconv.ops.norm import fused

        return fused.add_norm(residual, weight, bias, branch, branch_bias, eps, dtype or weight.dtype)
    if backend == "cuda":
        raise KernelError(reason)
    return reference(residual, weight, bias, branch=branch, branch_bias=branch_bias, eps=eps, dtype=dtype)


def reference(
    residual: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    branch: Tensor | None = None,
    branch_bias: Tensor | None = None,
    eps: float = 1e-5,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`add_norm` in plain torch."""
    total = residual
    if branch is not None:
        total = residual + branch.to(residual.dtype)
        if branch_bias is not None:
            total += branch_bias
    normalised = F.layer_norm(total.to(weight.dtype), weight.shape, weight, bias, eps)
    return total, normalised if dtype is None else normalised.to(dtype)


def _unsupported(residual: Tensor, weight: Tensor, branch: Tensor | None, dtype: torch.dtype | None) -> str | None:
    D = residual.shape[-1]
    if residual.dtype != torch.float32:
        return f"the kernels support float32 residuals, got {residual.dtype}"
    if D % kernels.CHUNK or D > 1024 or residual.numel() == 0:
        return f"the kernels support rows of up to 1,024 values, a multiple of {kernels.CHUNK}, got {D:,}"
    for name, found in (("branch", None if branch is None else branch.dtype), ("dtype", dtype or weight.dtype)):
        if found is not None and found not in kernels.TYPES:
            return f"{name} is {found}; the kernels support float32, bfloat16 and float16"
    return None


def _check(residual: Tensor, weight: Tensor, bias: Tensor, branch: Tensor | None, branch_bias: Tensor | None) -> None:
    D = residual.shape[-1] if residual.ndim else 0
    for name, vector in (("weight", weight), ("bias", bias), ("branch_bias", branch_bias)):
        if vector is not None and vector.shape != (D,):
            raise UsageError(f"{name} must be ({D},) like the last dimension of residual; got {tuple(vector.shape)}")
    if branch is not None and branch.shape != residual.shape:
        raise UsageError(
            f"branch is {tuple(branch.shape)}, but residual is {tuple(residual.shape)}; they must have the same shape"
        )
    if branch is None and branch_bias is not None:
        raise UsageError("branch_bias has no effect without a branch; pass a branch, or omit branch_bias")
