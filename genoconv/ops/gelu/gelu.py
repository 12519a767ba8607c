"""GELU in its tanh form, with the bias of the linear layer before it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from genoconv.errors import KernelError, UsageError
from genoconv.ops import kernels
from genoconv.ops.registration import untracked


def bias_gelu(x: Tensor, bias: Tensor, *, backend: str = "auto") -> Tensor:
    """gelu(x + bias), with gelu(z) = z / 2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))).

    The gradients of ``bias`` and ``x`` are computed in one pass.

    Args:
        x: (..., D), the output of a linear layer without its bias, any floating type.
        bias: (D,), the bias of that layer.
        backend: ``torch``, ``cuda`` (kernels for float32, bfloat16 and float16 with D a multiple of 8), or ``auto``:
            the kernels if they support the call.

    Returns:
        (..., D) like ``x``. Differentiable (with the kernels once) in both.

    Raises:
        UsageError: ``bias`` does not match ``x``.
        KernelError: ``backend="cuda"``, and the kernels do not support this call.
    """
    D = x.shape[-1] if x.ndim else 0
    if bias.shape != (D,):
        raise UsageError(f"bias must be ({D},) like the last dimension of x; got {tuple(bias.shape)}")
    reason = kernels.unsupported(x, backend)
    if reason is None and (D % kernels.CHUNK or x.numel() == 0):
        reason = f"the kernels support rows whose length is a multiple of {kernels.CHUNK}, got {D:,}"
    if reason is None:
        from genoconv.ops.gelu import fused

        return fused.bias_gelu(x, bias)
    if backend == "cuda":
        raise KernelError(reason)
    return reference(x, bias)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor, *, backend: str = "auto") -> Tensor:
    """A linear layer and its GELU: gelu(x weight^T + bias).

    Neither bias nor GELU takes a pass over memory that could be spared. Where gradients are wanted, the product is kept
    and the kernels add the bias in the GELU; without, and in 16 bits, cuBLASLt computes both as it writes the product.

    Args:
        x: (..., I), any floating type.
        weight: (O, I) like ``x``.
        bias: (O,) like ``x``.
        backend: as of :func:`bias_gelu`; ``cuda`` takes its kernel in any case.

    Returns:
        (..., O) like ``x``, differentiable in all three.

    Raises:
        UsageError: shapes do not match.
        KernelError: as :func:`bias_gelu`.
    """
    inputs = x.shape[-1] if x.ndim else 0
    if weight.ndim != 2 or weight.shape[1] != inputs or bias.shape != weight.shape[:1]:
        raise UsageError(
            f"weight must be (O, {inputs}) like the last dimension of x, bias (O,); got {tuple(weight.shape)}, "
            f"{tuple(bias.shape)}"
        )
    supported = kernels.unsupported(x, backend) is None
    if supported and backend != "cuda" and _fits_one_product(x, weight, bias):
        rows = x.reshape(-1, inputs)
        return torch._addmm_activation(bias, rows, weight.T, use_gelu=True).view(*x.shape[:-1], len(weight))
    if supported or backend == "cuda":
        return bias_gelu(F.linear(x, weight), bias, backend=backend)
    return F.gelu(F.linear(x, weight, bias), approximate="tanh")


def _fits_one_product(x: Tensor, weight: Tensor, bias: Tensor) -> bool:
    """Whether cuBLASLt computes all of :func:`linear_gelu`; in float32 its GELU is less exact than the kernel's."""
    if x.dtype not in (torch.bfloat16, torch.float16) or not x.dtype == weight.dtype == bias.dtype:
        return False
    even = all(size % kernels.CHUNK == 0 for size in weight.shape)
    return even and x.numel() > 0 and untracked(x, weight, bias)


def reference(x: Tensor, bias: Tensor) -> Tensor:
    """:func:`bias_gelu` in plain torch."""
    return F.gelu(x + bias.to(x.dtype), approximate="tanh")
