"""Bases embedded a second, beside one sequence at a time and beside the bare model, in the same run.

    python benchmarks/embed.py [--data DATA] [--preset tiny-1k] [--bases 100000] [--device auto]
        [--precision auto]

Reads promoters (all of 300 bases) and transcripts (of every length) with random weights, whose speed is that of trained
ones. *One at a time* calls the model for each sequence, as the examples of published checkpoints do; sequences longer
than the model are cut in both ways alike. The *bare model* reads as many bases in full batches without any padding,
and keeps nothing: the floor. The three take turns; on a CPU the clock is the process's CPU time. Writes
``embed-<device>.json`` and ``.md``.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import recorded
import torch

from genoconv.genome.fasta.records import read_records
from genoconv.genome.windows.intervals import equal_parts
from genoconv.models import HyenaDNA, preset
from genoconv.models.devices import DTYPES, resolve_device, resolve_precision
from genoconv.tasks.embed import Embedder
from genoconv.tasks.spans import Span
from genoconv.tokens import encode

ROOT = Path(__file__).resolve().parent.parent
FILES = {"promoters": "promoters_tata_human.fa.gz", "transcripts": "human_chr21_transcripts.fa.gz"}
ROUNDS = 3
FULL = 16_384


def spans_of(path: Path, bases: int) -> list[Span]:
    """Records of a FASTA, evenly drawn, of about so many bases together."""
    records = list(read_records(path))
    found: list[Span] = []
    for number in np.random.default_rng(0).permutation(len(records)):
        tokens = encode(records[number].sequence)
        found.append(Span(records[number].name, records[number].name, 0, len(tokens), "+", tokens))
        bases -= len(tokens)
        if bases <= 0:
            break
    return found


def measure(name: str, spans: list[Span], options: argparse.Namespace, device: str) -> dict[str, object]:
    """One row of the table."""
    torch.manual_seed(0)
    precision = resolve_precision(options.precision, device=device)
    model = HyenaDNA(preset(options.preset)).to(device, DTYPES[precision]).eval()
    embedder = Embedder(model)
    longest, total = model.config.max_length, sum(len(span.tokens) for span in spans)

    def ours() -> list[np.ndarray]:
        return [vector[0] for vector in embedder(spans)]

    def one_at_a_time() -> list[np.ndarray]:
        found = []
        for span in spans:
            parts = [torch.from_numpy(span.tokens[a:b]) for a, b in equal_parts(0, len(span.tokens), longest)]
            states = [model.hidden(part.long()[None].to(device))[0] for part in parts]
            found.append(torch.cat(states).float().mean(0).cpu().numpy())
        return found

    length = min(1024, longest)
    rows = FULL // length if device == "cpu" else max(1, total // length)
    full = torch.randint(7, 11, (rows, length), device=device)
    times = max(1, round(total / full.numel()))

    def bare() -> None:
        model.prepare(length)
        for _ in range(times):
            model.hidden(full)
        if device != "cpu":
            torch.cuda.synchronize()

    clock = time.process_time if device == "cpu" else time.perf_counter
    ways: dict[str, Callable[[], object]] = {"ours": ours, "one at a time": one_at_a_time, "bare model": bare}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with torch.inference_mode():
        difference = float(np.abs(np.array(ours()) - np.array(one_at_a_time())).max())
        for _ in range(ROUNDS):
            for way, work in ways.items():
                began = clock()
                work()
                seconds[way].append(clock() - began)
    read = {"ours": total, "one at a time": total, "bare model": times * full.numel()}
    speed = {way: read[way] / float(np.median(found)) for way, found in seconds.items()}
    return {
        "sequences": f"{len(spans)} {name}, {total:,} bases",
        "model": options.preset,
        "precision": precision,
        **{f"{way}, bases/s": round(value) for way, value in speed.items()},
        "of the bare model": round(speed["ours"] / speed["bare model"], 2),
        "times one at a time": round(speed["ours"] / speed["one at a time"], 2),
        "largest difference": float(f"{difference:.1g}"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("GENOCONV_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=data, help="folder of the test data")
    parser.add_argument("--preset", default="tiny-1k")
    parser.add_argument("--bases", type=int, default=100_000)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "32", "bf16"])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    device = str(resolve_device(options.device))
    rows = [
        measure(name, spans_of(options.data / "sequences" / file, options.bases), options, device)
        for name, file in FILES.items()
    ]
    facts = {
        "device": recorded.device_name(device),
        "clock": "CPU seconds of the process" if device == "cpu" else "wall",
        "rounds": ROUNDS,
        "load of the machine": round(os.getloadavg()[0], 1),
        "commit": recorded.commit(),
        "date": recorded.today(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    kind = "cpu" if device == "cpu" else "gpu"
    (options.output / f"embed-{kind}.json").write_text(json.dumps({"rows": rows, **facts}, indent=1) + "\n")
    lines = ["# Bases embedded a second", "", "`benchmarks/embed.py`, which says what is compared; medians.", ""]
    lines += ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    lines += ["| " + " | ".join(map(str, row.values())) + " |" for row in rows]
    lines += ["", "; ".join(f"{key}: {value}" for key, value in facts.items()) + "."]
    (options.output / f"embed-{kind}.md").write_text("\n".join(lines) + "\n")
    print(json.dumps({"rows": rows, **facts}, indent=1))


if __name__ == "__main__":
    main()
