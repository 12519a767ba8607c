"""Checks the arguments of the long convolutions; errors name the argument, its value and the remedy."""

import operator
from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor

from genoconv.errors import UsageError
from genoconv.ops.kernels import BACKENDS
from genoconv.ops.longconv.sparse import FrequencyMask
from genoconv.ops.longconv.spectrum import FilterSpectrum
from genoconv.ops.registration import watched

_FLOATS = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


def check(
    u: Tensor,
    k: Tensor | FilterSpectrum,
    D: Tensor | None,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    backend: str,
    *,
    piece: bool = False,
) -> None:
    """Raise UsageError if arguments of :func:`.conv.fftconv` are invalid.

    piece: K may exceed N and what was prepared.
    """
    if backend not in BACKENDS:
        raise UsageError(f"backend is {backend!r}; it must be one of {', '.join(BACKENDS)}")
    _tensor("u", u)
    if u.ndim != 3 or 0 in u.shape:
        raise UsageError(f"u must be (B, H, N) with no empty dimension; got {tuple(u.shape)}")
    if u.dtype not in _FLOATS:
        raise UsageError(f"u is {u.dtype}; it must be bfloat16, float16, float32 or float64")
    _, H, N = u.shape
    if isinstance(k, FilterSpectrum):
        taps = k.taps
        if D is not None:
            raise UsageError("D must be None with a prepared filter; pass it to prepare_filter instead")
        if k.length < N and not piece:
            raise UsageError(
                f"the filter was prepared for {k.length:,} positions, but u has {N:,}; prepare it for more"
            )
    else:
        taps = k
        _check_taps(k)
        if k.shape[1] > N and not piece:
            raise UsageError(f"k must be (H, K) with 1 <= K <= N = {N:,}; got {tuple(k.shape)}; use k[:, :{N}]")
    if taps.shape[0] != H:
        raise UsageError(f"k has {taps.shape[0]} channels, but u has {H}")
    if D is not None:
        _check_skip(D, H, of="u")
    for name, gate in (("gate_in", gate_in), ("gate_out", gate_out)):
        if gate is not None:
            _tensor(name, gate)
            if gate.shape != u.shape or gate.dtype != u.dtype:
                raise UsageError(
                    f"{name} is {tuple(gate.shape)} {gate.dtype}, but u is {tuple(u.shape)} {u.dtype}; they must have"
                    " the same shape and type"
                )
    for name, other in (("k", taps), ("D", D), ("gate_in", gate_in), ("gate_out", gate_out)):
        if other is not None and other.device != u.device:
            raise UsageError(f"{name} is on {other.device}, but u is on {u.device}; move them to the same device")


def check_filter(k: Tensor, length: int, D: Tensor | None = None, keep: FrequencyMask | None = None) -> None:
    """Raise UsageError if a filter, its skip or its mask is invalid for rows of ``length`` positions."""
    _check_taps(k)
    try:
        operator.index(length)
    except TypeError as error:
        raise UsageError(f"length is {length!r}; it must be a whole number of positions") from error
    if k.shape[1] > length:
        raise UsageError(f"k must be (H, K) with 1 <= K <= length; got {tuple(k.shape)} for length {length}")
    if D is not None:
        _check_skip(D, k.shape[0], of="k")
        if D.device != k.device:
            raise UsageError(f"D is on {D.device}, but k is on {k.device}; move them to the same device")
    if keep is not None:
        check_mask(keep)


def check_mask(keep: FrequencyMask) -> None:
    """Raise UsageError if ``keep`` is not a mask."""
    if not isinstance(keep, FrequencyMask):
        raise UsageError(f"the mask is a {type(keep).__name__}; it must be a FrequencyMask, as choose_mask returns")


def row_bounds(cu_seqlens: Tensor | Iterable[int], total: int) -> list[int]:
    """``cu_seqlens`` of packed rows of ``total`` positions in all, as integers; raises UsageError if invalid."""
    bounds = integers(cu_seqlens)
    if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != total:
        ends = f"{bounds[0]} to {bounds[-1]}" if bounds else "nothing"
        raise UsageError(f"cu_seqlens must start at 0 and end at T = {total:,}; got {ends}")
    for row, (start, stop) in enumerate(pairwise(bounds)):
        if stop <= start:
            raise UsageError(f"cu_seqlens: row {row} is from {start} to {stop}; every row needs at least one position")
    return bounds


def integers(cu_seqlens: Tensor | Iterable[int]) -> list[int]:
    """``cu_seqlens`` as integers; raises UsageError if they are anything else."""
    if isinstance(cu_seqlens, Tensor):
        if cu_seqlens.ndim != 1 or cu_seqlens.is_floating_point() or cu_seqlens.is_complex() or cu_seqlens.is_meta:
            kind = f"a tensor {tuple(cu_seqlens.shape)} of {cu_seqlens.dtype} on {cu_seqlens.device}"
            raise UsageError(f"cu_seqlens is {kind}; it must be (R + 1,) integers")
        cu_seqlens = cu_seqlens.tolist()
    try:
        return [operator.index(bound) for bound in cu_seqlens]
    except TypeError as error:
        raise UsageError(f"cu_seqlens must be R + 1 integers; got {str(cu_seqlens)[:60]}") from error


def _tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        way = "pass its taps" if isinstance(value, FilterSpectrum) else f"use torch.as_tensor({name})"
        raise UsageError(f"{name} is a {type(value).__name__}; it must be a tensor: {way}")
    if value.layout != torch.strided:
        raise UsageError(f"{name} has the layout {value.layout}; it must be dense: use {name}.to_dense()")


def _check_taps(k: Tensor) -> None:
    _tensor("k", k)
    if k.ndim != 2 or 0 in k.shape:
        raise UsageError(f"k must be (H, K) with K >= 1; got {tuple(k.shape)}")
    if not k.is_floating_point():
        raise UsageError(f"k is {k.dtype}; it must be floating point (float32): use k.float()")


def _check_skip(D: Tensor, channels: int, *, of: str) -> None:
    _tensor("D", D)
    if D.shape != (channels,):
        raise UsageError(f"D must be ({channels},), one value per channel of {of}; got {tuple(D.shape)}")
    if D.is_complex():
        raise UsageError(f"D is {D.dtype}; it must be real")
    # Checking values on a GPU means waiting for it, so that is done only when a filter is prepared, once.
    if (of == "k" or D.device.type == "cpu") and not (watched(D) or D.is_meta):
        bad = (~torch.isfinite(D)).nonzero()
        if len(bad):
            channel = int(bad[0, 0])
            raise UsageError(f"D is {D[channel].item()} in channel {channel}; it must be finite")
