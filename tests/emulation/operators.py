"""The operators around the long convolution on emulated kernels, behind the host code that a GPU's users run."""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from emulation.harness import GUARD, Counts, Machine, build, poison
from torch import Tensor

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.launch import parameters
from genoconv.gpu.targets import Card
from genoconv.ops import kernels
from genoconv.ops.filter import fused as filter_kernels


@contextmanager
def machine(*, sm_count: int = 2, smem: int = 227 * 1024) -> Iterator[Machine]:
    """Stand in for a GPU of ``sm_count`` SMs: operators on CPU tensors run their kernels, on poisoned memory."""
    here = Machine()

    def empty(*shape: Any, dtype: torch.dtype | None = None, device: object = None) -> Tensor:
        shape = shape[0] if isinstance(shape[0], Sequence) else shape
        count = torch.Size(shape).numel()
        whole = poison(torch.zeros(count + 2 * GUARD, dtype=dtype or torch.float32))
        here.buffers.append(whole)
        return whole[GUARD : GUARD + count].view(shape)

    def launched(kernel: Kernel, args: Sequence[Any], *, grid: int, on: Tensor) -> None:
        counts = (ctypes.c_long * 3)()
        run = getattr(build(kernel, divergent=True), f"emulate_{kernel.name}")
        run(ctypes.c_void_p(parameters(args)), ctypes.c_int(grid), ctypes.c_int(kernel.smem_bytes), counts)
        here.counts[kernel.name] = Counts(*counts)

    with (
        mock.patch.object(kernels, "launch", launched),
        mock.patch.object(kernels, "unsupported", return_value=None),
        mock.patch.object(kernels, "card", return_value=Card("sm_90", smem, sm_count, 50 * 2**20)),
        mock.patch.object(kernels, "index_of", return_value=0),
        mock.patch.object(filter_kernels, "too_large", return_value=None),
        mock.patch.object(filter_kernels, "no_taps", return_value=None),
        mock.patch.object(torch, "empty", empty),
    ):
        yield here
