"""A batch of genes of real lengths: packed, beside buckets padded on the right.

    PYTHONPATH=. python3 benchmarks/packed.py --annotation GENES.gff3.gz [--tokens 1048576] [--channels 256]
        [--ways packed,buckets]

Gated, with the skip, forward and forward with backward. Genes are drawn until they have so many bases. *Packed* is
``fftconv_packed``; *buckets* are the batches that training makes (`genoconv.genome.windows.batches`), each padded to
its longest gene; *one by one* calls ``fftconv`` for each gene. On a CPU rows are float32 and the clock is the process's
CPU time. ``--lengths FILE`` (one number per line) takes the place of an annotation. Writes ``packed-<device>.json`` and
``.md``.
"""

import argparse
import functools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("GENOCONV_HOME", str(Path(tempfile.gettempdir()) / "genoconv-benchmark"))

import numpy as np
import recorded
import torch
from torch import Tensor

from genoconv.genome.windows.batches import batch_plan, padding_fraction
from genoconv.gpu import cache
from genoconv.gpu.targets import local_card
from genoconv.ops import fftconv, fftconv_packed
from genoconv.ops.longconv.regimes import pair_sizes, plan_on


def gene_lengths(options: argparse.Namespace) -> list[int]:
    """Lengths of genes, drawn in a fixed order until they have ``--tokens`` bases."""
    if options.lengths:
        known = [int(line) for line in options.lengths.read_text().split()]
    else:
        from genoconv.genome.annotation.genes import read_genes

        table = read_genes(options.annotation)
        known = (table["end"] - table["start"]).tolist()
    found: list[int] = []
    for number in np.random.default_rng(0).permutation(len(known)):
        if known[number] <= options.longest:
            found.append(known[number])
        if sum(found) >= options.tokens:
            break
    return found


def compile_all(lengths: Iterable[int]) -> None:
    """The kernels of rows of these lengths, and of rows in chunks, on all cores."""
    index = torch.cuda.current_device()
    card, wanted = local_card(index), set()
    for n in lengths:
        # Rows of other lengths are never aligned; passes along lines always are.
        fits = {0, 1} if n % 8 == 0 else {0}
        kernels = plan_on(n, "bfloat16", index).kernels()
        wanted |= {k for k in kernels if dict(k.defines)["ALIGNED"] in fits or "/line" in k.source}
    for points in pair_sizes(card):
        wanted |= {k for k in plan_on(points, "bfloat16", index).chunk_kernels() if "chunked" in k.source}
    cache.compile_all(wanted, arch=card.arch)


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """One call: CPU time of the process, or wall time until the GPU is done."""
    if device.type == "cpu":
        begin = time.process_time()
        run()
        return time.process_time() - begin
    torch.cuda.synchronize()
    begin = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - begin


def measure(
    lengths: list[int], *, channels: int, device: torch.device, rounds: int, only: Iterable[str]
) -> dict[str, dict[str, float]]:
    """Milliseconds of every way in ``only``, forward and with backward."""
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    torch.manual_seed(0)

    def rows(batch: int, length: int) -> list[Tensor]:
        return [torch.randn(batch, channels, length, device=device, dtype=dtype).requires_grad_() for _ in range(3)]

    longest, total = max(lengths), sum(lengths)
    k = (torch.randn(channels, longest, device=device) / longest**0.5).requires_grad_()
    D = torch.randn(channels, device=device).requires_grad_()
    bounds = np.cumsum([0, *lengths]).tolist()
    together, single = rows(1, total), [rows(1, n) for n in lengths]
    plan = batch_plan(lengths, tokens_per_batch=max(longest, total // 4), seed=0, epoch=0)
    padded = [rows(len(batch), max(lengths[n] for n in batch)) for batch in plan]

    def packed() -> list[tuple[Tensor, list[Tensor]]]:
        u, gate_in, gate_out = together
        return [(fftconv_packed(u, k, bounds, D=D, gate_in=gate_in, gate_out=gate_out), together)]

    def batches(groups: list[list[Tensor]]) -> list[tuple[Tensor, list[Tensor]]]:
        return [(fftconv(u, k[:, : u.shape[-1]], D=D, gate_in=a, gate_out=b), [u, a, b]) for u, a, b in groups]

    ways: dict[str, Callable[[], list[tuple[Tensor, list[Tensor]]]]]
    ways = {"packed": packed, "buckets": lambda: batches(padded), "one by one": lambda: batches(single)}
    ways = {name: run for name, run in ways.items() if name in only}
    if device.type == "cuda":
        whole = lengths if "one by one" in only else []
        compile_all({*whole, *(x[0].shape[-1] for x in padded)})

    def there_and_back(run: Callable[[], list[tuple[Tensor, list[Tensor]]]]) -> None:
        for y, leaves in run():
            torch.autograd.grad(y, [*leaves, k, D], y.detach())

    times: dict[str, dict[str, list[float]]] = {name: {"fwd_ms": [], "fwdbwd_ms": []} for name in ways}
    for number in range(rounds + 1):
        for name, run in ways.items():
            with torch.no_grad():
                forward = seconds(run, device)
            both = seconds(functools.partial(there_and_back, run), device)
            if number:
                times[name]["fwd_ms"].append(1e3 * forward)
                times[name]["fwdbwd_ms"].append(1e3 * both)
    found = {name: {key: statistics.median(values) for key, values in each.items()} for name, each in times.items()}
    if "buckets" in found:
        found["buckets"]["padding"] = padding_fraction(plan, lengths)
    return found


def markdown(report: dict[str, Any]) -> str:
    """The table that people read."""
    m, g = report["machine"], report["genes"]
    lines = [
        "# Genes of real lengths in one call",
        "",
        f"{m['device']}, torch {m['torch']}, commit {m['commit']}, {m['date']}. {g['count']} genes of {g['source']},"
        f" {g['bases']:,} bases, {g['shortest']:,} to {g['longest']:,}, median {g['median']:,}; {g['channels']}"
        " channels. Milliseconds, medians; x: that time over that of packed. `benchmarks/packed.py` makes this page.",
        "",
        "| way | padding | forward | x | forward + backward | x |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    own = report["ways"]["packed"]
    for name, row in report["ways"].items():
        cells = [name, f"{row.get('padding', 0):.0%}"]
        for key in ("fwd_ms", "fwdbwd_ms"):
            cells += [f"{row[key]:,.1f}", f"{row[key] / own[key]:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--annotation", type=Path)
    source.add_argument("--lengths", type=Path)
    parser.add_argument("--tokens", type=int, default=1 << 20)
    parser.add_argument("--longest", type=int, default=1 << 22, help="genes beyond it are left out")
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", default="packed,buckets,one by one", help="which, by commas; packed must be one")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    device = torch.device(options.device)
    lengths = gene_lengths(options)
    name = recorded.device_name(device.type)
    report: dict[str, Any] = {
        "machine": {
            "device": name,
            "torch": torch.__version__,
            "commit": recorded.commit(),
            "date": recorded.today(),
        },
        "genes": {
            "source": (options.annotation or options.lengths).name,
            "count": len(lengths),
            "bases": sum(lengths),
            "shortest": min(lengths),
            "longest": max(lengths),
            "median": int(statistics.median(lengths)),
            "channels": options.channels,
        },
        "ways": measure(
            lengths,
            channels=options.channels,
            device=device,
            rounds=options.rounds,
            only=options.ways.split(","),
        ),
    }
    slug = "cpu" if device.type == "cpu" else name.lower().replace(" ", "-")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"packed-{slug}.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.output / f"packed-{slug}.md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
