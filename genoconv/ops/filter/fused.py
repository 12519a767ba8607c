"""The kernels of the filter network: launches, and the operators that torch sees."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card, local_card
from genoconv.ops import kernels
from genoconv.ops.filter.filter import Positions, bands
from genoconv.ops.registration import differentiable

_BLOCKS_PER_SM = 2


def _smem(name: str, E: int, F: int, L: int, halves: int) -> int:
    """Bytes of shared memory of a block, as `csrc/filter/network.cuh` lays them out."""
    row = 32 * halves + 4
    tiles = L + 1 if name == "sine_backward" else min(2, L)
    return 4 * ((L - 1) * F * (F + 4) + F * E + (L + 1) * F + E * row + tiles * F * row)


def _kernel(name: str, E: int, F: int, L: int, card: Card, **defines: int) -> Kernel:
    halves = next((h for h in (2, 1) if _smem(name, E, F, L, h) <= card.smem), 1)
    sizes = {"FILTER_WIDTH": F, "FEATURES": E, "LAYERS": L, "HALVES": halves, **defines}
    return kernels.kernel(f"filter/{name}", threads=2 * F, smem_bytes=_smem(name, E, F, L, halves), **sizes)


def too_large(E: int, F: int, L: int, index: int) -> str | None:
    """Why a block of GPU `index` cannot hold such a network, or None."""
    need, room = _smem("sine_backward", E, F, L, 1), local_card(index).smem
    return f"the network needs {need:,} bytes of shared memory a block, this GPU has {room:,}" if need > room else None


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
    kernel = _kernel("sine_backward", features, width, layers, kernels.card(packed))
    grid = _grid(kernel, count, packed)
    partial = torch.empty((grid, packed.numel()), dtype=torch.float32, device=packed.device)
    args = (packed, table, bands(features, packed.device), dh.contiguous(), partial, start, count, most)
    kernels.launch(kernel, args, grid=grid, on=packed)
    return partial.sum(0)


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
