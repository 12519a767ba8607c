"""Commands beside their model's own forward pass: variants, positions and bases a second, and seconds to start.

    python benchmarks/throughput.py [--data DATA] [--preset tiny-1k] [--window 1024] [--only score embed scan]

The measure is tokens a second of the prepared model on full batches of one window length, logits included, nothing
kept. ``score-variants`` annotates 28,998 variants of 1000 Genomes (``genomes/b37_chr20_1_2M``), ``embed`` pools and
``scan`` scores the 7.2 Mb of ``windows_hg38``, in windows of the same length. Commands run in this process a second
time, so that what is made once (kernels, filters) is there; their time is all of it, reading and writing included.
``long`` scores 249,000 SNVs, once, the start of processes included; the tokens that those read are not counted.
Starting is measured by the installed command on one record: its wall time. Random weights, whose speed is that of
trained ones. Writes ``throughput-<device>.json`` and ``.md``.
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from genoconv.genome.fasta.access import Fasta
from genoconv.models import HyenaDNA, load_model, preset, save_model
from genoconv.models.devices import DTYPES, resolve_device, resolve_precision
from genoconv.pipelines.embed.options import EmbedOptions
from genoconv.pipelines.embed.run import embed
from genoconv.pipelines.scan.options import ScanOptions
from genoconv.pipelines.scan.run import scan
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.pipelines.score.run import score_variants
from genoconv.tasks.likelihood import CausalLikelihood
from genoconv.tasks.scan import Scanner
from genoconv.tokens import decode

ROOT = Path(__file__).resolve().parent.parent
GENOCONV = shutil.which("genoconv") or str(Path(sys.executable).with_name("genoconv"))
BATCHES = (1 << 18, 1 << 20, 1 << 22)
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
        began = time.perf_counter()
        first = score_variants(wanted)
        once = tokens()
        _, found = time.perf_counter() - began, first
        seconds, found = timed(
            lambda: score_variants(wanted), profile=options.profile and options.profile / "score.txt"
        )
    records = sum(1 for _ in _records(data / "z.1000g.vcf.gz"))
    return {
        "command": "score-variants .vcf.gz", "amount": f"{records:,} records", "seconds": seconds,
        "per second": records / seconds, "steady": records / found.seconds, "tokens/s": once / found.seconds,
    }  # fmt: skip


def _records(vcf: Path) -> Iterator[bytes]:
    import gzip

    with gzip.open(vcf) as lines:
        yield from (line for line in lines if not line.startswith(b"#"))


def measure_long(options: argparse.Namespace, folder: Path, work: Path, common: Row) -> Row:
    """SNVs at every fourth base of a megabase: enough for several processes to share a GPU."""
    fasta, vcf = work / "z.fa.gz", work / "every.vcf"
    shutil.copy(options.data / "genomes/b37_chr20_1_2M/z.fa.gz", fasta)
    genome = Fasta(fasta)
    [(contig, length)] = genome.contigs.items()
    bases = decode(genome.tokens(contig, 0, length))
    head = (
        f"##fileformat=VCFv4.2\n##contig=<ID={contig},length={length}>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    )
    other = dict(zip("ACGT", "CGTA", strict=True))
    sites = [n for n in range(options.window, length - options.window, 4) if bases[n] in other]
    rows = [f"{contig}\t{n + 1}\t.\t{bases[n]}\t{other[bases[n]]}\t.\t.\t.\n" for n in sites]
    vcf.write_text(head + "".join(rows))
    wanted = ScoreOptions(
        vcf=vcf, fasta=fasta, model=folder, output=work / "every.vcf.gz", window=str(options.window), force=True,
        quiet=True, **common,
    )  # fmt: skip
    began = time.perf_counter()
    found = score_variants(wanted)
    seconds = time.perf_counter() - began
    assert found.seconds is not None
    return {
        "command": "score-variants .vcf.gz, many", "amount": f"{len(rows):,} records", "seconds": seconds,
        "per second": len(rows) / seconds, "steady": len(rows) / found.seconds, "tokens/s": None,
    }  # fmt: skip


def measure_scan(options: argparse.Namespace, folder: Path, work: Path, common: Row, suffix: str) -> Row:
    wanted = ScanOptions(
        fasta=_copied(options, work), model=folder, output=work / f"scan{suffix}", window=options.window, force=True,
        quiet=True, **common,
    )  # fmt: skip
    with counted(Scanner) as tokens:
        scan(wanted)
        once = tokens()
        profile = options.profile and options.profile / f"scan{suffix}.txt"
        seconds, found = timed(lambda: scan(wanted), profile=profile)
    return {
        "command": f"scan {suffix}", "amount": f"{found.positions:,} positions", "seconds": seconds,
        "per second": found.positions / seconds, "steady": found.positions / found.seconds, "tokens/s": once / seconds,
    }  # fmt: skip


def measure_embed(options: argparse.Namespace, folder: Path, work: Path, common: Row) -> Row:
    wanted = EmbedOptions(
        fasta=_copied(options, work), model=folder, output=work / "vectors.npz", window=options.window, force=True,
        quiet=True, **common,
    )  # fmt: skip
    seconds, found = timed(lambda: embed(wanted), profile=options.profile and options.profile / "embed.txt")
    bases = found.bases
    return {
        "command": f"embed --window {options.window} .npz", "amount": f"{bases:,} bases", "seconds": seconds,
        "per second": bases / seconds, "steady": bases / found.seconds, "tokens/s": bases / found.seconds,
    }  # fmt: skip


def _copied(options: argparse.Namespace, work: Path) -> Path:
    """The windows of hg38 in ``work``: an index may be written beside them."""
    path = work / "windows.fa.gz"
    if not path.exists():
        shutil.copy(options.data / "windows_hg38/hg38.windows.train_valid.fa.gz", path)
    return path


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("GENOCONV_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=data, help="folder of the test data")
    parser.add_argument("--preset", default="tiny-1k")
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "32", "bf16"])
    parser.add_argument("--only", nargs="+", default=["score", "long", "embed", ".npy", ".zarr", ".bw", "start"])
    parser.add_argument("--profile", type=Path, help="folder for tables of the host's time")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    device = str(resolve_device(options.device))
    precision = resolve_precision(options.precision, device=device)
    rows: list[Row] = []
    facts: Row = {
        "model": options.preset,
        "window": options.window,
        "precision": precision,
        "device": f"CPU, {torch.get_num_threads()} threads" if device == "cpu" else torch.cuda.get_device_name(),
        "commit": os.environ.get("GENOCONV_COMMIT", "unknown"),
        "date": datetime.date.today().isoformat(),
        "versions": f"python {platform.python_version()}, torch {torch.__version__}",
    }
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        folder = work / "model"
        torch.manual_seed(0)
        save_model(HyenaDNA(preset(options.preset)), folder, provenance={"source": "random weights, for a benchmark"})
        facts["forward, tokens/s"] = round(forward_rate(folder, options.window, device, precision))
        common = {"device": device, "precision": precision}
        for one in options.only:
            if one == "start":
                facts["start-up, s"] = round(start_up(folder, work, device), 2)
                continue
            if one == "score":
                row = measure_score(options, folder, work, common)
            elif one == "long":
                row = measure_long(options, folder, work, common)
            elif one == "embed":
                row = measure_embed(options, folder, work, common)
            else:
                row = measure_scan(options, folder, work, common, one)
            read = row["tokens/s"]
            row["of the forward rate"] = None if read is None else read / facts["forward, tokens/s"]
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
