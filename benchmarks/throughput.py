"""Commands beside their model's own forward pass: variants, positions and bases a second, and seconds to start.

    python benchmarks/throughput.py [--data DATA] [--preset tiny-1k] [--window 1024] [--only score embed .npy]

The measure is tokens a second of the prepared model on full batches of one window length, logits included, nothing
kept. ``embed`` pools windows and ``scan`` scores positions of two random genomes, one eight times as large as the
other (``--megabases``), in windows of the same length, start to end: reading, checking, writing, everything. What the
larger takes more is the steady rate; the rest of the seconds is the start, whatever the size. ``score`` annotates
28,998 variants of 1000 Genomes (``genomes/b37_chr20_1_2M``). All these run in this process a second time, so that what
is made once (kernels, filters) is there. ``long`` annotates them 4 and 16 times, in as many contigs, by the processes
that share a GPU in a long run; what 16 take more than 4 is its steady rate. ``start`` is the installed command on one
record: its wall time. Random weights, whose speed is that of trained ones. Writes ``throughput-<preset>-<device>.json``
and ``.md``.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import recorded
import torch
from throughput_inputs import random_genome, repeated

from genoconv.models import HyenaDNA, load_model, preset, save_model
from genoconv.models.devices import DTYPES, resolve_device, resolve_precision
from genoconv.pipelines.embed.options import EmbedOptions
from genoconv.pipelines.embed.run import embed
from genoconv.pipelines.scan.options import ScanOptions
from genoconv.pipelines.scan.run import scan
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.pipelines.score.run import score_variants
from genoconv.tasks.likelihood import CausalLikelihood

ROOT = Path(__file__).resolve().parent.parent
GENOCONV = shutil.which("genoconv") or str(Path(sys.executable).with_name("genoconv"))
BATCHES = (1 << 18, 1 << 20, 1 << 22)
TIMES = (4, 16)
"""How often the variants are there for long runs."""
SMALLER = 8
"""How many times the smaller genome goes into the larger."""
SLOW = (".bw",)
"""Outputs that take minutes for a large genome: a sixteenth of it is enough."""
Row = dict[str, Any]


def forward_rate(folder: Path, window: int, device: str, precision: str) -> float:
    """Tokens a second of the prepared model, the best of several batch sizes."""
    model = load_model(folder, device=device, dtype=DTYPES[precision])
    model.prepare(window)
    best = 0.0
    sizes = BATCHES if device != "cpu" else (1 << 14,)
    with torch.inference_mode():
        for tokens in sizes:
            ids = torch.randint(7, 11, (max(1, tokens // window), window), device=device)
            for repeat in range(6):
                _wait(device)
                began = time.perf_counter()
                model(ids)
                _wait(device)
                if repeat:
                    best = max(best, ids.numel() / (time.perf_counter() - began))
    return best


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


@contextlib.contextmanager
def counted(kind: type) -> Iterator[Callable[[], int]]:
    """Tokens that models read through readers of this kind that are made in the block."""
    made: list[Any] = []
    plain = kind.__init__  # type: ignore[misc]

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        plain(self, *arguments, **options)
        made.append(self)

    kind.__init__ = init  # type: ignore[misc]
    try:
        yield lambda: sum(one.tokens for one in made)
    finally:
        kind.__init__ = plain  # type: ignore[misc]


def timed(work: Callable[[], Any], *, profile: Path | None) -> tuple[float, Any]:
    """Seconds of the second call, and what it returned; a table of where the host's time went is kept on request."""
    work()
    began = time.perf_counter()
    found = work()
    seconds = time.perf_counter() - began
    if profile is not None:
        import cProfile
        import pstats

        profiler = cProfile.Profile()
        profiler.runcall(work)
        with profile.open("w") as stream:
            pstats.Stats(profiler, stream=stream).sort_stats("tottime").print_stats(45)
    return seconds, found


def measure_score(options: argparse.Namespace, folder: Path, work: Path, common: Row) -> Row:
    data = options.data / "genomes/b37_chr20_1_2M"
    wanted = ScoreOptions(
        vcf=data / "z.1000g.vcf.gz", fasta=data / "z.fa.gz", model=folder, output=work / "scores.vcf.gz",
        window=str(options.window), force=True, quiet=True, **common,
    )  # fmt: skip
    with counted(CausalLikelihood) as tokens:
        score_variants(wanted)
        once = tokens()
        seconds, found = timed(
            lambda: score_variants(wanted), profile=options.profile and options.profile / "score.txt"
        )
    records = sum(1 for _ in _records(data / "z.1000g.vcf.gz"))
    return _row("score-variants .vcf.gz", f"{records:,} records", records, seconds, steady=found.seconds, tokens=once)


def _records(vcf: Path) -> Iterator[bytes]:
    import gzip

    with gzip.open(vcf) as lines:
        yield from (line for line in lines if not line.startswith(b"#"))


def measure_long(options: argparse.Namespace, folder: Path, work: Path, common: Row) -> Row:
    data = options.data / "genomes/b37_chr20_1_2M"
    shared: Row = {"model": folder, "window": str(options.window), "force": True, "quiet": True, **common}
    with counted(CausalLikelihood) as tokens:
        score_variants(
            ScoreOptions(vcf=data / "z.1000g.vcf.gz", fasta=data / "z.fa.gz", output=work / "once.vcf.gz", **shared)
        )
        once = tokens()
    records = sum(1 for _ in _records(data / "z.1000g.vcf.gz"))
    seconds = []
    for times in TIMES:
        fasta, vcf = repeated(data / "z.fa.gz", data / "z.1000g.vcf.gz", work, times=times)
        began = time.perf_counter()
        score_variants(ScoreOptions(vcf=vcf, fasta=fasta, output=work / "many.vcf.gz", **shared))
        seconds.append(time.perf_counter() - began)
    rate = records * (TIMES[1] - TIMES[0]) / max(seconds[1] - seconds[0], 1e-9)
    amount = records * TIMES[1]
    return _row(
        "score-variants .vcf.gz, many", f"{amount:,} records", amount, seconds[1], steady=amount / rate,
        tokens=once * TIMES[1],
    )  # fmt: skip


def measure_genomes(options: argparse.Namespace, folder: Path, work: Path, common: Row, kind: str) -> Row:
    """``embed`` or ``scan`` of two sizes of genome; ``kind`` is ``embed``, or the suffix of what scan writes."""
    large = options.megabases / (16 if kind in SLOW else 1)
    seconds, amounts = [], []
    for megabases in (large / SMALLER, large):
        fasta = work / f"g{megabases:g}.fa"
        if not fasta.exists():
            random_genome(fasta, megabases)
        shared = {"fasta": fasta, "model": folder, "window": options.window, "force": True, "quiet": True, **common}
        call: Callable[[], Any]
        if kind == "embed":
            call = partial(embed, EmbedOptions(output=work / "vectors.npz", **shared))
        else:
            call = partial(scan, ScanOptions(output=work / f"scan{kind}", **shared))
        profile = options.profile and megabases == large and options.profile / f"{kind.strip('.')}.txt"
        took, found = timed(call, profile=profile or None)
        seconds.append(took)
        amounts.append(found.bases if kind == "embed" else found.positions)
    rate = (amounts[1] - amounts[0]) / max(seconds[1] - seconds[0], 1e-9)
    name, unit = ("embed .npz", "bases") if kind == "embed" else (f"scan {kind}", "positions")
    # Half of a window of scan is context, and it reads both strands.
    each = 1 if kind == "embed" else 4
    return _row(
        name, f"{amounts[1]:,} {unit}", amounts[1], seconds[1], steady=amounts[1] / rate, tokens=amounts[1] * each,
        start=seconds[1] - amounts[1] / rate,
    )  # fmt: skip


def _row(
    command: str, amount: str, count: int, seconds: float, *, steady: float, tokens: int | None = None, start: float = 0
) -> Row:
    return {
        "command": command, "amount": amount, "seconds": seconds, "of them to start": start or seconds - steady,
        "per second": count / seconds, "steady": count / steady,
        "tokens/s": None if tokens is None else tokens / seconds,
        "steady tokens/s": None if tokens is None else tokens / steady,
    }  # fmt: skip


def start_up(folder: Path, work: Path, device: str) -> float:
    """Wall seconds of the installed ``score-variants`` on one record, the best of three."""
    (work / "c.fa").write_text(">c\n" + "ACGTTGCA" * 512 + "\n")
    vcf = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nc\t2001\t.\tA\tC\t.\t.\t.\n"
    (work / "one.vcf").write_text(vcf)
    words = [
        "score-variants",
        work / "one.vcf",
        "-f",
        work / "c.fa",
        "-m",
        folder,
        "-o",
        work / "one.out.vcf",
        "--force",
    ]
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([GENOCONV, *map(str, words), "--device", device], check=True, capture_output=True)
        best = min(best, time.perf_counter() - began)
    return best


def measure(options: argparse.Namespace, folder: Path, work: Path, common: Row, kind: str) -> Row:
    """One row of the table."""
    if kind == "score":
        return measure_score(options, folder, work, common)
    if kind == "long":
        return measure_long(options, folder, work, common)
    return measure_genomes(options, folder, work, common, kind)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("GENOCONV_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=data, help="folder of the test data")
    parser.add_argument("--preset", default="tiny-1k")
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--megabases", type=float, default=128, help="size of the larger random genome")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "32", "bf16"])
    parser.add_argument("--only", nargs="+", default=["score", "long", "embed", ".npy", ".zarr", ".bw", "start"])
    parser.add_argument("--profile", type=Path, help="folder for tables of the host's time")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    device = str(resolve_device(options.device))
    precision = resolve_precision(options.precision, device=device)
    rows: list[Row] = []
    facts: Row = {
        "model": options.preset,
        "window": options.window,
        "precision": precision,
        "device": recorded.device_name(device),
        "commit": recorded.commit(),
        "date": recorded.today(),
        "versions": recorded.versions(),
    }
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        folder = work / "model"
        torch.manual_seed(0)
        save_model(HyenaDNA(preset(options.preset)), folder, provenance={"source": "random weights, for a benchmark"})
        facts["forward, tokens/s"] = round(forward_rate(folder, options.window, device, precision))
        common = {"device": device, "precision": precision}
        for kind in options.only:
            if kind == "start":
                facts["start-up, s"] = round(start_up(folder, work, device), 2)
                continue
            row = measure(options, folder, work, common, kind)
            for share, rate in (("of the forward rate", "tokens/s"), ("steady, of it", "steady tokens/s")):
                row[share] = None if row[rate] is None else row[rate] / facts["forward, tokens/s"]
            rows.append(row)
            print(json.dumps(row), flush=True)
            report(options, rows, facts, device)
    report(options, rows, facts, device)
    print(json.dumps(facts, indent=1))


def report(options: argparse.Namespace, rows: list[Row], facts: Row, device: str) -> None:
    kind = "cpu" if device == "cpu" else "gpu"
    path = options.output / f"throughput-{options.preset}-{kind}.json"
    path.write_text(json.dumps({"rows": rows, **facts}, indent=1) + "\n")
    lines = [
        "# Commands beside their model's forward pass",
        "",
        "`benchmarks/throughput.py`, which says what is measured.",
    ]
    lines += ["", "| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    lines += ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in rows]
    lines += ["", "; ".join(f"{key}: {value}" for key, value in facts.items()) + "."]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return (
        f"{value:,.2f}"
        if isinstance(value, float) and value < 100
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )


if __name__ == "__main__":
    main()
