"""The kernels of the filter network: launches, and the operators that torch sees."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card, local_card
from genoconv.ops import kernels
from genoconv.ops.filter.positions import Positions, bands
from genoconv.ops.registration import differentiable

_BLOCKS_PER_SM = 2
_TAPS_FORWARD, _TAPS_BACKWARD = 64, 32
"""Positions in a tile of the kernels of the last layer."""
_TAPS_WARPS = 8
_MOST_CHANNELS, _MOST_NEURONS = 256, 64
"""Of those kernels: a warp keeps its rows of the weight, or of its gradient, in registers."""


def _smem(name: str, E: int, F: int, L: int, halves: int) -> int:
    """Bytes of shared memory of a block, as `csrc/filter/network.cuh` lays them out."""
    positions = 32 * halves
    tiles = L + 1 if name == "sine_backward" else min(2, L)
    scales = -(-F // 64) * 4
    return 4 * ((L - 1) * F * (F + 4) + F * E + (L + 1) * F + scales + (E + tiles * F) * positions)


def _kernel(name: str, E: int, F: int, L: int, card: Card, **defines: int) -> Kernel:
    halves = next((h for h in (2, 1) if _smem(name, E, F, L, h) <= card.smem), 1)
    sizes = {"FILTER_WIDTH": F, "FEATURES": E, "LAYERS": L, "HALVES": halves, **defines}
    return kernels.kernel(f"filter/{name}", threads=2 * F, smem_bytes=_smem(name, E, F, L, halves), **sizes)


def too_large(E: int, F: int, L: int, index: int) -> str | None:
    """Why a block of GPU `index` cannot hold such a network, or None."""
    need, room = _smem("sine_backward", E, F, L, 1), local_card(index).smem
    return (
        f"the network needs {need:,} bytes of shared memory per block; this GPU has {room:,}" if need > room else None
    )


# As torch.compiler.assume_constant_result does, which would load the compiler, two seconds of every start.
too_large._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _grid(kernel: Kernel, count: int, like: Tensor) -> int:
    positions = 32 * dict(kernel.defines)["HALVES"]
    return min(-(-count // positions), _BLOCKS_PER_SM * kernels.card(like).sm_count)


def _forward(
    packed: Tensor, table: Tensor | None, features: int, width: int, layers: int, start: int, count: int, most: int
) -> Tensor:
    """(F, count), from the packed parameters."""
    h = torch.empty((width, count), dtype=torch.float32, device=packed.device)
    aligned = int(count % 4 == 0 and kernels.aligned(h))
    kernel = _kernel("sine_forward", features, width, layers, kernels.card(packed), ALIGNED=aligned)
    args = (packed, table, bands(features, packed.device), h, start, count, most)
    kernels.launch(kernel, args, grid=_grid(kernel, count, packed), on=packed)
    return h


def _backward(
    dh: Tensor,
    packed: Tensor,
    table: Tensor | None,
    features: int,
    width: int,
    layers: int,
    start: int,
    count: int,
    most: int,
) -> Tensor:
    """Gradient of the packed parameters."""
    dh = dh.contiguous()
    aligned = int(count % 4 == 0 and kernels.aligned(dh))
    kernel = _kernel("sine_backward", features, width, layers, kernels.card(packed), ALIGNED=aligned)
    grid = _grid(kernel, count, packed)
    partial = torch.empty((grid, packed.numel()), dtype=torch.float32, device=packed.device)
    args = (packed, table, bands(features, packed.device), dh, partial, start, count, most)
    kernels.launch(kernel, args, grid=grid, on=packed)
    return kernels.column_sums(partial)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    packed, table, *ctx.sizes = inputs
    ctx.save_for_backward(packed, table)


def _gradients(backward: Any, ctx: Any, dh: Tensor) -> tuple[Tensor | None, ...]:
    packed, table = ctx.saved_tensors
    return backward(dh, packed, table, *ctx.sizes), *(None,) * 7


_sines = differentiable(
    "sine_network",
    _forward,
    _backward,
    forward_fake=lambda packed, table, features, width, layers, start, count, most: packed.new_empty((width, count)),
    backward_fake=lambda dh, packed, *_: packed.new_empty(packed.shape),
    keep=_keep,
    gradients=_gradients,
)


def sine_network(positions: Positions, layers: Sequence[tuple[Tensor, Tensor]], frequency: Tensor) -> Tensor:
    """As :func:`genoconv.ops.filter.filter.sine_network`, for networks that the kernels serve."""
    F, E = layers[0][0].shape
    packed = torch.cat([x.reshape(-1) for layer in layers for x in layer] + [frequency])
    table = None if positions.table is None else kernels.singles(positions.table)
    h: Tensor = _sines(packed, table, E, F, len(layers), positions.start, positions.count, positions.most)
    return h


def step_kernels(length: int, E: int, F: int, L: int, card: Card) -> Iterator[Kernel]:
    """All that a training step needs for so many positions, the last layer apart."""
    for name in ("sine_forward", "sine_backward"):
        yield _kernel(name, E, F, L, card, ALIGNED=int(length % 4 == 0))


def step_kernels_of_taps(length: int, D: int, F: int, *, decays: bool) -> Iterator[Kernel]:
    """All that a training step needs for the last layer."""
    for name in ("taps_forward", "taps_backward"):
        yield _sized_taps(name, D, F, aligned=length % 4 == 0, decays=decays)


def _taps_kernel(name: str, weight: Tensor, *rows: Tensor, decays: bool) -> Kernel:
    aligned = rows[0].shape[1] % 4 == 0 and kernels.aligned(weight, *rows)
    return _sized_taps(name, *weight.shape, aligned=aligned, decays=decays)


def _sized_taps(name: str, D: int, F: int, *, aligned: bool, decays: bool) -> Kernel:
    defines = {"CHANNELS": D, "FILTER_WIDTH": F, "DECAYS": int(decays), "ALIGNED": int(aligned)}
    smem = _taps_smem(D, F) if name == "taps_backward" else _matrix(F, _TAPS_FORWARD)
    return kernels.kernel(f"filter/{name}", threads=32 * _TAPS_WARPS, smem_bytes=smem, **defines)


def _matrix(rows: int, columns: int) -> int:
    """Bytes of a matrix in shared memory, as `csrc/filter/split.cuh` lays it out."""
    chunks = columns // 8
    return 32 * rows * (chunks if chunks & (chunks - 1) == 0 else chunks | 1)


def _taps_smem(D: int, F: int) -> int:
    """Bytes of a block of `csrc/filter/taps_backward.cu`: two tiles, and twice the sums that warps exchange."""
    shares = min(_TAPS_WARPS // (F // 16), D // 16)
    sums = 2048 * (shares - 1) * (F // 16)
    return 2 * (_matrix(D, _TAPS_BACKWARD) + _matrix(F, _TAPS_BACKWARD) + sums)


def no_taps(D: int, F: int, index: int) -> str | None:
    """Why GPU `index` cannot run the kernels of `taps` for D channels from F neurons, or None."""
    if D % 16 or F % 16 or D > _MOST_CHANNELS or F > _MOST_NEURONS:
        return f"the kernels support up to {_MOST_CHANNELS} channels and {_MOST_NEURONS} neurons, in steps of 16"
    need, room = _taps_smem(D, F), local_card(index).smem
    return (
        f"{D} channels need {need:,} bytes of shared memory per block; this GPU has {room:,}" if need > room else None
    )


# As torch.compiler.assume_constant_result does, which would load the compiler, two seconds of every start.
no_taps._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _taps_grid(count: int, positions: int, like: Tensor, *, blocks_per_sm: int) -> int:
    return min(-(-count // positions), blocks_per_sm * kernels.card(like).sm_count)


def _taps(weight: Tensor, h: Tensor, rates: Tensor | None, start: int, most: int, shift: float) -> Tensor:
    weight, h = weight.contiguous(), h.contiguous()
    count = h.shape[1]
    k = torch.empty((weight.shape[0], count), dtype=torch.float32, device=h.device)
    kernel = _taps_kernel("taps_forward", weight, h, k, decays=rates is not None)
    decay = None if rates is None else kernels.singles(rates)
    args = (weight, h, decay, k, start, count, most, kernels.bits(shift))
    kernels.launch(kernel, args, grid=_taps_grid(count, _TAPS_FORWARD, h, blocks_per_sm=_BLOCKS_PER_SM), on=h)
    return k


def _taps_backward(
    dk: Tensor, weight: Tensor, h: Tensor, rates: Tensor | None, start: int, most: int, shift: float
) -> tuple[Tensor, Tensor]:
    """Gradients of the weight and of h."""
    dk, weight, h = dk.contiguous(), weight.contiguous(), h.contiguous()
    count = h.shape[1]
    dh = torch.empty(h.shape, dtype=torch.float32, device=h.device)
    kernel = _taps_kernel("taps_backward", weight, h, dk, dh, decays=rates is not None)
    grid = _taps_grid(count, _TAPS_BACKWARD, h, blocks_per_sm=1)
    partial = torch.empty((grid, *weight.shape), dtype=torch.float32, device=h.device)
    decay = None if rates is None else kernels.singles(rates)
    args = (dk, weight, h, decay, dh, partial, start, count, most, kernels.bits(shift))
    kernels.launch(kernel, args, grid=grid, on=h)
    return kernels.column_sums(partial), dh


def _keep_taps(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    weight, h, rates, *ctx.sizes = inputs
    ctx.save_for_backward(weight, h, rates)


def _taps_gradients(backward: Any, ctx: Any, dk: Tensor) -> tuple[Tensor | None, ...]:
    weight, h, rates = ctx.saved_tensors
    return *backward(dk, weight, h, rates, *ctx.sizes), None, None, None, None


_made_taps = differentiable(
    "filter_taps",
    _taps,
    _taps_backward,
    forward_fake=lambda weight, h, rates, start, most, shift: h.new_empty((weight.shape[0], h.shape[1])),
    backward_fake=lambda dk, weight, h, *_: (weight.new_empty(weight.shape), h.new_empty(h.shape)),
    keep=_keep_taps,
    gradients=_taps_gradients,
)


def taps(weight: Tensor, h: Tensor, rates: Tensor | None, positions: Positions, shift: float) -> Tensor:
    """As :func:`genoconv.ops.filter.filter.taps`, for what the kernels serve."""
    k: Tensor = _made_taps(weight, h, rates, positions.start, positions.most, shift)
    return k


def _modulate(x: Tensor, rates: Tensor, start: int, most: int, shift: float) -> Tensor:
    x = x.contiguous()
    rows, count = x.shape
    y = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    aligned = int(count % kernels.CHUNK == 0 and kernels.aligned(x, y))
    kernel = kernels.kernel("filter/modulate", threads=256, ALIGNED=aligned)
    slices = -(-count // (kernels.CHUNK * 256))
    args = (x, kernels.singles(rates), y, rows, start, count, most, kernels.bits(shift))
    kernels.launch(kernel, args, grid=rows * slices, on=x)
    return y


def _modulate_backward(dy: Tensor, rates: Tensor, start: int, most: int, shift: float) -> Tensor:
    return _modulate(dy, rates, start, most, shift)


def _keep_rates(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, rates, *ctx.sizes = inputs
    ctx.save_for_backward(rates)


def _modulated_gradients(backward: Any, ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    (rates,) = ctx.saved_tensors
    return backward(dy, rates, *ctx.sizes), None, None, None, None


_modulated = differentiable(
    "modulate",
    _modulate,
    _modulate_backward,
    forward_fake=lambda x, rates, start, most, shift: x.new_empty(x.shape),
    backward_fake=lambda dy, rates, start, most, shift: dy.new_empty(dy.shape),
    keep=_keep_rates,
    gradients=_modulated_gradients,
)


def modulate(x: Tensor, rates: Tensor, positions: Positions, shift: float) -> Tensor:
    """As :func:`genoconv.ops.filter.filter.modulate`, for float32 on a GPU."""
    y: Tensor = _modulated(x, rates, positions.start, positions.most, shift)
    return y
