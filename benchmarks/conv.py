"""The gated causal convolution beside its peers and beside the time that copying its rows would take.

    PYTHONPATH=. python3 benchmarks/conv.py [--lengths 1024,4096] [--implementations genoconv,torch] [--output DIR]

Needs a GPU with torch and numpy (and cuda-core for the fused kernels), so it also runs in a bare checkout. Filters are
given in the time domain: their transform is inside every time. torch is rfft and irfft in float32 with the row type
outside, as the official HyenaDNA computes it. NVIDIA is `subquadratic_ops_torch.fft_causal_conv1d` between two
pointwise gates, FlashFFTConv the module of that name: both are measured where they are installed. Writes
``conv-<gpu>.json``, ``.md`` and, where matplotlib is installed, ``.png``; ``--plot FILE`` draws it from a JSON.
"""

import argparse
import datetime
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("GENOCONV_HOME", str(Path(tempfile.gettempdir()) / "genoconv-benchmark"))

import torch
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
Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
Convolution = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


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


def implementations(wanted: list[str]) -> Iterator[tuple[str, Convolution]]:
    """Those that were asked for and are installed here; says which are not."""
    known: dict[str, tuple[str, Callable[[], Convolution]]] = {
        "genoconv": ("genoconv", lambda: through_genoconv),
        "torch": ("torch", lambda: through_torch),
        "NVIDIA": ("subquadratic_ops_torch", lambda: through_nvidia),
        "FlashFFTConv": ("flashfftconv", through_flashfftconv),
    }
    for name in wanted or known:
        package, make = known[name]
        if importlib.util.find_spec(package) is None:
            print(f"{name}: {package} is not installed here, so it is not measured", file=sys.stderr)
        else:
            yield name, make()


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
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    driver = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "-i", "0"], capture_output=True, text=True
    ).stdout.strip()
    return {
        "gpu": torch.cuda.get_device_name(),
        "driver": driver or "unknown",
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "commit": os.environ.get("GENOCONV_COMMIT") or commit or "unknown",
        "date": datetime.date.today().isoformat(),
        "copy_gb_s": bandwidth / 1e6,
    }


def floor_milliseconds(shape: tuple[int, int, int], bandwidth: float) -> float:
    """Three reads and a write of the rows in two bytes, and where B = 1 a read of k, at the speed of a copy."""
    B, H, N = shape
    return (8 * B * H * N + (4 * H * N if B == 1 else 0)) / bandwidth


def markdown(report: dict[str, Any]) -> str:
    """The table that people read: every implementation beside genoconv's time."""
    m = report["machine"]
    lines = [
        "# The gated causal convolution",
        "",
        f"One {m['gpu']}, driver {m['driver']}, CUDA {m['cuda']}, torch {m['torch']}, commit {m['commit']},"
        f" {m['date']}. Both gates and the skip, filter in the time domain, K = N; medians, milliseconds. Floor: rows"
        f" read and written once at the {m['copy_gb_s']:,.0f} GB/s of a copy in this run. Ratio: that time over"
        " genoconv's of the same row type. Error: relative L2 against float64. Memory: beyond inputs and outputs."
        " `benchmarks/conv.py` makes this page.",
        "",
        "| B, H, N | type | implementation | forward | x floor | ratio | forward + backward | ratio | err y | err du |"
        " err dk | MB forward | MB both |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    ours = {(r["N"], r["dtype"]): r for r in report["rows"] if r["impl"] == "genoconv"}
    for row in report["rows"]:
        own = ours.get((row["N"], row["dtype"]))
        ratios = [f"{row[key] / own[key]:.2f}" if own else "-" for key in ("fwd_ms", "fwdbwd_ms")]
        cells = [
            f"{row['B']}, {row['H']}, {row['N']:,}",
            row["dtype"],
            row["impl"],
            f"{row['fwd_ms']:.3f}",
            f"{row['fwd_ms'] / row['floor_ms']:.2f}",
            ratios[0],
            f"{row['fwdbwd_ms']:.3f}",
            ratios[1],
            *(f"{row[name]:.2e}" for name in ("err_y", "err_du", "err_dk")),
            *(f"{row[name]:,.0f}" for name in ("peak_mb", "peak_fwdbwd_mb")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *_beside_recorded(report), *_small(report)]
    return "\n".join(lines) + "\n"


def _beside_recorded(report: dict[str, Any]) -> Iterator[str]:
    if RECORDED_MACHINE not in report["machine"]["gpu"]:
        yield f"Peers' figures are on record for one {RECORDED_MACHINE} only: no comparison across cards."
        return
    yield f"Beside peers on record ({RECORDED_MACHINE}, torch 2.11, CUDA 13.0, 2026-11, another run): theirs over ours."
    yield ""
    yield "| N | " + " | ".join(f"{name} forward | and backward" for name in RECORDED) + " |"
    yield "|---|" + "---:|---:|" * len(RECORDED)
    times = {(r["N"], r["dtype"]): r for r in report["rows"] if r["impl"] == "genoconv"}
    for N in RECORDED["NVIDIA bfloat16"]:
        cells = []
        for name, figures in RECORDED.items():
            own = times.get((N, name.split()[1]))
            cells += [
                f"{figures[N][i] / own[key]:.2f}" if own else "-" for i, key in enumerate(("fwd_ms", "fwdbwd_ms"))
            ]
        yield f"| {N:,} | " + " | ".join(cells) + " |"


def _small(report: dict[str, Any]) -> Iterator[str]:
    rows = report["small"]
    if rows:
        yield ""
        yield f"Small: B, H, N = {', '.join(map(str, SMALL))}, microseconds a call in a row of calls, forward."
        yield ""
        yield "| type | implementation | µs |"
        yield "|---|---|---:|"
        yield from (f"| {row['dtype']} | {row['impl']} | {1e3 * row['fwd_ms']:.1f} |" for row in rows)


def summary(row: dict[str, Any]) -> str:
    """A row as it is printed during the run."""
    return (
        f"{row['impl']:<13}{row['dtype']:<9} {row['B']}, {row['H']}, {row['N']}: {row['fwd_ms']:.3f} ms,"
        f" {row['fwd_ms'] / row['floor_ms']:.2f} x floor; {row['fwdbwd_ms']:.3f} ms;"
        f" y {row['err_y']:.2e} du {row['err_du']:.2e} dk {row['err_dk']:.2e};"
        f" {row['peak_mb']:.0f}, {row['peak_fwdbwd_mb']:.0f} MB"
    )


def plot(report: dict[str, Any], path: Path) -> None:
    """Time over the floor against N, forward and with backward."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    kinds = sorted({(row["impl"], row["dtype"]) for row in report["rows"]})
    for axes, key, title in zip(
        figure.subplots(1, 2), ("fwd_ms", "fwdbwd_ms"), ("forward", "forward + backward"), strict=True
    ):
        for impl, dtype in kinds:
            rows = [row for row in report["rows"] if (row["impl"], row["dtype"]) == (impl, dtype)]
            style = "-" if dtype == "bfloat16" else "--"
            colour = f"C{sorted({name for name, _ in kinds}).index(impl)}"
            axes.loglog(
                [r["N"] for r in rows],
                [r[key] / r["floor_ms"] for r in rows],
                style,
                color=colour,
                marker="o",
                ms=4,
                label=f"{impl} {dtype}",
            )
        axes.axhline(1, color="black", lw=0.8)
        axes.set_xticks([row[2] for row in SHAPES], [f"{row[2]:,}" for row in SHAPES], rotation=30)
        axes.minorticks_off()
        axes.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
        axes.set(title=title, xlabel="N", ylabel="time over the forward pass's copy floor")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    m = report["machine"]
    figure.suptitle(f"Gated causal convolution, {m['gpu']}, commit {m['commit']}, {m['date']}", fontsize=10)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lengths", help="comma-separated N of the table; default: all")
    parser.add_argument("--implementations", default="", help="comma-separated; default: all that are installed")
    parser.add_argument("--dtypes", default="bfloat16,float16")
    parser.add_argument("--seconds", type=float, default=0.25, help="least measuring time of each figure")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--plot", type=Path, metavar="JSON", help="only draw the plot and page of this report again")
    arguments = parser.parse_args()
    if arguments.plot:
        report = json.loads(arguments.plot.read_text())
        arguments.plot.with_suffix(".md").write_text(markdown(report))
        plot(report, arguments.plot.with_suffix(".png"))
        return
    lengths = [int(N) for N in arguments.lengths.split(",")] if arguments.lengths else [N for _, _, N in SHAPES]
    bandwidth = copy_bandwidth(seconds=arguments.seconds)
    report: dict[str, Any] = {"machine": machine(bandwidth), "rows": [], "small": []}
    for shape in SHAPES:
        if shape[2] not in lengths:
            continue
        for dtype in arguments.dtypes.split(","):
            inputs = draw(shape, getattr(torch, dtype))
            for name, run in implementations([n for n in arguments.implementations.split(",") if n]):
                row = measure(name, run, inputs, seconds=arguments.seconds)
                row["floor_ms"] = floor_milliseconds(shape, bandwidth)
                report["rows"].append(row)
                print(summary(row), flush=True)
            del inputs
    report["small"] = small_problem(seconds=arguments.seconds)
    for row in report["small"]:
        print(f"{row['impl']:<13}{row['dtype']:<9} {SMALL}: {1e3 * row['fwd_ms']:.1f} µs a call")
    arguments.output.mkdir(parents=True, exist_ok=True)
    stem = arguments.output / f"conv-{report['machine']['gpu'].lower().replace(' ', '-')}"
    stem.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    stem.with_suffix(".md").write_text(markdown(report))
    if importlib.util.find_spec("matplotlib"):
        plot(report, stem.with_suffix(".png"))


if __name__ == "__main__":
    main()
