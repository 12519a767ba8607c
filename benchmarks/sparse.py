"""Filters that keep one frequency of 2, 4 and 8 beside dense ones, on the kernels of long rows.

    PYTHONPATH=. python3 benchmarks/sparse.py [--shapes 1,256,1048576] [--output DIR]

Needs a GPU. bf16 rows, both gates and the skip; the filter in the time domain, or prepared; forward and forward with
backward. The ways take turns; medians. Writes ``sparse-<gpu>.json`` and ``.md``.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("GENOCONV_HOME", str(Path(tempfile.gettempdir()) / "genoconv-benchmark"))

import recorded
import torch
from conv import draw, milliseconds
from torch import Tensor

from genoconv.ops import FrequencyMask, fftconv, fftconv_sparse, prepare_filter

KEPT = (1, 2, 4, 8)


def mask(every: int) -> FrequencyMask:
    """Keep one frequency of ``every``."""
    return FrequencyMask(tuple(block == every // 2 for block in range(every)), interleaved=True)


def measure(shape: tuple[int, int, int], *, seconds: float) -> list[dict[str, Any]]:
    """One row of the table for each share of frequencies."""
    inputs = draw(shape, torch.bfloat16)
    u, k, D, gate_in, gate_out = inputs
    dy, leaves = torch.randn_like(u), [x.detach().requires_grad_() for x in inputs]
    products = (u[:, h].double() * gate_in[:, h] * dy[:, h] * gate_out[:, h] for h in range(shape[1]))
    exact = torch.stack([x.sum() for x in products])  # gradient of D, whatever the filter
    rows = []
    for every in KEPT:
        keep = None if every == 1 else mask(every)

        def convolve(
            u: Tensor, k: Tensor, D: Tensor, a: Tensor, b: Tensor, keep: FrequencyMask | None = keep
        ) -> Tensor:
            if keep is None:
                return fftconv(u, k, D=D, gate_in=a, gate_out=b, backend="cuda")
            return fftconv_sparse(u, k, keep, D=D, gate_in=a, gate_out=b, backend="cuda")

        def both(convolve: Callable[..., Tensor] = convolve) -> tuple[Tensor, ...]:
            y = convolve(*leaves)
            return torch.autograd.grad(y, leaves, dy)

        prepared = prepare_filter(k, shape[2], D=D, keep=keep)
        with torch.no_grad():
            forward = milliseconds(partial(convolve, *inputs), seconds=seconds)
            gates = {"gate_in": gate_in, "gate_out": gate_out}
            kept = milliseconds(partial(fftconv, u, prepared, **gates, backend="cuda"), seconds=seconds)
            y = convolve(u[:1, :1], k[:1], D[:1], gate_in[:1, :1], gate_out[:1, :1])
            few = [x.double() for x in (u[:1, :1], k[:1], D[:1], gate_in[:1, :1], gate_out[:1, :1])]
            want = fftconv_sparse(few[0], few[1], mask(every), D=few[2], gate_in=few[3], gate_out=few[4])
        dD = both()[2]
        rows.append(
            {"B": shape[0], "H": shape[1], "N": shape[2], "every": every, "fwd_ms": forward, "prepared_ms": kept}
            | {"fwdbwd_ms": milliseconds(both, seconds=seconds), "err_y": float((y - want).norm() / want.norm())}
            | {"err_dD": float((dD - exact).norm() / exact.norm())}
        )
    return rows


def markdown(report: dict[str, Any]) -> str:
    """The table that people read."""
    m = report["machine"]
    lines = [
        "# Frequency-sparse filters",
        "",
        f"One {m['gpu']}, torch {m['torch']}, commit {m['commit']}, {m['date']}. bf16 rows, both gates and the skip;"
        " milliseconds, medians; x: time of the dense filter over that. Errors: relative L2 of y and of the gradient of"
        " D against the same filter in float64. `benchmarks/sparse.py` makes this page.",
        "",
        "| B, H, N | zeros | forward | x | filter prepared | x | forward + backward | x | err y | err dD |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in report["rows"]:
        dense = next(r for r in report["rows"] if r["N"] == row["N"] and r["every"] == 1)
        cells = [f"{row['B']}, {row['H']}, {row['N']:,}", f"{1 - 1 / row['every']:.1%}"]
        for key in ("fwd_ms", "prepared_ms", "fwdbwd_ms"):
            cells += [f"{row[key]:.2f}", f"{dense[key] / row[key]:.2f}"]
        lines.append("| " + " | ".join([*cells, f"{row['err_y']:.1e}", f"{row['err_dD']:.1e}"]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", nargs="+", default=["8,96,524288", "1,256,1048576"], help="B,H,N")
    parser.add_argument("--seconds", type=float, default=0.25, help="least measuring time of each figure")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    machine = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
    report: dict[str, Any] = {
        "machine": machine | {"commit": recorded.commit(), "date": recorded.today()},
        "rows": [],
    }
    for text in arguments.shapes:
        B, H, N = map(int, text.split(","))
        report["rows"] += measure((B, H, N), seconds=arguments.seconds)
    arguments.output.mkdir(parents=True, exist_ok=True)
    stem = arguments.output / f"sparse-{machine['gpu'].lower().replace(' ', '-')}"
    stem.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    stem.with_suffix(".md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
