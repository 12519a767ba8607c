"""What a GPU does in the steps of a run of ``genoconv train``, for ``benchmarks/train_devices.py --profile``."""

# mypy: disable-error-code="no-untyped-call"

import sys
from typing import Any

import torch

from genoconv.train.module import Learner

FIRST, STEPS = 100, 20
GAPS = 8


def watch() -> None:
    """Let this process print to stderr, after :data:`FIRST` steps, where the time of the next ones goes."""
    from torch.profiler import ProfilerActivity, profile

    seen = profile(activities=[ProfilerActivity.CUDA if torch.cuda.is_available() else ProfilerActivity.CPU])
    count = [0]
    original = Learner.training_step

    def step(self: Learner, *arguments: Any) -> Any:
        count[0] += 1
        if count[0] == FIRST:
            seen.start()
        elif count[0] == FIRST + STEPS:
            seen.stop()
            events = [event for event in seen.events() if event.device_type.name == "CUDA"]
            spans = [(event.time_range.start, event.time_range.end, event.name) for event in events]
            print(table(sorted(spans)), file=sys.stderr, flush=True)
        return original(self, *arguments)

    Learner.training_step = step  # type: ignore[assignment, method-assign]


def table(spans: list[tuple[float, float, str]]) -> str:
    """Microseconds of a step: busy, of NCCL, idle between kernels, and the longest gaps by what is around them.

    Args:
        spans: begin and end of each kernel in microseconds, and its name, by their begins.
    """
    if not spans:
        return "no kernels"
    gaps: dict[tuple[str, str], list[float]] = {}
    busy, (begin, end, last) = 0.0, spans[0]
    for start, stop, name in spans:
        if start > end:
            gaps.setdefault((last[:50], name[:50]), []).append(start - end)
            busy, begin, end, last = busy + end - begin, start, stop, name
        elif stop > end:
            end, last = stop, name
    busy += end - begin
    whole = end - spans[0][0]
    nccl = sum(stop - start for start, stop, name in spans if "nccl" in name.lower())
    figures = {"whole": whole, "busy": busy, "idle": whole - busy, "NCCL, with its wait": nccl}
    lines = [f"{name:24}{took / STEPS:10.1f} us a step" for name, took in figures.items()]
    longest = sorted(gaps.items(), key=lambda gap: -sum(gap[1]))[:GAPS]
    lines += [
        f"idle {sum(some) / STEPS:8.1f} us a step in {len(some)} gaps: {before} -> {after}"
        for (before, after), some in longest
    ]
    return "\n".join(lines)
