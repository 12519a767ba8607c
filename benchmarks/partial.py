"""A short filter over a long row: in chunks, by one transform of the whole row, and beside a filter as long as the row.

    PYTHONPATH=. python3 benchmarks/partial.py [--shapes 1,16,2400000] [--taps 32768] [--device auto] [--output DIR]

Gated, with the skip, the filter given in the time domain, forward and forward with backward. *Chunks* is what the
operator chooses by itself. *Whole row* is the same filter through one transform of N + K - 1 positions, *full filter*
is a filter of N taps: what a model pays whose filters are as long as its windows. *Stream* is the row in pieces,
forward. The ways take turns; medians. Writes ``partial-<device>.json`` and ``.md``.
"""

# mypy: disable-error-code="no-untyped-call, no-any-return"

import argparse
import functools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("GENOCONV_HOME", str(Path(tempfile.gettempdir()) / "genoconv-benchmark"))

import recorded
import torch
from torch import Tensor

from genoconv.ops import fftconv, fftconv_stream
from genoconv.ops.longconv import conv
from genoconv.ops.longconv.stream import ConvState

Rows = tuple[Tensor, Tensor, Tensor, Tensor]
PIECE = 1 << 18


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """One call: CPU time of the process, or time on the GPU's stream."""
    if device.type == "cpu":
        begin = time.process_time()
        run()
        return time.process_time() - begin
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    run()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1e3


def draw(shape: tuple[int, int, int], device: torch.device) -> Rows:
    """u, both gates and the gradient of y."""
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    torch.manual_seed(0)
    u, gate_in, gate_out, dy = (torch.randn(shape, device=device, dtype=dtype) for _ in range(4))
    return u, gate_in, gate_out, dy


def ways(rows: Rows, k: Tensor, full: Tensor, D: Tensor) -> dict[str, Callable[[bool], tuple[Tensor, ...]]]:
    """Each way by name: called with whether to run backward too, gives y and the gradients of u and k."""
    u, gate_in, gate_out, dy = rows

    def once(taps: Tensor, backward: bool) -> tuple[Tensor, ...]:
        if not backward:
            with torch.no_grad():
                return (fftconv(u, taps, D=D, gate_in=gate_in, gate_out=gate_out),)
        leaves = [x.detach().requires_grad_() for x in (u, taps, gate_in, gate_out, D)]
        y = fftconv(leaves[0], leaves[1], D=leaves[4], gate_in=leaves[2], gate_out=leaves[3])
        return y.detach(), *torch.autograd.grad(y, leaves, dy)[:2]

    def whole(backward: bool) -> tuple[Tensor, ...]:
        with mock.patch.object(conv, "choose_chunks", return_value=None):
            return once(k, backward)

    def streamed(backward: bool) -> tuple[Tensor, ...]:
        state: ConvState | None = None
        found = []
        with torch.no_grad():
            for a in range(0, u.shape[-1], PIECE):
                piece = slice(a, a + PIECE)
                before, after = gate_in[..., piece], gate_out[..., piece]
                y, state = fftconv_stream(u[..., piece], k, state, D=D, gate_in=before, gate_out=after)
                found.append(y)
        return (torch.cat(found, dim=-1),)

    return {
        "chunks": lambda backward: once(k, backward),
        "whole row": whole,
        "full filter": lambda backward: once(full, backward),
        "stream": streamed,
    }


def measure(shape: tuple[int, int, int], taps: int, device: torch.device, rounds: int) -> list[dict[str, Any]]:
    """One row of the table for each way."""
    rows = draw(shape, device)
    H, N = shape[1:]
    full = torch.randn(H, N, device=device) / N**0.5
    k, D = torch.randn(H, taps, device=device) / taps**0.5, torch.randn(H, device=device)
    runs = ways(rows, k, full, D)
    exact = [x[:1, :1].double() for x in rows[:3]]
    want = fftconv(exact[0], k[:1].double(), D=D[:1].double(), gate_in=exact[1], gate_out=exact[2], backend="torch")
    times: dict[tuple[str, bool], list[float]] = {}
    found = {name: {"way": name, "B": shape[0], "H": H, "N": N, "K": taps} for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            for backward in (False, True) if name != "stream" else (False,):
                if number:
                    times.setdefault((name, backward), []).append(seconds(functools.partial(run, backward), device))
                    continue
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                    before = torch.cuda.memory_allocated()
                out = run(backward)
                if device.type == "cuda":
                    kept = torch.cuda.memory_allocated() - before
                    peak = torch.cuda.max_memory_allocated() - before - kept
                    found[name]["peak_fwdbwd_mb" if backward else "peak_mb"] = peak / 2**20
                if not backward and name != "full filter":
                    found[name]["err_y"] = float((out[0][:1, :1].double() - want).norm() / want.norm())
    for (name, backward), taken in times.items():
        found[name]["fwdbwd_ms" if backward else "fwd_ms"] = 1e3 * statistics.median(taken)
    return list(found.values())


def markdown(report: dict[str, Any]) -> str:
    """The table that people read."""
    m = report["machine"]
    lines = [
        "# A short filter over a long row",
        "",
        f"{m['device']}, torch {m['torch']}, commit {m['commit']}, {m['date']}. `benchmarks/partial.py` makes this page"
        " and says what is compared. Milliseconds, medians; x: that time over that of chunks. Error: relative L2 of one"
        " row against float64. Memory: MB beyond inputs and outputs, forward and with backward.",
        "",
        "| B, H, N | K | way | forward | x | forward + backward | x | err y | MB |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in report["rows"]:
        own = next(r for r in report["rows"] if r["way"] == "chunks" and (r["N"], r["K"]) == (row["N"], row["K"]))
        both = row.get("fwdbwd_ms")
        memory = [f"{row[key]:,.0f}" for key in ("peak_mb", "peak_fwdbwd_mb") if key in row]
        cells = [
            f"{row['B']}, {row['H']}, {row['N']:,}",
            f"{row['N' if row['way'] == 'full filter' else 'K']:,}",
            row["way"],
            f"{row['fwd_ms']:,.2f}",
            f"{row['fwd_ms'] / own['fwd_ms']:.2f}",
            f"{both:,.2f}" if both else "-",
            f"{both / own['fwdbwd_ms']:.2f}" if both else "-",
            f"{row['err_y']:.1e}" if "err_y" in row else "-",
            ", ".join(memory) or "-",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", nargs="+", default=["1,8,2400000"], help="B,H,N")
    parser.add_argument("--taps", nargs="+", type=int, default=[32_768])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    name = recorded.device_name(device.type)
    machine = {"device": name, "torch": torch.__version__, "commit": recorded.commit()}
    report: dict[str, Any] = {"machine": machine | {"date": recorded.today()}, "rows": []}
    for shape in arguments.shapes:
        B, H, N = map(int, shape.split(","))
        for taps in arguments.taps:
            report["rows"] += measure((B, H, N), taps, device, arguments.rounds)
    slug = "cpu" if device.type == "cpu" else name.lower().replace(" ", "-")
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / f"partial-{slug}.json").write_text(json.dumps(report, indent=1) + "\n")
    (arguments.output / f"partial-{slug}.md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
