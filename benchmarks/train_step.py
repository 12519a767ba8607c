"""Tokens a second, forward and training step, of every preset that fits, beside the official HyenaDNA code's.

    PYTHONPATH=. python3 benchmarks/train_step.py [--presets tiny-1k,small-32k] [--seconds 3] [--output DIR]

Needs torch, numpy and safetensors alone (and cuda-core for the fused kernels), so it also runs in a bare checkout. On a
GPU, bf16 autocast and AdamW, as the official figures were taken; on a CPU, float32 and short inputs, for the profile
and for whoever changes the model. Each preset runs in a process of its own, so that one which does not fit takes none
of the others with it. Writes ``train_step-<device>.json`` and ``.md``, where rows of other presets stay.
"""

# mypy: disable-error-code="no-untyped-call, no-any-return"

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("GENOCONV_HOME", str(Path(tempfile.gettempdir()) / "genoconv-benchmark"))

import recorded
import torch

from genoconv.models import HyenaDNA, preset
from genoconv.ops import next_token_sums
from genoconv.train.batch import Batch
from genoconv.train.graphs import GraphedSums

# Preset -> (tokens, batch) that the official code was measured with.
SHAPES = {
    "tiny-1k": (1_024, 256),
    "small-32k": (32_768, 8),
    "medium-160k": (160_000, 2),
    "medium-450k": (450_000, 1),
    "large-1m": (1_000_000, 1),
}
CPU_SHAPES = {"tiny-1k": (1_024, 8), "small-32k": (4_096, 1)}
# The official HyenaDNA code, bf16 autocast, torch 2.11, CUDA 13.0, measured 2026-11 on one NVIDIA H200 (141 GB), tokens
# a second (forward, training step). None: out of memory. On another GPU the ratio compares machines, too.
OFFICIAL_MACHINE = "NVIDIA H200"
OFFICIAL: dict[str, tuple[float, float | None]] = {
    "tiny-1k": (24.6e6, 8.08e6),
    "small-32k": (6.22e6, 2.05e6),
    "medium-160k": (2.55e6, 0.85e6),
    "medium-450k": (1.93e6, 0.77e6),
    "large-1m": (1.76e6, None),
}
BAR = 5.0


def timed(run: Callable[[], object], *, seconds: float, device: torch.device) -> float:
    """Median seconds of one call over at least 5 calls and ``seconds``, after 5 more: by then a step may be a graph."""

    def synchronised() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    for _ in range(5):
        run()
    taken: list[float] = []
    begin = synchronised()
    while len(taken) < 5 or synchronised() - begin < seconds:
        start = synchronised()
        run()
        taken.append(synchronised() - start)
    return statistics.median(taken)


def batch_of(ids: torch.Tensor) -> Batch:
    """A batch of tokens (B, N) and nothing else."""
    none = torch.empty(0, device=ids.device)
    return Batch(ids, weights=none, tokens=ids.numel(), targets=none)


class AllTokens:
    """The objective: cross-entropy of every token over all of the vocabulary, as the official code has it."""

    def sums(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        return next_token_sums(model(batch.ids), batch.ids)


def measure(name: str, *, seconds: float, device: torch.device, checkpointing: bool) -> dict[str, Any]:
    """Tokens a second and peak memory of one preset."""
    N, B = (SHAPES if device.type == "cuda" else CPU_SHAPES)[name]
    torch.manual_seed(0)
    model = HyenaDNA(preset(name)).to(device)
    model.checkpointing = checkpointing
    ids = torch.randint(7, 11, (B, N), device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device.type == "cuda")

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")

    def forward() -> None:
        with torch.no_grad(), autocast():
            model(ids)

    # The graph asks an objective for nothing else.
    sums_of = GraphedSums(model, AllTokens())  # type: ignore[arg-type]
    batch = batch_of(ids)

    def step() -> None:
        with autocast():
            sums = sums_of(batch)
        (sums[0] / sums[1]).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    made = {"commit": recorded.commit(), "date": recorded.today()}
    row: dict[str, Any] = {"preset": name, **made, "tokens": N, "batch": B, "checkpointing": checkpointing}
    model.eval()
    row["forward"] = B * N / timed(forward, seconds=seconds, device=device)
    model.prepare(N)
    row["forward_prepared"] = B * N / timed(forward, seconds=seconds, device=device)
    model.train()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    row["step"] = B * N / timed(step, seconds=seconds, device=device)
    if device.type == "cuda":
        row["step_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        row["gpu_ms"], row["kernels"] = gpu_times(step)
        row["gradient_errors"] = mean_errors(name, device=device)
    return row


KINDS = {
    "matrix products": ("gemm", "nvjet", "cutlass", "splitk", "cublas", "gemv"),
    "long convolution": (
        *("fft", "spectr", "filter_grad", "forward", "backward", "columns_", "line"),
        *("cluster_", "chunk_", "partial_gradients", "halves"),
    ),
    "short convolution": ("short_conv", "conv_depthwise", "depthwise", "cudnn"),
    "layer norm": ("norm",),
    "GELU": ("gelu",),
    "filter network": ("sine_", "taps_", "modulate", "sin_kernel"),
    "embedding, dropout": ("embedding", "dropout", "index"),
    "optimiser": ("multi_tensor", "adam"),
    "loss": ("softmax", "nll", "loss_"),
    "copies, casts": ("copy", "memcpy", "memset", "cat", "fill", "pad"),
    "sums": ("reduce", "column_sums"),
}


def kind_of(kernel: str) -> str:
    """What a kernel belongs to, by its name; names of this package's come before words that others have, too."""
    name = kernel.lower()
    own = ("short convolution", "layer norm", "GELU", "filter network", "embedding, dropout", "loss", "sums")
    for kind in (*own, *KINDS):
        if any(word in name for word in KINDS[kind]):
            return kind
    return "other element-wise"


def gpu_times(run: Callable[[], object], *, repeats: int = 3) -> tuple[dict[str, float], list[tuple[str, float, int]]]:
    """Milliseconds of GPU time of one call by kind of kernel, and the kernels that took most, with their launches."""
    from torch.profiler import ProfilerActivity, profile

    run()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(repeats):
            run()
        torch.cuda.synchronize()
    kinds: dict[str, float] = {}
    kernels = []
    for event in seen.key_averages():
        took = event.self_device_time_total / 1e3 / repeats
        if took > 0:
            kinds[kind_of(event.key)] = kinds.get(kind_of(event.key), 0.0) + took
            kernels.append((event.key[:120], took, event.count // repeats))
    kernels.sort(key=lambda kernel: -kernel[1])
    return dict(sorted(kinds.items(), key=lambda pair: -pair[1])), kernels[:40]


def mean_errors(name: str, *, device: torch.device, seeds: int = 5) -> dict[str, float]:
    """:func:`gradient_errors`, the mean over several models and inputs: one differs from the next by a tenth."""
    found = [gradient_errors(name, device=device, seed=seed) for seed in range(seeds)]
    return {who: statistics.fmean(errors[who] for errors in found) for who in found[0]}


def gradient_errors(name: str, *, device: torch.device, seed: int) -> dict[str, float]:
    """Relative L2 error of all gradients of a step under bf16 autocast against float64: of the kernels, of torch."""
    torch.manual_seed(seed)
    N = min(SHAPES[name][0], 8192)
    model = HyenaDNA(dataclasses.replace(preset(name), embed_dropout=0.0)).to(device).train()
    ids = torch.randint(7, 11, (2, N), device=device)

    def gradients(backend: str, *, low: bool) -> torch.Tensor:
        os.environ["GENOCONV_KERNELS"] = backend
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=low):
            sums = AllTokens().sums(model, batch_of(ids))
        found = torch.autograd.grad(sums[0] / sums[1], list(model.parameters()))
        return torch.cat([g.double().flatten() for g in found])

    kernels, plain = gradients("auto", low=True), gradients("torch", low=True)
    model.double()
    true = gradients("torch", low=False)
    os.environ["GENOCONV_KERNELS"] = "auto"
    return {who: float((g - true).norm() / true.norm()) for who, g in (("kernels", kernels), ("torch", plain))}


def in_own_process(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One preset, without and if it does not fit with activation checkpointing."""
    for checkpointing in (False, True):
        call = [sys.executable, __file__, "--one", name, "--device", arguments.device]
        call += ["--seconds", str(arguments.seconds), *(["--checkpointing"] if checkpointing else [])]
        done = subprocess.run(call, capture_output=True, text=True)
        if done.returncode == 0:
            row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return row
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"{name}{' with checkpointing' * checkpointing}: {reason[:200]}", file=sys.stderr)
    return {"preset": name, "failed": reason[:300]}


def beside(figure: float, official: float | None) -> tuple[str, str, str]:
    """Ours and the official one in million tokens a second, and their ratio."""
    if official is None:
        return f"{figure / 1e6:.3g}", "-", "-"
    return f"{figure / 1e6:.3g}", f"{official / 1e6:.3g}", f"{figure / official:.2f}"


def markdown(report: dict[str, Any]) -> str:
    """The table that people read."""
    lines = [
        f"Training step and forward, {report['device']}, torch {report['torch']}.",
        f"Million tokens a second. Official: the official HyenaDNA code on one {OFFICIAL_MACHINE}, bf16 autocast. "
        "Prepared: forward with the filters' transforms kept.",
        "",
        "| preset | tokens | batch | forward | official | ratio | prepared | step | official | ratio | memory, GB "
        "| commit, date |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        if "failed" in row:
            lines.append(f"| {row['preset']} | failed: {row['failed']} |" + " |" * 10)
            continue
        forward, step = OFFICIAL.get(row["preset"], (None, None)) if report["comparable"] else (None, None)
        cells = [
            row["preset"] + (" (checkpointing)" if row["checkpointing"] else ""),
            f"{row['tokens']:,}",
            row["batch"],
            *beside(row["forward"], forward),
            f"{row['forward_prepared'] / 1e6:.3g}",
            *beside(row["step"], step),
            f"{row['step_memory_gb']:.1f}" if "step_memory_gb" in row else "-",
            f"{row['commit']}, {row['date']}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    for row in report["rows"]:
        if "gpu_ms" in row:
            errors = row["gradient_errors"]
            lines += [
                "",
                f"GPU time of a step of {row['preset']}, {sum(row['gpu_ms'].values()):.1f} ms. Its gradients under "
                f"bf16 autocast are {errors['kernels']:.2e} off float64, torch's own {errors['torch']:.2e} (L2).",
                "",
            ]
            lines += ["| kind | ms |", "|---|---|"]
            lines += [f"| {kind} | {took:.2f} |" for kind, took in row["gpu_ms"].items()]
    return "\n".join(lines) + "\n"


def kept(report: dict[str, Any], file: Path) -> list[dict[str, Any]]:
    """Rows of other presets that an earlier run on such a device left in ``file``, each with its own commit."""
    if not file.exists():
        return []
    before: dict[str, Any] = json.loads(file.read_text())
    if any(before[key] != report[key] for key in ("device", "torch", "kernels")):
        return []
    new = {row["preset"] for row in report["rows"]}
    return [row for row in before["rows"] if row["preset"] not in new]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--presets", help="comma-separated; default: all that the device is measured with")
    parser.add_argument("--seconds", type=float, default=3.0, help="least measuring time of each figure")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--checkpointing", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if arguments.one:
        row = measure(arguments.one, seconds=arguments.seconds, device=device, checkpointing=arguments.checkpointing)
        print(json.dumps(row))
        return
    shapes = SHAPES if device.type == "cuda" else CPU_SHAPES
    names = arguments.presets.split(",") if arguments.presets else list(shapes)
    if unknown := [name for name in names if name not in shapes]:
        parser.error(f"no shape for {', '.join(unknown)} on {device.type} (known: {', '.join(shapes)})")
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    stem = arguments.output / f"train_step-{device.type}"
    report: dict[str, Any] = {
        "device": gpu or f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "kernels": os.environ.get("GENOCONV_KERNELS", "auto"),
        "official_machine": OFFICIAL_MACHINE,
        "official_tokens_per_second": OFFICIAL,
        "comparable": OFFICIAL_MACHINE in gpu,
        "bar": BAR,
        "rows": [in_own_process(name, arguments) for name in names],
    }
    report["rows"] = [*report["rows"], *kept(report, stem.with_suffix(".json"))]
    report["rows"].sort(key=lambda row: list(shapes).index(row["preset"]))
    text = markdown(report)
    print(text)
    arguments.output.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    stem.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
