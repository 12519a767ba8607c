"""The page and the plot that ``benchmarks/conv.py`` makes of its figures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conv_peers import RECORDED, RECORDED_MACHINE


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
        if set(cells) != {"-"}:
            yield f"| {N:,} | " + " | ".join(cells) + " |"


def _small(report: dict[str, Any]) -> Iterator[str]:
    rows = report["small"]
    if rows:
        yield ""
        shape = ", ".join(str(rows[0][name]) for name in "BHN")
        yield f"Small: B, H, N = {shape}, microseconds a call in a row of calls, forward."
        yield ""
        yield "| type | implementation | µs |"
        yield "|---|---|---:|"
        yield from (f"| {row['dtype']} | {row['impl']} | {1e3 * row['fwd_ms']:.1f} |" for row in rows)


def plot(report: dict[str, Any], path: Path) -> None:
    """Time over the floor against N, forward and with backward."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    lengths = sorted({row["N"] for row in report["rows"]})
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
        axes.set_xticks(lengths, [f"{N:,}" for N in lengths], rotation=30)
        axes.minorticks_off()
        axes.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
        axes.set(title=title, xlabel="N", ylabel="time over the forward pass's copy floor")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    m = report["machine"]
    figure.suptitle(f"Gated causal convolution, {m['gpu']}, commit {m['commit']}, {m['date']}", fontsize=10)
    figure.savefig(path, dpi=130)
