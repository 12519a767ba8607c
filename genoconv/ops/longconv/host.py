"""What the host code of every plan shares: devices, layouts of rows, tables on the GPU."""

from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genoconv.gpu import launch
from genoconv.gpu.compiler import Kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DTYPES = {torch.bfloat16: "bfloat16", torch.float16: "float16"}
"""Types of rows that kernels take, and their names in plans."""


def upload(words: "NDArray[np.uint32]", index: int) -> Tensor:
    """A table in the memory of GPU ``index``, as int32."""
    return torch.from_numpy(words.view("int32").copy()).to(torch.device("cuda", index))


@cache
def loaded(kernels: tuple[Kernel, ...], arch: str, index: int) -> tuple[launch.Loaded, ...]:
    """Kernels that are needed together, ready to be launched on GPU ``index``."""
    return launch.load_all(kernels, arch=arch, index=index)


_LARGEST_STRIDE = 2**62
"""Of kernels whose strides have 64 bits, as those of long rows have."""


def rows(x: Tensor, *, largest_stride: int = _LARGEST_STRIDE) -> Tensor:
    """x as kernels take it: positions contiguous, strides of batch and channel up to ``largest_stride`` elements."""
    batch, channel, position = x.stride()
    contiguous = position == 1 or x.shape[-1] == 1
    return x if contiguous and batch <= largest_stride and channel <= largest_stride else x.contiguous()


def optional_rows(x: Tensor | None, *, largest_stride: int = _LARGEST_STRIDE) -> Tensor | None:
    """:func:`rows` of a gate, where there is one."""
    return None if x is None else rows(x, largest_stride=largest_stride)


def rows_for_gradients(
    dy: Tensor, u: Tensor, gate_in: Tensor | None, gate_out: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """What kernels of gradients read, each by :func:`rows`; dy in the type of u."""
    return rows(dy.to(u.dtype)), rows(u), optional_rows(gate_in), optional_rows(gate_out)


def empty_gradients(
    u: Tensor, gate_in: Tensor | None, gate_out: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Contiguous memory for the gradients of u (B, H, N) and of the gates that there are."""
    du = torch.empty(u.shape, dtype=u.dtype, device=u.device)
    return du, None if gate_in is None else torch.empty_like(du), None if gate_out is None else torch.empty_like(du)


def strides(*tensors: Tensor | None) -> list[int]:
    """Strides of batch and channel of each tensor; zeros for one that is absent."""
    return [stride for x in tensors for stride in ((0, 0) if x is None else x.stride()[:2])]


def aligned(*tensors: Tensor | None) -> bool:
    """Whether every row starts on 16 bytes and N is a multiple of 8."""
    return all(x is None or _starts_aligned(x) for x in tensors)


def _starts_aligned(x: Tensor) -> bool:
    if x.shape[-1] % 8 or x.data_ptr() % 16:
        return False
    return x.is_contiguous() or (x.stride(0) % 8 == 0 and x.stride(1) % 8 == 0)
