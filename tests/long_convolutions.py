"""Long convolutions to test the kernels with, on any device, and their results in float64."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from genoconv.ops import fftconv

PEAKS = (1.0, 1e-4, 1e4)
"""Amplitudes of the rows of a hard problem; a constant row and an all-zero row follow."""

BARS = {torch.bfloat16: 2.3e-3, torch.float16: 9e-4, torch.float32: 1e-5}
"""Relative L2 error that rows of each type may show against float64, in every output."""

_TINIEST = {torch.bfloat16: 0.0, torch.float16: 2.0**-24, torch.float32: 0.0}  # bfloat16 keeps float32's exponents


@dataclass(frozen=True)
class Inputs:
    """Arguments of the convolution and the gradient that comes back to it."""

    u: Tensor
    k: Tensor
    D: Tensor | None
    gate_in: Tensor | None
    gate_out: Tensor | None
    dy: Tensor

    def double(self) -> "Inputs":
        """The same values in float64."""
        return Inputs(*(None if x is None else x.double() for x in vars(self).values()))


@dataclass(frozen=True)
class Problem:
    """Random inputs: B x H rows of N positions, K taps (None: N).

    hard: rows of u take turns at amplitudes 1, 1e-4 and 1e4, a constant and zeros; the filter is small enough that
    float16 holds the results.
    """

    N: int
    B: int = 2
    H: int = 2
    K: int | None = None
    dtype: torch.dtype = torch.bfloat16
    gate_in: bool = True
    gate_out: bool = True
    skip: bool = True
    hard: bool = False
    seed: int = 0

    def __str__(self) -> str:
        gates = {(True, True): "gated", (True, False): "in", (False, True): "out", (False, False): "plain"}
        words = [f"{self.B}x{self.H}x{self.N}", str(self.dtype).removeprefix("torch.")]
        words += [gates[self.gate_in, self.gate_out], *(f"K{self.K}" for _ in range(self.K is not None))]
        return "-".join([*words, *["bare"] * (not self.skip), *["hard"] * self.hard])

    def inputs(self, device: str | torch.device = "cpu") -> Inputs:
        """The same values on every device."""
        generator = torch.Generator().manual_seed(self.seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        u, gate_in, gate_out, dy = (normal(self.B, self.H, self.N) for _ in range(4))
        K = self.K or self.N
        k, D = normal(self.H, K) / K**0.5, normal(self.H)
        if self.hard:
            k, D = k / 16, D / 16
            rows = u.view(self.B * self.H, self.N)
            for i, row in enumerate(rows):
                kind = i % (len(PEAKS) + 2)
                if kind < len(PEAKS):
                    row *= PEAKS[kind]
                else:
                    row.fill_(float(kind == len(PEAKS)))
        rows = [x.to(device, self.dtype) for x in (u, gate_in, gate_out, dy)]
        return Inputs(
            u=rows[0],
            k=k.to(device, torch.float32),
            D=D.to(device, torch.float32) if self.skip else None,
            gate_in=rows[1] if self.gate_in else None,
            gate_out=rows[2] if self.gate_out else None,
            dy=rows[3],
        )


def truth(x: Inputs) -> dict[str, Tensor]:
    """y and every gradient, as the definition says, in float64 by zero-padded FFTs."""
    u, k, D, gate_in, gate_out, dy = vars(x.double()).values()
    N = u.shape[-1]
    v = u if gate_in is None else u * gate_in
    dc = dy if gate_out is None else dy * gate_out

    def transform(a: Tensor) -> Tensor:
        return torch.fft.rfft(a, 2 * N)

    def head(z: Tensor) -> Tensor:
        return torch.fft.irfft(z, 2 * N)[..., :N]

    taps = transform(k) if D is None else transform(k) + D[:, None]
    c, dv = head(transform(v) * taps), head(taps.conj() * transform(dc))
    dk = head((transform(v).conj() * transform(dc)).sum(0))
    out = {"y": c if gate_out is None else c * gate_out, "du": dv if gate_in is None else dv * gate_in}
    out["dk"] = dk[:, : k.shape[1]]
    if D is not None:
        out["dD"] = dk[:, 0]
    if gate_in is not None:
        out["dgate_in"] = u * dv
    if gate_out is not None:
        out["dgate_out"] = dy * c
    return out


def differentiated(x: Inputs, *, backend: str) -> dict[str, Tensor]:
    """y and every gradient through the public operator."""
    return gradients_through(partial(fftconv, backend=backend), x)


def gradients_through(convolve: Callable[..., Tensor], x: Inputs) -> dict[str, Tensor]:
    """y and every gradient through ``convolve``, which takes what the public operator takes."""
    leaves = {
        name: value.detach().requires_grad_() for name, value in vars(x).items() if value is not None and name != "dy"
    }
    rest = {name: leaves.get(name) for name in ("D", "gate_in", "gate_out")}
    y = convolve(leaves["u"], leaves["k"], **rest)
    gradients = torch.autograd.grad(y, list(leaves.values()), x.dy)
    return {"y": y.detach()} | {f"d{name}": g for name, g in zip(leaves, gradients, strict=True)}


def large_and_small_channels(x: Inputs) -> Inputs:
    """`x`, but two of three channels are as small as blocks meet them that have just had a large one."""
    small = torch.arange(x.u.shape[1], device=x.u.device) % 3 != 0
    for values, factor in ((x.u, 1e-4), (x.dy, 1e-3)):
        values[:, small] *= factor
    for values in (x.k, x.D):
        if values is not None:
            values[small] *= 1e-4
    return x


def worst_channel_of_dk(got: dict[str, Tensor], x: Inputs) -> float:
    """Largest error of any channel's dk by itself: small ones do not show among all."""
    return worst_row(got["dk"], truth(x)["dk"])


def error(got: Tensor, want: Tensor) -> float:
    """Relative L2 error of all values together; infinite where any is not finite, or is not zero and should be.

    What rounding to the smallest numbers of the type costs is not counted.
    """
    return worst_row(got.reshape(1, -1), want.reshape(1, -1))


def worst_row(got: Tensor, want: Tensor) -> float:
    """Largest :func:`error` of any row."""
    tiniest = _TINIEST.get(got.dtype, 0.0) / 2 * got.shape[-1] ** 0.5
    off = (got.double() - want).norm(dim=-1) - tiniest
    size = want.norm(dim=-1)
    off = torch.where(size > 0, off.clamp(min=0) / size, torch.where((got != 0).any(-1), float("inf"), 0.0))
    return float(off.nan_to_num(float("inf"), float("inf")).max())


def faults(got: dict[str, Tensor], x: Inputs, *, leniency: float = 1.0) -> list[str]:
    """Every result that is off by more than its bar (times ``leniency``), in words; empty where all is well."""
    want, dtype, N = truth(x), x.u.dtype, x.u.shape[-1]
    found = [] if got.keys() == want.keys() else [f"results {sorted(got)} in place of {sorted(want)}"]
    for name in got.keys() & want.keys():
        bar = leniency * BARS[dtype]
        bar *= 1 + 3 / want[name].numel() ** 0.5  # among few values luck has not evened out
        off = error(got[name], want[name])
        if name == "dD":  # dk at lag 0, to be judged by the size of dk's values and not by one that may be near zero
            off *= float(want[name].norm() / max(want[name].norm(), want["dk"].norm() / want["dk"].shape[1] ** 0.5))
        if not off <= bar:
            found.append(f"{name} is off by {off:.2e}, over {bar:.2e}")
        if want[name].ndim == 3 and N >= 256:
            # A constant row meets its filter at one frequency. Where that is small, errors are larger beside what is
            # left, by 2.1 bars in the worst of some hundred such rows. A row that went wrong is off by hundreds.
            level = (x.u == x.u[..., :1]).all(-1).to(want[name].device)
            for rows, times in ((~level, 1.5), (level, 4.0)):
                if rows.any() and not (row := worst_row(got[name][rows], want[name][rows])) <= times * bar:
                    found.append(f"a row of {name} is off by {row:.2e}, over {times * bar:.2e}")
    return found
