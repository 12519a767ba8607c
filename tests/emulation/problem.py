"""Whole convolutions through the emulated kernels, and the same in float64."""

from dataclasses import dataclass

import numpy as np
from harness import Counts, run
from numpy.typing import NDArray

from genoconv.ops.plan import Plan, choose_plan

Array = NDArray[np.float64]
Bits = NDArray[np.uint16]


def to_bits(x: Array, dtype: str) -> Bits:
    """Round to the row type (nearest, ties to even)."""
    if dtype == "float16":
        return x.astype(np.float16).view(np.uint16)
    u = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)


def from_bits(bits: Bits, dtype: str) -> Array:
    """Exact values."""
    if dtype == "float16":
        return bits.view(np.float16).astype(np.float64)
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def error(got: Array, want: Array) -> float:
    """Relative L2 error; not-a-number counts as infinite."""
    value = np.linalg.norm(got - want) / np.linalg.norm(want)
    return float(value) if np.isfinite(value) else float("inf")


@dataclass(frozen=True)
class Problem:
    """One call: rows (batches, channels, length), a filter of `lags`."""

    length: int
    batches: int = 2
    channels: int = 2
    lags: int | None = None
    dtype: str = "bfloat16"
    gate_in: bool = True
    gate_out: bool = True
    skip: bool = True
    amplitude: float = 1.0
    smem: int = 227 * 1024
    slices: int = 1
    grid: int = 2
    seed: int = 0

    @property
    def plan(self) -> Plan:
        return choose_plan(self.length, filter_length=self.lags, dtype=self.dtype, smem_per_block=self.smem)

    def inputs(self) -> dict[str, NDArray[np.uint16] | NDArray[np.float32] | None]:
        rng = np.random.default_rng(self.seed)
        shape = (self.batches, self.channels, self.length)
        lags = self.lags or self.length
        rows = {name: to_bits(rng.standard_normal(shape), self.dtype) for name in ("gate_in", "gate_out", "dy")}
        return {
            "u": to_bits(rng.standard_normal(shape) * self.amplitude, self.dtype),
            "dy": rows["dy"],
            "gate_in": rows["gate_in"] if self.gate_in else None,
            "gate_out": rows["gate_out"] if self.gate_out else None,
            "k": (rng.standard_normal((self.channels, lags)) / lags**0.5).astype(np.float32),
            "skip": rng.standard_normal(self.channels).astype(np.float32) if self.skip else None,
        }


def solve(p: Problem, tables: NDArray[np.uint32] | None = None) -> tuple[dict[str, Array], dict[str, Counts]]:
    """Every output of the kernels, buffers poisoned beforehand, and what each kernel's shared memory saw."""
    plan, x = p.plan, p.inputs()
    table = np.ascontiguousarray(plan.tables() if tables is None else tables)
    k = x["k"]
    assert k is not None
    lags = k.shape[1]
    counts: dict[str, Counts] = {}
    blank = np.full((p.batches, p.channels, p.length), 0x7FFF, np.uint16)
    out = {name: blank.copy() for name in ("y", "du", "dgate_in", "dgate_out")}
    spectrum = np.full(p.channels * plan.spectrum_bytes // 4, 0xFFFFFFFF, np.uint32)
    scale = np.full(p.channels, np.nan, np.float32)
    blocks = -(-p.channels // plan.rows_per_step)

    def kernel(name: str, args: tuple[object, ...], grid: int) -> None:
        variant = plan.kernel(name, aligned=p.length % 8 == 0, gate_in=p.gate_in, gate_out=p.gate_out)
        counts[name] = run(variant, args, grid=grid)

    kernel("spectrum", (k, x["skip"], spectrum, scale, table, p.channels, lags), blocks)
    strides = (np.int64(p.channels * p.length), np.int64(p.length))
    rows = (x["u"], x["gate_in"], x["gate_out"])
    shape = (p.batches, p.channels, p.length)
    kernel("forward", (*rows, out["y"], spectrum, scale, table, *shape, *strides * 3), p.grid)
    partial = np.full(p.slices * p.channels * plan.partial_bytes // 4, np.nan, np.float32)
    workspace = np.full(p.grid * plan.tiles * 16384 // 4, 0xFFFFFFFF, np.uint32)
    dk, dskip = np.full((p.channels, lags), np.nan, np.float32), np.full(p.channels, np.nan, np.float32)
    grads = (out["du"], out["dgate_in"], out["dgate_out"], spectrum, scale, partial, workspace, table)
    kernel("backward", (*rows, x["dy"], *grads, *shape, p.slices, *strides * 4), p.grid)
    kernel("filter_grad", (partial, dk, dskip, table, p.channels, lags, p.slices), blocks)
    results = {name: from_bits(bits, p.dtype) for name, bits in out.items()}
    results |= {"dk": dk.astype(np.float64), "dskip": dskip.astype(np.float64)}
    if not p.gate_in:
        del results["dgate_in"]
    if not p.gate_out:
        del results["dgate_out"]
    return results, counts


def truth(p: Problem) -> dict[str, Array]:
    """The definition, in float64, by zero-padded FFTs."""
    x = p.inputs()
    u, dy = (from_bits(x[name], p.dtype) for name in ("u", "dy"))  # type: ignore[arg-type]
    gate_in, gate_out = (
        1.0 if x[name] is None else from_bits(x[name], p.dtype)  # type: ignore[arg-type]
        for name in ("gate_in", "gate_out")
    )
    k = np.asarray(x["k"], np.float64)
    skip = np.zeros(p.channels) if x["skip"] is None else np.asarray(x["skip"], np.float64)
    n = p.length

    def transform(a: Array) -> NDArray[np.complex128]:
        return np.fft.rfft(a, 2 * n)

    def head(z: NDArray[np.complex128]) -> Array:
        return np.fft.irfft(z, 2 * n)[..., :n]

    v, dc = gate_in * u, gate_out * dy
    tk = transform(k) + skip[:, None]
    c, dv = head(transform(v) * tk), head(np.conj(tk) * transform(dc))
    dk = head(np.sum(np.conj(transform(v)) * transform(dc), axis=0))
    return {
        "y": gate_out * c,
        "du": gate_in * dv,
        "dgate_in": u * dv,
        "dgate_out": dy * c,
        "dk": dk[:, : k.shape[1]],
        "dskip": dk[:, 0],
    }
