"""The gated causal convolution beside its peers and beside the time that copying its rows would take.

    PYTHONPATH=. python3 benchmarks/conv.py [--lengths 1024,4096] [--implementations genoconv,torch] [--output DIR]

``--shapes 8x384x131072,...`` measures other shapes than the table's; ``--implementations genoconv,three-passes`` sets
rows in halves and by clusters beside what they would take in three passes.

Needs a GPU with torch and numpy (and cuda-core for the fused kernels), so it also runs in a bare checkout. Filters are
given in the time domain: their transform is inside every time. torch is rfft and irfft in float32 with the row type
outside, as the official HyenaDNA computes it. NVIDIA is `subquadratic_ops_torch.fft_causal_conv1d` between two
pointwise gates, FlashFFTConv the module of that name: both are measured where they are installed. Writes
``conv-<gpu>.json``, ``.md`` and, where matplotlib is installed, ``.png``; ``--plot FILE`` draws it from a JSON.
"""

# mypy: disable-error-code="no-untyped-call, no-any-return"

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("GENOCONV_HOME", str(Path(tempfile.gettempdir()) / "genoconv-benchmark"))

import recorded
import torch
from conv_page import markdown, plot
from conv_peers import Convolution, implementations, through_genoconv, through_torch
from torch import Tensor

from genoconv.ops import fftconv

# B, H, N; K = N. 50 to 540 million positions each, so that no cache holds them.
SHAPES = (
    (64, 3072, 256),
    (64, 768, 1024),
    (64, 768, 2048),
    (64, 768, 4096),
    (64, 768, 8192),
    (32, 768, 16384),
    (16, 768, 32768),
    (8, 768, 65536),
    (8, 384, 131072),
    (8, 96, 524288),
    (1, 256, 1048576),
    (8, 32, 2097152),
    (1, 32, 4194304),
    (1, 32, 16777216),
)
SMALL = (1, 8, 1024)
Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def milliseconds(run: Callable[[], object], *, seconds: float) -> float:
    """Median over at least 11 calls and ``seconds``, each between two events on the stream, warmed up before."""
    for _ in range(3):
        run()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    run()
    end.record()
    torch.cuda.synchronize()
    count = max(11, int(1e3 * seconds / max(begin.elapsed_time(end), 1e-3)))
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(count)]
    for first, last in events:
        first.record()
        run()
        last.record()
    torch.cuda.synchronize()
    return statistics.median(first.elapsed_time(last) for first, last in events)


def copy_bandwidth(*, seconds: float) -> float:
    """Bytes a millisecond, read and written, of a copy between two buffers of 2 GiB."""
    source = torch.randint(0, 255, (1 << 31,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / milliseconds(lambda: target.copy_(source), seconds=seconds)


def draw(shape: tuple[int, int, int], dtype: torch.dtype) -> Inputs:
    """u, k, D and both gates: random, of unit size; no zeros anywhere."""
    B, H, N = shape
    generator = torch.Generator("cuda").manual_seed(N)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, device="cuda")

    return (
        normal(B, H, N).to(dtype),
        normal(H, N) / N**0.5,
        normal(H),
        normal(B, H, N).to(dtype),
        normal(B, H, N).to(dtype),
    )


def errors(run: Convolution, inputs: Inputs, dy: Tensor) -> dict[str, float]:
    """Relative L2 errors of y, du and dk against float64, on channels near and far from the first; whole batches."""
    u, k, D, gate_in, gate_out = inputs
    H = k.shape[0]
    chosen = [0, H // 2, H - 1]

    def results(f: Convolution, parts: Inputs, gradient: Tensor) -> tuple[Tensor, ...]:
        leaves = tuple(x.detach().requires_grad_() for x in parts)
        y = f(*leaves)
        du, dk = torch.autograd.grad(y, leaves[:2], gradient)
        return y.detach(), du, dk

    got = results(run, inputs, dy)
    few = (u[:, chosen], k[chosen], D[chosen], gate_in[:, chosen], gate_out[:, chosen])
    want = results(
        lambda *parts: fftconv(parts[0], parts[1], D=parts[2], gate_in=parts[3], gate_out=parts[4], backend="torch"),
        tuple(x.double() for x in few),  # type: ignore[arg-type]
        dy[:, chosen].double(),
    )
    cut = (got[0][:, chosen], got[1][:, chosen], got[2][chosen])
    return {
        name: float((a.double() - b).norm() / b.norm())
        for name, a, b in zip(("err_y", "err_du", "err_dk"), cut, want, strict=True)
    }


def measure(name: str, run: Convolution, inputs: Inputs, *, seconds: float) -> dict[str, Any]:
    """One implementation on one shape."""
    u, k = inputs[:2]
    B, H, N = u.shape
    dy = torch.randn_like(u)
    leaves = tuple(x.detach().requires_grad_() for x in inputs)

    def forward() -> Tensor:
        with torch.no_grad():
            return run(*inputs)

    def both() -> tuple[Tensor, ...]:
        y = run(*leaves)
        return y.detach(), *torch.autograd.grad(y, leaves, dy)

    row: dict[str, Any] = {"impl": name, "B": B, "H": H, "N": N, "K": k.shape[1], "dtype": str(u.dtype)[6:]}
    row["fwd_ms"] = milliseconds(forward, seconds=seconds)
    row["fwdbwd_ms"] = milliseconds(both, seconds=seconds)
    for key, call in (("peak_mb", forward), ("peak_fwdbwd_mb", both)):
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        out = call()
        kept = torch.cuda.memory_allocated() - before
        row[key] = (torch.cuda.max_memory_allocated() - before - kept) / 2**20
        del out
    return row | errors(run, inputs, dy)


def small_problem(*, seconds: float) -> list[dict[str, Any]]:
    """B H = 8, N = 1,024: wall time of a call in a row of calls, where launching is all that counts."""
    rows = []
    for dtype in (torch.bfloat16, torch.float16):
        inputs = draw(SMALL, dtype)
        for name, run in (("genoconv", through_genoconv), ("torch", through_torch)):

            def many(run: Convolution = run, inputs: Inputs = inputs) -> None:
                with torch.no_grad():
                    for _ in range(50):
                        run(*inputs)

            B, H, N = SMALL
            row = {"impl": name, "B": B, "H": H, "N": N, "K": N, "dtype": str(dtype)[6:]}
            rows.append(row | {"fwd_ms": milliseconds(many, seconds=seconds) / 50})
    return rows


def machine(bandwidth: float) -> dict[str, Any]:
    """What the figures depend on."""
    driver = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "-i", "0"], capture_output=True, text=True
    ).stdout.strip()
    return {
        "gpu": torch.cuda.get_device_name(),
        "driver": driver or "unknown",
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "commit": recorded.commit(),
        "date": recorded.today(),
        "copy_gb_s": bandwidth / 1e6,
    }


def floor_milliseconds(shape: tuple[int, int, int], bandwidth: float) -> float:
    """Three reads and a write of the rows in two bytes, and where B = 1 a read of k, at the speed of a copy."""
    B, H, N = shape
    return (8 * B * H * N + (4 * H * N if B == 1 else 0)) / bandwidth


def summary(row: dict[str, Any]) -> str:
    """A row as it is printed during the run."""
    return (
        f"{row['impl']:<13}{row['dtype']:<9} {row['B']}, {row['H']}, {row['N']}: {row['fwd_ms']:.3f} ms,"
        f" {row['fwd_ms'] / row['floor_ms']:.2f} x floor; {row['fwdbwd_ms']:.3f} ms;"
        f" y {row['err_y']:.2e} du {row['err_du']:.2e} dk {row['err_dk']:.2e};"
        f" {row['peak_mb']:.0f}, {row['peak_fwdbwd_mb']:.0f} MB"
    )


def write(report: dict[str, Any], folder: Path) -> Path:
    """The figures so far and their page; the files' name without its ending."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"conv-{report['machine']['gpu'].lower().replace(' ', '-')}"
    stem.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    stem.with_suffix(".md").write_text(markdown(report))
    return stem


def shapes_of(text: str) -> tuple[tuple[int, int, int], ...]:
    """B, H, N of shapes such as 8x384x131072."""
    found = [tuple(map(int, shape.split("x"))) for shape in text.split(",")]
    return tuple((B, H, N) for B, H, N in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lengths", help="comma-separated N of the table; default: all")
    parser.add_argument("--shapes", metavar="BxHxN,...", help="comma-separated shapes in place of the table's")
    parser.add_argument("--implementations", default="", help="comma-separated; default: all that are installed")
    parser.add_argument("--dtypes", default="bfloat16,float16")
    parser.add_argument("--peer-dtypes", default="bfloat16,float16", help="row types that peers are measured with")
    parser.add_argument("--seconds", type=float, default=0.25, help="least measuring time of each figure")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--plot", type=Path, metavar="JSON", help="only draw the plot and page of this report again")
    arguments = parser.parse_args()
    if arguments.plot:
        drawn = json.loads(arguments.plot.read_text())
        arguments.plot.with_suffix(".md").write_text(markdown(drawn))
        plot(drawn, arguments.plot.with_suffix(".png"))
        return
    shapes = shapes_of(arguments.shapes) if arguments.shapes else SHAPES
    lengths = [int(N) for N in arguments.lengths.split(",")] if arguments.lengths else [N for _, _, N in shapes]
    bandwidth = copy_bandwidth(seconds=arguments.seconds)
    report: dict[str, Any] = {"machine": machine(bandwidth), "rows": [], "small": []}
    for shape in shapes:
        if shape[2] not in lengths:
            continue
        for dtype in arguments.dtypes.split(","):
            inputs = draw(shape, getattr(torch, dtype))
            for name, run in implementations([n for n in arguments.implementations.split(",") if n]):
                if name != "genoconv" and dtype not in arguments.peer_dtypes.split(","):
                    continue
                try:
                    row = measure(name, run, inputs, seconds=arguments.seconds)
                except Exception as error:
                    if name == "genoconv":
                        raise
                    print(f"{name} at {shape}: {str(error)[:200]}", flush=True)  # it may not serve every length
                    continue
                row["floor_ms"] = floor_milliseconds(shape, bandwidth)
                report["rows"].append(row)
                print(summary(row), flush=True)
            del inputs
        write(report, arguments.output)
    report["small"] = small_problem(seconds=arguments.seconds)
    for row in report["small"]:
        print(f"{row['impl']:<13}{row['dtype']:<9} {SMALL}: {1e3 * row['fwd_ms']:.1f} µs a call")
    stem = write(report, arguments.output)
    if importlib.util.find_spec("matplotlib"):
        plot(report, stem.with_suffix(".png"))


if __name__ == "__main__":
    main()
