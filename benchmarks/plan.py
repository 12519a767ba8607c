"""Memory and time of models, measured beside what ``genoconv plan`` predicts for them.

    PYTHONPATH=. python3 benchmarks/plan.py [--seconds 1] [--only train] [--output DIR]

Needs a GPU. Forward passes are of bf16 weights without gradients, training steps bf16 autocast and AdamW, windows full
of random bases. Memory is the peak that torch allocated. Each row runs once before it is measured. Writes
``plan-<gpu>.json`` and ``.md``; the tests hold predictions against the JSON, and against that of ``train_step.py``,
which has the steps without checkpointing.
"""

# mypy: disable-error-code="no-untyped-call, no-any-return"

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("GENOCONV_HOME", str(Path(tempfile.gettempdir()) / "genoconv-benchmark"))

import recorded
import torch

from genoconv.models import HyenaDNA, ModelConfig, preset
from genoconv.pipelines.plan.cards import Accelerator, accelerator, local_accelerator
from genoconv.pipelines.plan.costs import Prediction, predict, workload


@dataclass(frozen=True)
class Case:
    """One row: the preset's sizes for windows of this length."""

    preset: str
    length: int
    batch: int = 1
    train: bool = False
    checkpointing: bool = False
    filter_length: int = 0

    @property
    def config(self) -> ModelConfig:
        """Sizes of the model."""
        return replace(preset(self.preset), max_length=self.length, filter_length=self.filter_length)


CASES = (
    Case("tiny-1k", 1_024, 256),
    Case("small-32k", 32_768, 8),
    Case("medium-160k", 160_000, 2),
    Case("large-1m", 1_000_000),
    Case("gene-4m", 2_400_000),
    Case("gene-4m", 2_400_000, filter_length=32_768),
    Case("medium-450k", 450_000, train=True, checkpointing=True),
    Case("large-1m", 1_000_000, train=True, checkpointing=True),
    Case("gene-4m", 2_400_000, train=True, checkpointing=True),
    Case("gene-4m", 2_400_000, train=True, checkpointing=True, filter_length=32_768),
)


def timed(run: Callable[[], object], *, seconds: float) -> float:
    """Median seconds of a call, over at least 3 calls and ``seconds``."""
    taken: list[float] = []
    torch.cuda.synchronize()
    begin = time.perf_counter()
    while len(taken) < 3 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def measure(case: Case, *, seconds: float) -> dict[str, Any]:
    """One row, or why it could not be measured."""
    torch.manual_seed(0)
    torch.cuda.empty_cache()
    base = torch.cuda.memory_allocated()
    model = HyenaDNA(case.config).cuda()
    ids = torch.randint(7, 11, (case.batch, case.length), device="cuda")
    model.checkpointing = case.checkpointing
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True) if case.train else None

    def step() -> None:
        assert optimizer is not None
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            logits = model(ids)[:, :-1]
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def forward() -> None:
        model.hidden(ids)

    if not case.train:
        model = model.to(torch.bfloat16).eval()
    run = step if case.train else forward
    run()
    torch.cuda.reset_peak_memory_stats()
    taken = timed(run, seconds=seconds)
    return {"seconds": taken, "allocated": torch.cuda.max_memory_allocated() - base}


def predicted(case: Case, on: Accelerator) -> Prediction:
    """What ``genoconv plan`` says of it."""
    work = workload(case.config, length=case.length, batch=case.batch, train=case.train)
    return predict(replace(work, checkpointing=case.checkpointing), on)


def row(case: Case, *, seconds: float) -> dict[str, Any]:
    """What was measured, or why nothing was."""
    found = asdict(case) | {"regime": predicted(case, local_accelerator()).convolution.regime}
    try:
        return found | measure(case, seconds=seconds)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        return found | {"error": f"{type(error).__name__}: {str(error)[:200]}"}


def markdown(report: dict[str, Any]) -> str:
    """The table that people read."""
    m = report["machine"]
    lines = [
        "# Predicted and measured",
        "",
        f"One {m['gpu']}, torch {m['torch']}, commit {m['commit']}, {m['date']}. bf16; memory as allocated, GiB;"
        " seconds; error: prediction over measurement. `benchmarks/plan.py` makes this page.",
        "",
        "| what | preset | B x N | taps | memory | predicted | error | time | predicted | error |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    on = accelerator(m["gpu"].removeprefix("NVIDIA "))
    for r in report["rows"]:
        said = predicted(Case(**{name: r[name] for name in Case.__dataclass_fields__}), on)
        pairs = ((r.get("allocated"), said.allocated, 2**30, 2), (r.get("seconds"), said.time, 1, 4))
        what = "step, checkpointing" if r["checkpointing"] else "step" if r["train"] else "forward"
        cells = [what, r["preset"], f"{r['batch']} x {r['length']:,}", f"{r['filter_length'] or r['length']:,}"]
        if "error" in r:
            cells += [r["error"].replace("|", "/").replace("\n", " ")[:60], "", "", "", "", ""]
        else:
            for measured, expected, scale, digits in pairs:
                cells += [f"{measured / scale:.{digits}f}", f"{expected / scale:.{digits}f}"]
                cells.append(f"{expected / measured - 1:+.0%}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--page", type=Path, metavar="JSON", help="only write the page of this report again")
    parser.add_argument("--seconds", type=float, default=0.5, help="least measuring time of each row")
    parser.add_argument("--only", choices=("train", "forward"))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    if arguments.page:
        arguments.page.with_suffix(".md").write_text(markdown(json.loads(arguments.page.read_text())))
        return
    machine = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "commit": recorded.commit(),
        "date": recorded.today(),
    }
    report: dict[str, Any] = {"machine": machine, "rows": []}
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / f"plan-{machine['gpu'].lower().replace(' ', '-')}.json"
    for case in CASES:
        if arguments.only and case.train != (arguments.only == "train"):
            continue
        report["rows"].append(row(case, seconds=arguments.seconds))
        print(report["rows"][-1], flush=True)
        path.write_text(json.dumps(report, indent=1) + "\n")
        path.with_suffix(".md").write_text(markdown(report))


if __name__ == "__main__":
    main()
