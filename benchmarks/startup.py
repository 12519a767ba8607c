"""Seconds that ``genoconv score-variants`` takes for one record, beside those of ``import torch`` alone.

    python3 benchmarks/startup.py [--repeats 5]

On a CPU, with the files of Python and torch in the page cache. Where other programs run, processor time (user and
system) is a better measure than the clock. The two commands take turns; the best of the repeats is printed.
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


def measured(words: Sequence[str | Path]) -> tuple[float, float]:
    """Seconds by the clock and of the processor of a command, which must succeed."""
    before, began = os.times(), time.monotonic()
    subprocess.run(words, check=True, stderr=subprocess.DEVNULL, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - began, used


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "c.fa").write_text(f">c\n{CONTIG}\n")
        (folder / "in.vcf").write_text(VCF)
        score: list[str | Path] = [
            Path(sys.executable).with_name("genoconv"), "score-variants", folder / "in.vcf", "-f", folder / "c.fa",
            "-m", model_folder(folder / "model"), "-o", folder / "out.vcf", "--force",
        ]  # fmt: skip
        commands: dict[str, list[str | Path]] = {
            "import torch": [sys.executable, "-c", "import torch"],
            "score-variants, 1 record": score,
        }
        times: dict[str, list[tuple[float, float]]] = {title: [] for title in commands}
        for number in range(repeats + 1):
            for title, words in commands.items():
                found = measured(words)
                if number:  # the first one fills the page cache
                    times[title].append(found)
    best = {title: [min(column) for column in zip(*found, strict=True)] for title, found in times.items()}
    base = best["import torch"]
    print(f"{'best of ' + str(repeats):26}{'clock':>8}{'ratio':>7}{'processor':>11}{'ratio':>7}")
    for title, (clock, used) in best.items():
        print(f"{title:26}{clock:6.2f} s{clock / base[0]:7.2f}{used:9.2f} s{used / base[1]:7.2f}")


if __name__ == "__main__":
    main()
