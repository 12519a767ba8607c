"""The small network that generates the long filters: from positions to sines to taps that decay in time.

    z = features of a position (E)        a_1 = W_1 z + b_1,  h_1 = sin(w a_1),  a_2 = W_2 h_1 + b_2,  ...
    k = (W_out h_L) * (exp(-rate t) + shift)

Always float32: 8 bits of mantissa are not enough for a filter of a million taps. On a GPU the product with W_out splits
each number into two bf16 values.

Letters: E features, F neurons, L layers, D channels, n positions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from genoconv.errors import KernelError, UsageError
from genoconv.ops import kernels
from genoconv.ops.filter.positions import Positions

WIDTHS = (16, 32, 48, 64)
MOST_FEATURES, MOST_LAYERS = 33, 4


def sine_network(
    positions: Positions, layers: Sequence[tuple[Tensor, Tensor]], frequency: Tensor, *, backend: str = "auto"
) -> Tensor:
    """Compute the sines that enter the last layer of the filter network.

    Args:
        positions: the n positions.
        layers: weight and bias of each layer, (F, E) and (F,), then (F, F) and (F,); float32 or float64.
        frequency: (F,), w of every layer's sin(w a).
        backend: ``torch``, ``cuda`` (one kernel each way, without stored activations, for float32, F 16 to 64 in steps
            of 16 and up to 4 layers), or ``auto``: the kernels if they support the call.

    Returns:
        (F, n). Differentiable (with the kernels once) in weights, biases and frequencies.

    Raises:
        UsageError: shapes do not match.
        KernelError: ``backend="cuda"``, and the kernels do not support this call.
    """
    _check(layers, frequency)
    reason = unsupported(layers, frequency, backend)
    if reason is None:
        from genoconv.ops.filter import fused

        return fused.sine_network(positions, layers, frequency)
    if backend == "cuda":
        raise KernelError(reason)
    h = positions.features(layers[0][0].shape[1], frequency.device).to(frequency.dtype)
    for weight, bias in layers:
        h = torch.sin(frequency[:, None] * torch.addmm(bias[:, None], weight, h))
    return h


def taps(
    weight: Tensor, h: Tensor, rates: Tensor | None, positions: Positions, *, shift: float, backend: str = "auto"
) -> Tensor:
    """The last layer of the filter network, with the decay of its taps: (W h) (exp(-rate t) + shift).

    Args:
        weight: (D, F) float32 or float64.
        h: (F, n) like ``weight``, from :func:`sine_network`.
        rates: (D,), a constant, like ``weight``; None means no decay, and ``shift`` has no effect.
        positions: the n positions.
        shift: the floor of the decay.
        backend: ``torch``, ``cuda`` (one kernel each way, for float32 and up to 256 channels in steps of 16), or
            ``auto``: the kernels if they support the call.

    Returns:
        (D, n). Differentiable (with the kernels once) in ``weight`` and ``h``.

    Raises:
        UsageError: shapes do not match.
        KernelError: ``backend="cuda"``, and the kernels do not support this call.
    """
    if weight.ndim != 2 or h.shape != (weight.shape[1], positions.count):
        raise UsageError(
            f"h must be (F, {positions.count}) for a weight (D, F); got {tuple(h.shape)}, {tuple(weight.shape)}"
        )
    if rates is not None and rates.shape != weight.shape[:1]:
        raise UsageError(f"rates must be ({weight.shape[0]},); got {tuple(rates.shape)}")
    reason = _no_taps(weight, backend)
    if reason is None:
        from genoconv.ops.filter import fused

        return fused.taps(weight, h, rates, positions, shift)
    if backend == "cuda":
        raise KernelError(reason)
    k = weight @ h
    return k if rates is None else modulate(k, rates, positions, shift=shift, backend=backend)


def _no_taps(weight: Tensor, backend: str) -> str | None:
    reason = kernels.unsupported(weight, backend)
    if reason is None and weight.dtype != torch.float32:
        reason = f"the kernels support float32, got {weight.dtype}"
    if reason is not None:
        return reason
    from genoconv.ops.filter import fused

    D, F = weight.shape
    return fused.no_taps(D, F, kernels.index_of(weight))


def modulate(x: Tensor, rates: Tensor, positions: Positions, *, shift: float, backend: str = "auto") -> Tensor:
    """Exponential decay in time above a floor: x (exp(-rate t) + shift).

    Args:
        x: (D, n) float32 or float64.
        rates: (D,), a constant, like ``x``.
        positions: the n positions.
        shift: the floor.
        backend: ``torch``, ``cuda`` (one pass each way, for float32), or ``auto``: the kernel if it supports the call.

    Returns:
        (D, n). Differentiable (with the kernel once) in ``x``.

    Raises:
        UsageError: shapes do not match.
        KernelError: ``backend="cuda"``, and the kernel does not support this call.
    """
    if x.ndim != 2 or x.shape[1] != positions.count or rates.shape != x.shape[:1]:
        raise UsageError(f"x must be (D, {positions.count}) and rates (D,); got {tuple(x.shape)}, {tuple(rates.shape)}")
    reason = kernels.unsupported(x, backend)
    if reason is None and x.dtype != torch.float32:
        reason = f"the kernel supports float32, got {x.dtype}"
    if reason is None:
        from genoconv.ops.filter import fused

        return fused.modulate(x, rates, positions, shift)
    if backend == "cuda":
        raise KernelError(reason)
    return x * (torch.exp(-rates[:, None] * positions.time(x.device).to(x.dtype)) + shift)


def unsupported(layers: Sequence[tuple[Tensor, Tensor]], frequency: Tensor, backend: str = "auto") -> str | None:
    """Why the kernels of :func:`sine_network` do not support such a network; None if they do."""
    reason = kernels.unsupported(frequency, backend)
    if reason is not None:
        return reason
    F, E = layers[0][0].shape
    if frequency.dtype != torch.float32 or F not in WIDTHS or E > MOST_FEATURES or len(layers) > MOST_LAYERS:
        widths = ", ".join(map(str, WIDTHS))
        return (
            f"the kernels support float32 networks of {widths} neurons, up to {MOST_FEATURES} features and "
            f"{MOST_LAYERS} layers; got {frequency.dtype}, {F}, {E} and {len(layers)}"
        )
    from genoconv.ops.filter import fused

    return fused.too_large(E, F, len(layers), kernels.index_of(frequency))


def _check(layers: Sequence[tuple[Tensor, Tensor]], frequency: Tensor) -> None:
    inputs = layers[0][0].shape[1] if layers and layers[0][0].ndim == 2 else 0
    for number, (weight, bias) in enumerate(layers):
        F = len(frequency)
        if weight.shape != (F, inputs) or bias.shape != (F,):
            raise UsageError(
                f"layer {number} must be ({F}, {inputs}) with a bias ({F},); got {tuple(weight.shape)}, "
                f"{tuple(bias.shape)}"
            )
        inputs = F
    if not layers or frequency.ndim != 1:
        raise UsageError(
            f"a network needs at least one layer, and one frequency per neuron; got {tuple(frequency.shape)}"
        )
