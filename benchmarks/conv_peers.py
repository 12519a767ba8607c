"""Every implementation of the gated causal convolution that ``benchmarks/conv.py`` compares, and peers on record."""

# mypy: disable-error-code="no-untyped-call, no-any-return"

import importlib.util
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from genoconv.ops import fftconv
from genoconv.ops.longconv import fused
from genoconv.ops.longconv.spectrum import StoredSpectrum

# Milliseconds on one NVIDIA H200, torch 2.11, CUDA 13.0, measured 2026-11, by N, of these shapes: FlashFFTConv built
# for sm_90, and subquadratic-ops-torch 0.3.1 with two pointwise gates; forward, then forward and backward.
RECORDED_MACHINE = "NVIDIA H200"
RECORDED: dict[str, dict[int, tuple[float, float]]] = {
    "FlashFFTConv float16": {
        1024: (0.636, 2.811),
        4096: (3.478, 12.72),
        8192: (9.771, 37.43),
        16384: (11.00, 49.28),
        32768: (17.22, 60.35),
        65536: (17.09, 55.84),
        131072: (17.89, 60.00),
        524288: (21.28, 74.13),
        1048576: (35.28, 99.81),
        2097152: (38.88, 139.3),
    },
    "NVIDIA bfloat16": {
        1024: (0.543, 1.570),
        4096: (2.036, 5.693),
        8192: (4.179, 12.73),
        16384: (4.835, 17.51),
        32768: (6.198, 14.79),
        65536: (6.160, 14.78),
        131072: (6.327, 15.27),
        524288: (6.869, 16.41),
        1048576: (6.399, 15.46),
        2097152: (9.488, 22.86),
    },
}
Convolution = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""Of u, k, D and both gates."""


def through_torch(u: Tensor, k: Tensor, D: Tensor, gate_in: Tensor, gate_out: Tensor) -> Tensor:
    """As the official HyenaDNA does it: transforms in float32, gates in the row type."""
    v = u * gate_in
    N = v.shape[-1]
    spectrum = torch.fft.rfft(k, n=2 * N) / (2 * N)
    y = torch.fft.irfft(torch.fft.rfft(v.float(), n=2 * N) * spectrum, n=2 * N, norm="forward")[..., :N]
    return (y + v * D.unsqueeze(-1)).to(u.dtype) * gate_out


def through_nvidia(u: Tensor, k: Tensor, D: Tensor, gate_in: Tensor, gate_out: Tensor) -> Tensor:
    """NVIDIA's kernel between pointwise gates; the skip is added to the first tap."""
    from subquadratic_ops_torch.fft_causal_conv1d import fft_causal_conv1d

    first = torch.nn.functional.pad(D[:, None], (0, k.shape[1] - 1))
    y: Tensor = fft_causal_conv1d(u * gate_in, (k + first).to(u.dtype))
    return y * gate_out


def through_flashfftconv() -> Convolution:
    """FlashFFTConv, whose modules keep tables of their length and type."""
    from flashfftconv import FlashFFTConv

    modules: dict[tuple[int, torch.dtype], Any] = {}

    def run(u: Tensor, k: Tensor, D: Tensor, gate_in: Tensor, gate_out: Tensor) -> Tensor:
        key = u.shape[-1], u.dtype
        if key not in modules:
            modules[key] = FlashFFTConv(2 * key[0], dtype=u.dtype).to(u.device)
        first = torch.nn.functional.pad(D[:, None], (0, k.shape[1] - 1))
        y: Tensor = modules[key](u, k + first, pregate=gate_in, postgate=gate_out)
        return y

    return run


def through_genoconv(u: Tensor, k: Tensor, D: Tensor, gate_in: Tensor, gate_out: Tensor) -> Tensor:
    """The fused kernels, or an error."""
    return fftconv(u, k, D=D, gate_in=gate_in, gate_out=gate_out, backend="cuda")


class _ThreePasses(torch.autograd.Function):
    """What the fused kernels do for rows that no faster plan takes."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, k: Tensor, D: Tensor, gate_in: Tensor, gate_out: Tensor) -> Tensor:
        plan = fused.plan_of(u).whole
        made = plan.prepare_filter(k, D)
        ctx.save_for_backward(u, made.filter, made.scale, gate_in, gate_out)
        ctx.plan, ctx.taps = plan, made.taps
        return plan.forward(u, made, gate_in, gate_out, fresh=True)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        u, kept, scale, gate_in, gate_out = ctx.saved_tensors
        return ctx.plan.backward(dy, u, StoredSpectrum(kept, scale, ctx.taps), gate_in, gate_out)


def through_three_passes(u: Tensor, k: Tensor, D: Tensor, gate_in: Tensor, gate_out: Tensor) -> Tensor:
    """The kernels of whole rows, also where halves or clusters would take them."""
    y: Tensor = _ThreePasses.apply(u, k, D, gate_in, gate_out)
    return y


def implementations(wanted: list[str]) -> Iterator[tuple[str, Convolution]]:
    """Those that were asked for and are installed here; says which are not. `three-passes` has to be asked for."""
    known: dict[str, tuple[str, Callable[[], Convolution]]] = {
        "genoconv": ("genoconv", lambda: through_genoconv),
        "three-passes": ("genoconv", lambda: through_three_passes),
        "torch": ("torch", lambda: through_torch),
        "NVIDIA": ("subquadratic_ops_torch", lambda: through_nvidia),
        "FlashFFTConv": ("flashfftconv", through_flashfftconv),
    }
    for name in wanted or [name for name in known if name != "three-passes"]:
        package, make = known[name]
        if importlib.util.find_spec(package) is None:
            print(f"{name}: {package} is not installed here, so it is not measured", file=sys.stderr)
        else:
            yield name, make()
