"""Packed rows to test the kernels with, on any device, and their results in float64, row by row."""

from dataclasses import replace

import torch
from long_convolutions import BARS, Inputs, error, truth
from torch import Tensor

from genoconv.ops import fftconv_packed

Spans = tuple[tuple[int, int], ...]


def spans_of(lengths: tuple[int, ...], *, alignment: int = 1) -> Spans:
    """Rows one after the other, each from a multiple of ``alignment`` on."""
    found, at = [], 0
    for length in lengths:
        found.append((at, at + length))
        at = -(-(at + length) // alignment) * alignment
    return tuple(found)


def rows_of(x: Inputs, spans: Spans) -> list[Inputs]:
    """Each row as a problem of its own."""

    def cut(value: Tensor | None, start: int, stop: int) -> Tensor | None:
        return None if value is None else value[..., start:stop]

    found = []
    for a, b in spans:
        rows = {name: cut(getattr(x, name), a, b) for name in ("u", "gate_in", "gate_out", "dy")}
        found.append(replace(x, k=x.k[:, : b - a], **rows))
    return found


def truths(x: Inputs, spans: Spans) -> dict[str, list[Tensor]]:
    """Results by row; gradients of the filter and the skip summed over rows."""
    found: dict[str, list[Tensor]] = {}
    dk = torch.zeros(x.k.shape, dtype=torch.float64, device=x.k.device)
    for row in rows_of(x, spans):
        for name, value in truth(row).items():
            if name == "dk":
                dk[:, : value.shape[1]] += value
            elif name != "dD":
                found.setdefault(name, []).append(value)
    return found | {"dk": [dk]} | ({} if x.D is None else {"dD": [dk[:, 0]]})


def faults_of_rows(
    got: dict[str, Tensor], want: dict[str, list[Tensor]], spans: Spans, *, leniency: float = 1.0
) -> list[str]:
    """Every result that is off by more than its bar (times ``leniency``), row by row, in words."""
    found = [] if got.keys() == want.keys() else [f"results {sorted(got)} in place of {sorted(want)}"]
    bar = leniency * BARS[got["y"].dtype]
    for name, values in want.items():
        if name in ("dk", "dD"):
            off = (got[name].double() - values[0]).norm() / values[0].norm()
            # The skip's is dk at lag 0: to be judged by the size of dk's values, and not by one that may be near zero.
            if name == "dD":
                dk = want["dk"][0]
                off *= values[0].norm() / max(values[0].norm(), dk.norm() / dk.shape[1] ** 0.5)
            if not off <= _bar_of(values[0], bar):
                found.append(f"{name} is off by {off:.2e}")
            continue
        for number, ((a, b), value) in enumerate(zip(spans, values, strict=True)):
            off = error(got[name][..., a:b].contiguous(), value)
            if not off <= _bar_of(value, bar):
                found.append(f"row {number} of {name} is off by {off:.2e}")
    return found


def _bar_of(value: Tensor, bar: float) -> float:
    """The bar of one result: errors of few values, as dD of three channels, are single draws and not their mean."""
    return bar * (1 + 3 / value.numel() ** 0.5)


def differentiated(x: Inputs, bounds: list[int], *, backend: str) -> dict[str, Tensor]:
    """y and every gradient through the public operator."""
    leaves = {n: v.detach().requires_grad_() for n, v in vars(x).items() if v is not None and n != "dy"}
    u, k = leaves["u"], leaves["k"]
    rest = {name: leaf for name, leaf in leaves.items() if name not in ("u", "k")}
    y = fftconv_packed(u, k, bounds, **rest, backend=backend)
    gradients = torch.autograd.grad(y, list(leaves.values()), x.dy)
    return {"y": y.detach()} | {f"d{name}": g for name, g in zip(leaves, gradients, strict=True)}
