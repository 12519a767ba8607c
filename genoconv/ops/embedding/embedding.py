"""Embedding of tokens in a small table; its gradient is summed in a fixed order, without atomic additions."""

import torch
import torch.nn.functional as F
from torch import Tensor

from genoconv.errors import KernelError, UsageError
from genoconv.ops import kernels

MOST_TOKENS = 16
"""Most rows of a table that the kernels support: a thread keeps one sum per row."""


def embed(ids: Tensor, table: Tensor, *, backend: str = "auto") -> Tensor:
    """Look up the rows of tokens.

    Args:
        ids: (...) int32 or int64, 0 <= id < V; of any other the kernels make NaN.
        table: (V, D), any floating type.
        backend: ``torch``, ``cuda`` (kernels for V up to 16 and D a multiple of 8, whose gradient has identical bits
            every time), or ``auto``: the kernels if they support the call.

    Returns:
        (..., D) like ``table``. Differentiable (with the kernels once).

    Raises:
        UsageError: ``ids`` are not integers of 32 or 64 bits, or ``table`` is not (V, D).
        KernelError: ``backend="cuda"``, and the kernels do not support this call.
    """
    if ids.dtype not in (torch.int32, torch.int64):
        raise UsageError(f"ids are {ids.dtype}; they must be integers, int32 or int64")
    if table.ndim != 2:
        raise UsageError(f"table must be (V, D); got {tuple(table.shape)}")
    reason = kernels.unsupported(table, backend)
    if reason is None and (table.shape[0] > MOST_TOKENS or table.shape[1] % kernels.CHUNK or ids.numel() == 0):
        limits = f"{MOST_TOKENS} rows whose length is a multiple of {kernels.CHUNK}"
        reason = f"the kernels support tables of up to {limits}, got {tuple(table.shape)}"
    if reason is None:
        from genoconv.ops.embedding import fused

        return fused.embed(ids, table)
    if backend == "cuda":
        raise KernelError(reason)
    return reference(ids, table)


def reference(ids: Tensor, table: Tensor) -> Tensor:
    """:func:`embed` in plain torch."""
    return F.embedding(ids, table)
