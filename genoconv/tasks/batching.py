"""Batches that fit the memory: how many rows at once, and what to do when that was too many."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genoconv.errors import ModelError
from genoconv.genome.windows.batches import pad_batch
from genoconv.tasks import shares
from genoconv.tokens import A, Tokens

Item = TypeVar("Item")

_CPU_TOKENS = 8192
_GPU_TOKENS = 1 << 22
_GPU_SHARE = 0.7
_REMEDY = "a smaller --window, --precision bf16"


_computing = threading.RLock()


@contextmanager
def computing() -> Iterator[None]:
    """Only one thread at a time computes; others prepare what is next, or take up what was found, meanwhile."""
    with _computing:
        yield


def stack(sequences: Sequence[Tokens], length: int, *, device: torch.device) -> Tensor:
    """(B, length) int64 on ``device``, padded on the right."""
    return sent(pad_batch(sequences, length=length), device).long()  # a byte each goes there


def sent(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """An array on ``device``; the GPU need not have done its earlier work first."""
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    # Tensor.pin_memory() copies with as many threads as there are cores, which several processes would wait for.
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    np.copyto(pinned.numpy(), array)
    return pinned.to(device, non_blocking=True)


def fetching(tensor: Tensor) -> Callable[[], npt.NDArray[Any]]:
    """Begin to bring a tensor here; the function that is returned waits for it.

    Between the two another thread may have the GPU do more.
    """
    if tensor.device.type != "cuda":
        array = tensor.cpu().numpy()
        return lambda: array
    here = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    here.copy_(tensor, non_blocking=True)
    there = torch.cuda.Event()  # type: ignore[no-untyped-call]
    there.record()

    def wait() -> npt.NDArray[Any]:
        there.synchronize()
        found: npt.NDArray[Any] = here.numpy()
        return found

    return wait


def round_up(length: int, *, steps: int, least: int) -> int:
    """The next of ``steps`` lengths per octave, all of them multiples of ``least`` tokens: few lengths, few filters."""
    octave = 1 << max(0, (length - 1).bit_length() - 1)
    step = max(least, octave // steps)
    return -(-length // step) * step


def cut(members: list[Item], size: int) -> Iterator[list[Item]]:
    """``members`` in runs of ``size``; the last may be shorter."""
    return (members[first : first + size] for first in range(0, len(members), size))


def portions(items: Iterable[Item], *, size: Callable[[Item], int], most: int) -> Iterator[list[tuple[Item, int, int]]]:
    """Whole items, and parts of long ones, each with the first base of the part and the one after its last.

    Args:
        items: taken one after another, as they are needed.
        size: bases of an item.
        most: bases of a portion; the last may have fewer.
    """
    portion: list[tuple[Item, int, int]] = []
    room = most
    for item in items:
        first, length = 0, size(item)
        while first < length:
            last = min(length, first + room)
            portion.append((item, first, last))
            room -= last - first
            first = last
            if not room:
                yield portion
                portion, room = [], most
    if portion:
        yield portion


def fitting_rows(
    try_one: Callable[[Tensor], object], *, length: int, device: torch.device, remedy: str = _REMEDY
) -> int:
    """How many rows of ``length`` tokens to read at once: what a GPU's free memory holds, or what suits a CPU's caches.

    Args:
        try_one: reads ids (1, length) on ``device``; on a GPU it is called once, to see what a row takes.
        length: tokens of a row.
        device: where the model is.
        remedy: as in :func:`halving`.

    Raises:
        ModelError: one row does not fit into the memory of the device.
    """
    if device.type != "cuda":
        return max(1, _CPU_TOKENS // length)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    row = torch.full((length,), A, device=device)
    halving(lambda ids: try_one(torch.stack(ids)), [row], device=device, remedy=remedy)
    each = max(1, torch.cuda.max_memory_allocated(device) - before)
    free, _ = torch.cuda.mem_get_info(device)
    rows = max(1, min(int(free * _GPU_SHARE / shares.processes / each), _GPU_TOKENS // length))
    # A power of two, so that a little more or less free memory does not change the batches, nor a result's last digits.
    return 1 << (rows.bit_length() - 1)


def halving(
    work: Callable[[list[Item]], object],
    members: list[Item],
    *,
    device: torch.device,
    remedy: str = _REMEDY,
) -> None:
    """Do ``work`` on all ``members``; where the memory does not suffice, on one half and then the other.

    Args:
        work: takes some of the members; what it did before it ran out of memory is done again.
        members: at least one.
        device: where the memory is.
        remedy: options that make a row smaller, for the message.

    Raises:
        ModelError: one member alone does not fit into the memory of the device.
    """
    try:
        work(members)
        return
    except torch.OutOfMemoryError as error:
        if len(members) == 1:
            raise ModelError(
                f"one window does not fit into the memory of {device}; use {remedy}, or a device with more memory"
            ) from error
    # Somebody else took memory since the batch size was chosen.
    torch.cuda.empty_cache()
    half = len(members) // 2
    halving(work, members[:half], device=device, remedy=remedy)
    halving(work, members[half:], device=device, remedy=remedy)
