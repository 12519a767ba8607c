"""The host's side of the kernels of rows in chunks: tables, arguments, grids and workspaces.

Everything is asynchronous on torch's current stream of the rows' device. Letters as in `genoconv.ops.longconv.conv`; T
positions of all rows, P of a chunk.
"""

from functools import lru_cache
from math import gcd

import torch
from torch import Tensor

from genoconv.gpu.launch import Loaded
from genoconv.ops import kernels
from genoconv.ops.longconv import captures, host, regimes
from genoconv.ops.longconv.chunked.plan import Group, slices
from genoconv.ops.longconv.host import DTYPES
from genoconv.ops.longconv.moves import Span
from genoconv.ops.longconv.one_sm import launches as one_sm
from genoconv.ops.longconv.one_sm.plan import OneSmPlan
from genoconv.ops.longconv.spectrum import StoredSpectrum

_KEPT_CHUNKS = 8
"""Chunks, of several rows, whose spectra a block of the backward kernel keeps, so that sums are updated less often."""


def plan_of(points: int, u: Tensor) -> OneSmPlan:
    """The plan of transforms of P points for rows like u."""
    plan = regimes.plan_on(points, DTYPES[u.dtype], kernels.index_of(u))
    assert isinstance(plan, OneSmPlan)
    return plan


def sizes(u: Tensor) -> tuple[int, ...]:
    """Chunks that the kernels offer to rows like u, ascending."""
    return regimes.pair_sizes(kernels.card(u), dtype=DTYPES[u.dtype], gradients=True)


@lru_cache(maxsize=64)
def _table(spans: tuple[Span, ...], group: Group, device: torch.device) -> Tensor:
    found = []
    for row in group.rows:
        start, stop = spans[row]
        found.append((start & 0xFFFFFFFF, start >> 32, stop - start, -(-(stop - start) // group.points)))
    return captures.uploaded(torch.tensor(found, dtype=torch.int64).to(torch.int32), device)


def table_of(spans: tuple[Span, ...], group: Group, device: torch.device) -> Tensor:
    """(rows, 4) words: where each row of a group starts (two words), its positions, its chunks."""
    table = _table(spans, group, device)
    captures.keep(table)
    return table


def _aligned(spans: tuple[Span, ...], group: Group, *tensors: Tensor | None) -> bool:
    """Whether every row starts on 16 bytes and has a multiple of 8 positions."""
    if any((spans[row][0] | spans[row][1]) % 8 for row in group.rows):
        return False
    return all(x is None or (x.data_ptr() % 16 == 0 and x.stride(1) % 8 == 0) for x in tensors)


def _channels(*tensors: Tensor | None) -> list[int]:
    return [0 if x is None else x.stride(1) for x in tensors]


def prepare_filter(plan: OneSmPlan, k: Tensor, D: Tensor | None, chunks: int) -> StoredSpectrum:
    """G_d, d < chunks <= 32, of filters k (H, K): (H, chunks, P) complex fp16, and a scale of each channel."""
    assert chunks <= 32, "the kernel has no room for more chunks' scales"
    index = kernels.index_of(k)
    taps = k if k.dtype is torch.float32 and k.stride(1) == 1 else k.detach().float().contiguous()
    skip = None if D is None else kernels.singles(D)
    H, K = taps.shape
    made = torch.empty((H, chunks, plan.size), dtype=torch.int32, device=k.device)
    scale = torch.empty((H, 1), dtype=torch.float32, device=k.device)
    (loaded,) = host.loaded((plan.row_chunk_kernel("chunk_spectra"),), plan.card.arch, index)
    tables = one_sm.tables_on(plan.radix, plan.split, index)
    aligned = int(taps.data_ptr() % 16 == 0 and taps.stride(0) % 4 == 0)
    args = (taps, skip, made, scale, tables, H, K, taps.stride(0), chunks, aligned)
    loaded.launch(args, grid=min(H, plan.chunk_blocks))
    return StoredSpectrum(made, scale, K)


def forward(
    plan: OneSmPlan,
    group: Group,
    spans: tuple[Span, ...],
    u: Tensor,
    spectrum: StoredSpectrum,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    y: Tensor,
) -> None:
    """The rows of a group, into y (1, H, T). Tensors contiguous along T."""
    H, index = u.shape[1], kernels.index_of(u)
    kernel = plan.row_chunk_kernel(
        "chunk_rows",
        aligned=_aligned(spans, group, u, gate_in, gate_out, y),
        gate_in=gate_in is not None,
        gate_out=gate_out is not None,
    )
    (loaded,) = host.loaded((kernel,), plan.card.arch, index)
    grid = _grid(plan, len(group.rows), H)
    kept = group.chunks - 1
    workspace = torch.empty(grid * kept * plan.size, dtype=torch.int32, device=u.device)
    tables = one_sm.tables_on(plan.radix, plan.split, index)
    tensors = (u, gate_in, gate_out, y, spectrum.filter, spectrum.scale, tables)
    counts = (len(group.rows), H, spectrum.filter.shape[1], kept)
    args = (*tensors, table_of(spans, group, u.device), workspace, *counts, *_channels(u, gate_in, gate_out, y))
    loaded.launch(args, grid=grid)


def _grid(plan: OneSmPlan, rows: int, channels: int) -> int:
    """Blocks: if possible their number shares no divisor with that of rows, so that each gets rows of all lengths."""
    most = min(plan.chunk_blocks, rows * channels)
    return next((grid for grid in range(most, most // 2, -1) if gcd(grid, rows) == 1), most)


def backward(
    plan: OneSmPlan,
    group: Group,
    spans: tuple[Span, ...],
    inputs: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    spectrum: StoredSpectrum,
    gradients: tuple[Tensor, Tensor | None, Tensor | None],
) -> tuple[Tensor, Tensor]:
    """dk (H, taps of all spectra) and dD (H,) in fp32; du and those of the gates go into ``gradients``.

    Args:
        inputs: dy, u, gate_in and gate_out, (1, H, T), contiguous along T.
        gradients: of u, gate_in and gate_out, contiguous.
    """
    dy, u, gate_in, gate_out = inputs
    du, dgate_in, dgate_out = gradients
    H, index, device = u.shape[1], kernels.index_of(u), u.device
    filter_chunks = spectrum.filter.shape[1]
    count = slices(plan, len(group.rows), H, filter_chunks)
    kernel = plan.row_chunk_kernel(
        "chunk_gradients",
        aligned=_aligned(spans, group, *inputs, *gradients),
        gate_in=gate_in is not None,
        gate_out=gate_out is not None,
    )
    loaded, filter_grad = host.loaded((kernel, plan.kernel("filter_grad")), plan.card.arch, index)
    grid = min(plan.chunk_blocks, H * count)
    partial = torch.empty(count * H * filter_chunks * plan.partial_bytes // 4, dtype=torch.float32, device=device)
    kept = max(group.chunks, min(_KEPT_CHUNKS, -(-group.all_chunks // count)))
    workspace = torch.empty(grid * 2 * kept * plan.size, dtype=torch.int32, device=device)
    tables = one_sm.tables_on(plan.radix, plan.split, index)
    tensors = (u, gate_in, gate_out, dy, du, dgate_in, dgate_out, spectrum.filter, spectrum.scale, partial, tables)
    counts = (len(group.rows), H, filter_chunks, kept, count)
    strides = _channels(u, gate_in, gate_out, dy, du)
    loaded.launch((*tensors, table_of(spans, group, device), workspace, *counts, *strides), grid=grid)
    return filter_gradients(plan, filter_grad, partial, (H, filter_chunks * plan.size), slices=count)


def filter_gradients(
    plan: OneSmPlan, filter_grad: Loaded, partial: Tensor, shape: tuple[int, int], *, slices: int
) -> tuple[Tensor, Tensor]:
    """dk (H, K) and dD (H,) in fp32, right after the kernel that leaves their sums.

    Args:
        plan: of chunks.
        filter_grad: its kernel.
        partial: sums dG_d of every chunk of H filters, ``slices`` times.
        shape: (H, K).
        slices: shares of the rows, each with sums of its own.
    """
    (H, K), device = shape, partial.device
    chunks = partial.numel() // (slices * H * plan.partial_bytes // 4)
    dk = torch.empty(shape, dtype=torch.float32, device=device)
    dD = torch.empty(H, dtype=torch.float32, device=device)
    args = (partial, dk, dD, one_sm.tables_on(plan.radix, plan.split, kernels.index_of(partial)))
    grid = one_sm.filter_grid(plan, H * chunks)
    filter_grad.launch((*args, H * chunks, K, slices, chunks), grid=grid, pdl=plan.has_pdl)
    return dk, dD
