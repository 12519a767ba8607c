"""Measures whether the long convolution works on this machine, how accurate it is and how fast."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from genoconv.errors import KernelError
from genoconv.gpu import cache, launch, targets
from genoconv.gpu.compiler import Kernel
from genoconv.ops import fftconv
from genoconv.ops.longconv import fused, regimes

NAMES = ("y", "du", "dk", "dD", "dgate_in", "dgate_out")
TOLERANCE = 4e-3
"""Largest relative L2 error of a correct bfloat16 result: twice the error of rounding the output alone."""

_ROWS, _FEW_ROWS = (4, 8), (1, 8)  # few of more than _LONG positions: float64 takes much memory
_LONG = 1 << 17
_REPEATS = 9
_CPU_STANDS_FOR, _CPU_LONGEST = "sm_90", 4096  # where no kernel runs, the lengths of this card up to here


@dataclass(frozen=True)
class Check:
    """One length on one backend.

    Attributes:
        backend: ``cuda`` or ``torch``.
        length: N, positions.
        errors: relative L2 error against float64 of each of :data:`NAMES`.
        milliseconds: median of a forward and a backward pass.
        torch_milliseconds: the same through torch.fft.
    """

    backend: str
    length: int
    errors: tuple[float, ...]
    milliseconds: float
    torch_milliseconds: float

    @property
    def ok(self) -> bool:
        """Whether every error is within :data:`TOLERANCE` (NaN is not)."""
        return all(error <= TOLERANCE for error in self.errors)


def kernel_status() -> dict[str, str]:
    """CUDA, driver, compiler and kernels of this machine, in words; measures nothing and works without a GPU."""
    report = launch.driver_report()
    available = torch.cuda.is_available()
    count = len(cache.entries())
    found = {
        "CUDA": f"torch is built for CUDA {torch.version.cuda}"
        if torch.version.cuda
        else "none in this build of torch",
        "driver": report["driver"],
        "NVRTC": report["NVRTC"],
        "kernels": f"{count} compiled in the cache" if count else "none compiled yet (compiled on first use)",
    }
    if not available:
        why = "this torch is a CPU build" if torch.version.cuda is None else "torch sees no NVIDIA GPU or driver"
        return {**found, "GPU": f"none ({why})", "backend": "torch.fft on the CPU"}
    properties = torch.cuda.get_device_properties(0)
    reason = fused.unsupported(torch.empty(1, 1, 1, dtype=torch.bfloat16, device="cuda"))
    found["GPU"] = f"{torch.cuda.device_count()} x {properties.name}, sm_{properties.major}{properties.minor}"
    if reason:
        return {**found, "backend": f"torch.fft on the GPU: {reason}"}
    limit = regimes.reach(targets.local_card(0))
    return {
        **found,
        "backend": f"fused CUDA kernels for bfloat16 and float16 rows up to {limit:,} positions, torch.fft beyond",
    }


def check(device: torch.device) -> Iterator[Check]:
    """Compare every plan of the device with float64, forward and backward, one length for each set of kernels.

    Raises:
        KernelError: a kernel for this device fails to compile or launch.
    """
    here = device.type == "cuda" and fused.unsupported(_rows(1, device, H=1)) is None
    card = targets.local_card(device.index or 0) if here else targets.card_of(_CPU_STANDS_FOR)
    seen: set[Kernel] = set()
    for plan in regimes.every_plan(card):
        N, kernels = plan.size, set(plan.kernels())
        if kernels <= seen:
            continue  # a shorter row had the same kernels
        seen |= kernels
        if not here and N > _CPU_LONGEST:
            return
        backend = "cuda" if here else "torch"
        inputs = _problem(N, device)
        want = _results(tuple(x.double() for x in inputs), "torch")
        got = _results(inputs, backend)
        errors = tuple(_error(a, b) for a, b in zip(got, want, strict=True))
        baseline = _milliseconds(inputs, "torch")
        yield Check(backend, N, errors, _milliseconds(inputs, backend) if here else baseline, baseline)


def _rows(N: int, device: torch.device, *, H: int) -> Tensor:
    return torch.empty(1, H, N, dtype=torch.bfloat16, device=device)


def _problem(N: int, device: torch.device) -> tuple[Tensor, ...]:
    B, H = _ROWS if N <= _LONG else _FEW_ROWS
    generator = torch.Generator().manual_seed(N)

    def rows() -> Tensor:
        return torch.randn(B, H, N, generator=generator).to(device, torch.bfloat16)

    taps = torch.randn(H, N, generator=generator) / N**0.5
    skip = torch.randn(H, generator=generator)
    return rows(), taps.to(device), skip.to(device), rows(), rows(), rows()


def _results(inputs: tuple[Tensor, ...], backend: str) -> tuple[Tensor, ...]:
    """y and every gradient, in the order of :data:`NAMES`."""
    *parameters, dy = (x.detach().requires_grad_() for x in inputs)
    u, k, D, gate_in, gate_out = parameters
    y = fftconv(u, k, D=D, gate_in=gate_in, gate_out=gate_out, backend=backend)
    return (y.detach(), *torch.autograd.grad(y, parameters, dy.detach().to(y.dtype)))


def _error(got: Tensor, want: Tensor) -> float:
    return float((got.double() - want).norm() / want.norm())


def _milliseconds(inputs: tuple[Tensor, ...], backend: str) -> float:
    """Median time of a forward and a backward pass."""
    import time

    times = []
    for _ in range(_REPEATS + 2):
        _synchronise(inputs[0])
        start = time.perf_counter()
        _results(inputs, backend)
        _synchronise(inputs[0])
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[2:])


def _synchronise(x: Tensor) -> None:
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)


def require_ok(checks: list[Check]) -> None:
    """Raise if a check failed.

    Raises:
        KernelError: names the length and the worst result.
    """
    for found in checks:
        if not found.ok:
            worst = max(zip(found.errors, NAMES, strict=True), key=lambda pair: (pair[0] != pair[0], pair[0]))
            raise KernelError(
                f"length {found.length:,} on {found.backend}: relative error of {worst[1]} is {worst[0]:.2g}, above"
                f" {TOLERANCE:g}; set GENOCONV_KERNELS=torch and report this with the output of `genoconv doctor`"
            )
