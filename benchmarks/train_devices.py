"""Tokens a second of ``genoconv train`` on two GPUs beside one, of small-32k in steps of eight rows and of one row.

    PYTHONPATH=MERGED python3 benchmarks/train_devices.py --fasta chr22.fa.gz [--other MERGED ...] [--profile]

``MERGED`` is a folder with the package as it installs (``.ci/typecheck`` makes one), the first of ``PYTHONPATH``;
``--other`` those of other commits, which two GPUs are measured with as well. One GPU: two runs at a time, each on a
GPU of its own, so that all figures are those of a busy machine; the faster one counts. Speeds are those of
``metrics.csv``, the mean of its rows after the first third. ``--profile`` adds a run on two GPUs whose first
process says what its GPU does in a step. Prints a table; a run is ended after its last row.

Several FASTA files make epochs as long as those of common genomes. A few batches of an epoch are smaller: the GPU that
has one waits for the other.
"""

import argparse
import csv
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = "from genoconv.cli import main\nmain()\n"
PROFILED = (
    f"import os, sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    "if os.environ.get('LOCAL_RANK', '0') == '0':\n    import train_profile\n    train_profile.watch()\n" + COMMAND
)
# Rows of a step -> steps of a run, of which some seconds are left after the first third; steps between rows.
STEPS = {8: (160, 20), 1: (800, 100)}
PATIENCE = 240.0


class Run:
    """One run of ``genoconv train``, begun at once.

    Args:
        folder: to make.
        rows: of 32,768 bases (``--length``) in a step of one process.
        devices: as ``run.device``, and how many.
        package: folder of the package.
        profiled: whether the first process writes what its GPU does.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        folder: Path,
        *,
        rows: int,
        devices: tuple[str, int],
        package: str,
        profiled: bool = False,
    ) -> None:
        self.folder = folder
        self.steps, every = STEPS.get(rows, STEPS[1])
        script = folder.with_suffix(".py")
        script.write_text(PROFILED if profiled else COMMAND)
        device, count = devices
        _, *others = os.environ["PYTHONPATH"].split(os.pathsep)
        values = {
            "data.tokens_per_batch": rows * options.length, "data.length_warmup": "never",
            "data.workers": options.workers, "data.valid_tokens": options.length,
            "run.device": device, "run.devices": count, "run.log_every": every,
            "run.validate_every": 10**6, "run.checkpoint_every": 10**6, "run.calibrate": "false",
        }  # fmt: skip
        words = ["train", "-o", folder, "--preset", options.preset, "--tiles", "--max-length"]
        words += [options.length, "--max-steps", 10 * self.steps, "-q"]
        words += [word for fasta in options.fasta for word in ("-f", fasta)]
        words += [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
        self.process = subprocess.Popen(
            [sys.executable, script, *map(str, words)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([package, *others])},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def tokens_per_second(self) -> float:
        """Wait for the last row and end the run."""
        until = time.monotonic() + PATIENCE
        while not (rows := self._rows()) or int(rows[-1]["step"]) < self.steps:
            if self.process.poll() is not None or time.monotonic() > until:
                self._end()
                raise SystemExit(f"{self.folder.name}: no rows")
            time.sleep(0.05)
        self._end()
        return statistics.harmonic_mean(float(row["tokens_per_second"]) for row in rows[len(rows) // 3 :])

    def _rows(self) -> list[dict[str, str]]:
        table = self.folder / "metrics.csv"
        if not table.exists():
            return []
        lines = table.read_text().splitlines(keepends=True)
        rows = csv.DictReader(line for line in lines if line.endswith("\n"))
        return [row for row in rows if row["split"] == "train"]

    def _end(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def measure(options: argparse.Namespace, folder: Path, rows: int) -> None:
    """Print the lines of steps of so many rows."""
    gpu = options.device == "cuda"
    own, tokens = os.environ["PYTHONPATH"].split(os.pathsep)[0], rows * options.length

    def run(name: str, devices: tuple[str, int], package: str, *, profiled: bool = False) -> Run:
        where = folder / f"{name}-{rows}"
        return Run(options, where, rows=rows, devices=devices, package=package, profiled=profiled)

    alone = [run(f"alone{n}", (f"cuda:{n}" if gpu else "cpu", 1), own) for n in range(2)]
    each = [one.tokens_per_second() for one in alone]
    line(f"{rows} rows, one GPU", max(each), tokens, f"  ({', '.join(f'{speed / 1e6:.3f}' for speed in each)})")
    for package in (*options.other, own):
        name = Path(package).name
        speed = run(name, (options.device, 2), package).tokens_per_second()
        line(f"{rows} rows, two GPUs, {name}", speed, 2 * tokens, f"  {speed / max(each):.3f} x one")
    if options.profile:
        run("profile", (options.device, 2), own, profiled=True).tokens_per_second()


def line(name: str, speed: float, tokens: int, more: str) -> None:
    """Print one figure."""
    print(f"{name:45}{speed / 1e6:9.3f} M tokens/s{1e3 * tokens / speed:9.3f} ms{more}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fasta", type=Path, nargs="+", required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 1])
    parser.add_argument("--other", nargs="+", default=[], help="folders of the package of other commits")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--preset", default="small-32k")
    parser.add_argument("--length", type=int, default=32_768)
    parser.add_argument("--workers", type=int, default=6, help="reading processes of each GPU")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for rows in options.rows:
            measure(options, Path(name), rows)


if __name__ == "__main__":
    main()
