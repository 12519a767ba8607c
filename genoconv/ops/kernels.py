"""Shared by the host code of all operators: whether kernels can run, types of values, launches."""

import os
import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from genoconv.errors import UsageError
from genoconv.gpu import compiler, targets
from genoconv.gpu.compiler import Kernel
from genoconv.gpu.launch import Loaded, load
from genoconv.gpu.targets import Card

BACKENDS = ("auto", "cuda", "torch")
TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
"""Types of values that the kernels read and write, with their numbers in the sources."""
CHUNK = 8
"""Values that a thread moves at a time."""
_SUM_WARPS = 16


def kernel(source: str, *, threads: int, smem_bytes: int = 0, **defines: int) -> Kernel:
    """The kernel ``csrc/<source>.cu``, its defines in order; every source knows its warps as PLAN_WARPS."""
    pairs = tuple(sorted({**defines, "PLAN_WARPS": threads // 32}.items()))
    return Kernel(source, pairs, smem_bytes, threads)


def card(x: Tensor) -> Card:
    """The GPU that `x` is on."""
    return targets.local_card(index_of(x))


def _obstacle(index: int) -> str | None:
    """Why GPU `index` cannot run the kernels, or None."""
    card = targets.local_card(index)
    if card.capability < 80:
        return f"the kernels need compute capability 8.0 or later, but this GPU is {card.arch}; use backend='torch'"
    return compiler.missing()


# As torch.compiler.assume_constant_result does, which would load the compiler, two seconds of every start.
_obstacle._dynamo_marked_constant = True  # type: ignore[attr-defined]


def backend_of(backend: str) -> str:
    """The requested backend; ``auto`` is replaced by what the environment sets.

    Raises:
        UsageError: GENOCONV_KERNELS is not a backend.
    """
    if backend == "auto":
        backend = os.environ.get("GENOCONV_KERNELS", "auto")
        if backend not in BACKENDS:
            raise UsageError(f"GENOCONV_KERNELS is {backend!r}; it must be one of {', '.join(BACKENDS)}")
    return backend


def unsupported(x: Tensor, backend: str = "auto") -> str | None:
    """Why the kernels cannot run on `x`, given its device, its type and the requested backend; None if they can.

    Raises:
        UsageError: no such backend.
    """
    if backend not in BACKENDS:
        raise UsageError(f"backend is {backend!r}; it must be one of {', '.join(BACKENDS)}")
    if backend_of(backend) == "torch":
        return "backend is 'torch'"
    if x.device.type != "cuda":
        return f"the kernels need CUDA tensors, got one on {x.device.type}; move it to a GPU or use backend='torch'"
    if x.dtype not in TYPES:
        return f"the kernels support float32, bfloat16 and float16, got {x.dtype}; cast it or use backend='torch'"
    return _obstacle(index_of(x))


def index_of(x: Tensor) -> int:
    """Number of the GPU that `x` is on."""
    return torch.cuda.current_device() if x.device.index is None else int(x.device.index)


def launch(kernel: Kernel, args: Sequence[Any], *, grid: int, on: Tensor) -> None:
    """Queue `grid` blocks on torch's current stream of the GPU of `on`; compiles at first use."""
    index = index_of(on)
    _loaded(kernel, index).launch(args, grid=grid)


@cache
def _loaded(kernel: Kernel, index: int) -> Loaded:
    return load(kernel, arch=targets.local_card(index).arch, index=index)


COLUMN_SUMS = kernel("sums/column_sums", threads=32 * _SUM_WARPS, smem_bytes=4 * 33 * _SUM_WARPS)


def column_sums(x: Tensor) -> Tensor:
    """Sum `x` (R, ...), contiguous float32, over R: one partial sum per block of a kernel."""
    y = torch.empty(x.shape[1:], dtype=torch.float32, device=x.device)
    launch(COLUMN_SUMS, (x, y, len(x), y.numel()), grid=-(-y.numel() // 32), on=x)
    return y


def bits(x: float) -> int:
    """A float argument of a kernel as the integer with the same bits, as launches need."""
    return int(struct.unpack("<i", struct.pack("<f", x))[0])


def singles(x: Tensor) -> Tensor:
    """`x` as contiguous float32."""
    return x if x.dtype is torch.float32 and x.is_contiguous() else x.detach().float().contiguous()


def aligned(*tensors: Tensor | None) -> bool:
    """Whether all start on 16 bytes."""
    return all(x is None or x.data_ptr() % 16 == 0 for x in tensors)


def tile_columns(width: int, *, threads: int) -> int:
    """Columns of chunks of a block, as :func:`tiles` has them."""
    return min(threads, 1 << (width // CHUNK - 1).bit_length())


def tiles(x: Tensor, *, threads: int, blocks_per_sm: int) -> tuple[int, int, int, int]:
    """How blocks share out a matrix (..., width), whose threads have chunks of columns: `Tile` in the sources.

    Returns:
        Rows; columns of chunks of a block; blocks that share out the rows; and all blocks, several beside one another
        where a row is wide.
    """
    width = x.shape[-1]
    rows, chunks = x.numel() // width, width // CHUNK
    columns = tile_columns(width, threads=threads)
    beside = -(-chunks // columns)
    shares = max(1, min(-(-rows * columns // threads), blocks_per_sm * card(x).sm_count // beside))
    return rows, columns, shares, shares * beside
