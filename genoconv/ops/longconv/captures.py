"""Small tables that rows of different lengths need on a GPU, and CUDA graphs that read them.

Tables are kept for a while by what they were made of, and then given up. A graph reads the addresses that it was
captured with at every replay, and nobody learns when it is replayed for the last time. So what a capture reads stays in
memory to the end of the process, and nothing is made during a capture: a copy would only run when the graph does, from
memory that is in other use by then.
"""

import torch
from torch import Tensor

from genoconv.errors import UsageError

_read: dict[int, Tensor] = {}


def capturing(device: torch.device) -> bool:
    """Whether work on the current stream of ``device`` goes into a graph."""
    if device.type != "cuda" or torch.compiler.is_compiling():
        return False
    with torch.cuda.device(device):
        return torch.cuda.is_current_stream_capturing()


def uploaded(table: Tensor, device: torch.device) -> Tensor:
    """``table``, which is on the CPU, on ``device``, without waiting for that.

    Raises:
        UsageError: a graph is being captured.
    """
    if capturing(device):
        raise UsageError(
            "a CUDA graph is being captured, and packed rows of these lengths are new: call fftconv_packed once with"
            " the same cu_seqlens just before the capture"
        )
    return table.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else table


def keep(*tables: Tensor | None) -> None:
    """Keep tables of one device that are about to be read, if a graph is being captured."""
    present = [table for table in tables if table is not None]
    if capturing(present[0].device):
        _read.update((id(table), table) for table in present)
