"""Training steps on whole genes of real lengths: packed end to end, beside padded to batches of like length.

    PYTHONPATH=. python3 benchmarks/packed_steps.py RUN.yaml [--tokens 1048576] [--device auto] [--output DIR]

Takes the sources and the model of a run of ``genoconv train`` and reads one epoch of its training windows, at full
length, in both ways; the ways take turns. Loss, backward pass, clipping and AdamW, in bf16 on a GPU; batches are read
beforehand. *Bases a second* are bases of windows, without padding. ``DATA`` in the file stands for the folder of the
test data. Writes ``packed_steps-<device>.json`` and ``.md``.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import recorded
import torch

from genoconv.genome.windows.batches import padding_fraction
from genoconv.models import HyenaDNA
from genoconv.pipelines.resolve import Call
from genoconv.pipelines.train.config import resolve
from genoconv.pipelines.train.inputs import gather
from genoconv.pipelines.train.options import TrainConfig
from genoconv.train.batch import Batch
from genoconv.train.graphs import GraphedSums
from genoconv.train.objectives.next_base import NextBase
from genoconv.train.optim import adamw
from genoconv.train.settings import Stage
from genoconv.train.stream import Share, TrainingBatches
from genoconv.train.update import Update

ROOT = Path(__file__).resolve().parent.parent


class Steps:
    """A model and the batches of one epoch, on a device.

    Args:
        config: of the run; its model is made anew.
        batches: of one epoch, on the CPU.
    """

    def __init__(self, config: TrainConfig, batches: list[Batch], *, device: torch.device) -> None:
        torch.manual_seed(0)
        self.device = device
        self.batches = batches
        model = HyenaDNA(config.sizes()).to(device).train()
        self.update = Update(adamw(model, config.optim), clip=config.optim.clip)
        self.sums = GraphedSums(model, NextBase())
        self.sums.update = self.update

    def epoch(self) -> float:
        """Seconds for all batches: of the clock on a GPU, of this process on a CPU."""
        clock = time.perf_counter if self.device.type == "cuda" else time.process_time
        self._wait()
        begun = clock()
        for batch in self.batches:
            moved = {name: x.to(self.device, non_blocking=True) for name, x in batch._asdict().items() if _tensor(x)}
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
                sums = self.sums(batch._replace(**moved))
            if not self.sums.updated:
                self.update.optimizer.zero_grad()
                (sums[0] / sums[1]).backward()  # type: ignore[no-untyped-call]
                self.update()
        self._wait()
        return clock() - begun

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def measure(config: TrainConfig, *, tokens: int, device: torch.device, rounds: int) -> dict[str, Any]:
    """Both ways on the same windows."""
    longest = config.sizes().max_bases
    reader = gather(config, max_length=longest, offline=True, quiet=True).reader("train", learn=True)
    lengths, ways = reader.lengths.tolist(), {}
    facts: dict[str, dict[str, Any]] = {}
    for name, packed in (("padded", False), ("packed", True)):
        stream = TrainingBatches(
            reader,
            stages=[Stage(length=longest)],
            tokens_per_batch=tokens,
            flips=False,
            seed=0,
            share=Share(),
            packed=[packed],
        )
        plan = stream._plan(0, 0)
        batches = [stream.batch(number) for number in range(len(plan))]
        if device.type == "cuda":
            batches = [b._replace(**{n: x.pin_memory() for n, x in b._asdict().items() if _tensor(x)}) for b in batches]
        ways[name] = Steps(config, batches, device=device)
        facts[name] = {
            "steps": len(plan),
            "padding": 0.0 if packed else padding_fraction(plan, lengths),
            "rows": max(map(len, plan)),
            "seconds": [],
        }
    for number in range(rounds + 1):
        for name, steps in ways.items():
            taken = steps.epoch()
            if number:  # in the first one, kernels are compiled
                facts[name]["seconds"].append(round(taken, 4))
    return {
        "windows": len(lengths),
        "bases": sum(lengths),
        "longest": max(lengths),
        "tokens_per_batch": max(tokens, max(lengths)),
        "ways": facts,
    }


def markdown(report: dict[str, Any]) -> str:
    """The table that people read."""
    m = report["machine"]
    lines = [
        "# Training steps on whole genes, packed and padded",
        "",
        f"{m['device']}, {m['versions']}, commit {m['commit']}, {m['date']}. `benchmarks/packed_steps.py` says what is"
        " measured; the best of the rounds.",
        "",
        "| windows | longest | tokens per batch | way | steps per epoch | padding | M bases/s |",
        "|---|---:|---:|---|---:|---:|---:|",
    ]
    for row in report["rows"]:
        for way, found in row["ways"].items():
            lines.append(
                f"| {row['windows']} of {row['name']} | {row['longest']:,} | {row['tokens_per_batch']:,} | {way} |"
                f" {found['steps']} | {found['padding']:.1%} | {row['bases'] / min(found['seconds']) / 1e6:.3g} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN.yaml")
    data = Path(os.environ.get("GENOCONV_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=data, help="folder of the test data")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1 << 20])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of genoconv train")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--work", type=Path, default=Path("runs/packed-steps"), help="where the filled-in files go")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    device = torch.device(options.device)
    rows = []
    for run in options.runs:
        filled = options.work / run.name
        filled.write_text(run.read_text().replace("DATA/", f"{options.data.resolve()}/"))
        config = resolve(Call(TrainConfig, filled, assignments=options.set))
        for tokens in options.tokens:
            rows.append({"name": run.stem, **measure(config, tokens=tokens, device=device, rounds=options.rounds)})
            print(json.dumps(rows[-1]), flush=True)
    name = recorded.device_name(device.type)
    machine = {"device": name, "versions": recorded.versions(), "commit": recorded.commit(), "date": recorded.today()}
    report = {"machine": machine, "rows": rows}
    slug = "cpu" if device.type == "cpu" else name.lower().replace(" ", "-")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"packed_steps-{slug}.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.output / f"packed_steps-{slug}.md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
