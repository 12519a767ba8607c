"""Seconds until commands do their work, beside those that the packages under them take to be imported.

    python3 benchmarks/startup.py [--repeats 5] [--device cpu]

``genoconv score-variants`` is timed over one record, ``genoconv train`` until ``metrics.csv`` has the row of its first
step. The files of Python and torch are in the page cache: the first round fills it and does not count; where kernels
are used, it also compiles them. Where other programs run, processor time (user and system) is a better measure than the
clock. The commands take turns; the best of the repeats is printed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

CONTIG = "ACGTTGCA" * 512
VCF = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nc\t2001\t.\tA\tC\t.\t.\t.\n"


def model_folder(folder: Path) -> Path:
    """An untrained model of the preset ``tiny-1k``."""
    from genoconv.models import HyenaDNA, preset, save_model

    save_model(HyenaDNA(preset("tiny-1k")), folder, provenance={"source": "untrained, for a benchmark"})
    return folder


def measured(words: Sequence[str | Path], *, until: Path | None = None) -> tuple[float, float]:
    """Seconds by the clock and of the processor of a command, which must succeed.

    With ``until`` it is ended as soon as that file has a second line, and its processes' time up to then is counted.
    """
    if until is not None:
        until.unlink(missing_ok=True)
    before, began = os.times(), time.monotonic()
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    while until is not None and process.poll() is None and not has_row(until):
        time.sleep(0.01)
    clock = time.monotonic() - began
    if until is not None and process.poll() is None:
        process.kill()
    if process.wait() not in (0, -9):
        raise SystemExit(f"{' '.join(map(str, words))} ended with {process.returncode}")
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return clock if until is not None else time.monotonic() - began, used


def has_row(table: Path) -> bool:
    """Whether a CSV file has a row below its header."""
    return table.exists() and table.read_bytes().count(b"\n") > 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "c.fa").write_text(f">c\n{CONTIG}\n")
        (folder / "in.vcf").write_text(VCF)
        genoconv = Path(sys.executable).with_name("genoconv")
        score: list[str | Path] = [
            genoconv, "score-variants", folder / "in.vcf", "-f", folder / "c.fa",
            "-m", model_folder(folder / "model"), "-o", folder / "out.vcf", "--force", "--device", arguments.device,
        ]  # fmt: skip
        run = folder / "run"
        train: list[str | Path] = [
            genoconv, "train", "--demo", "short", "--max-steps", "9", "-o", run, "--force", "-q",
            "--device", arguments.device, "--set", "run.log_every=1", "--set", "data.tokens_per_batch=1024",
        ]  # fmt: skip
        commands: dict[str, tuple[list[str | Path], Path | None]] = {
            "import torch": ([sys.executable, "-c", "import torch"], None),
            "import pytorch_lightning": ([sys.executable, "-c", "import pytorch_lightning"], None),
            "score-variants, 1 record": (score, None),
            "train, to its first step": (train, run / "metrics.csv"),
        }
        times: dict[str, list[tuple[float, float]]] = {title: [] for title in commands}
        for number in range(arguments.repeats + 1):
            for title, (words, until) in commands.items():
                found = measured(words, until=until)
                if number:  # the first one fills the page cache
                    times[title].append(found)
    best = {title: [min(column) for column in zip(*found, strict=True)] for title, found in times.items()}
    base = best["import torch"]
    print(f"{'best of ' + str(arguments.repeats):26}{'clock':>8}{'ratio':>7}{'processor':>11}{'ratio':>7}")
    for title, (clock, used) in best.items():
        print(f"{title:26}{clock:6.2f} s{clock / base[0]:7.2f}{used:9.2f} s{used / base[1]:7.2f}")


if __name__ == "__main__":
    main()
