"""The whole of ``genoconv plan``: predictions for a workload on a GPU, and advice."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from genoconv.errors import ModelError, UsageError
from genoconv.models.config import MAX_LENGTH_LIMIT, preset
from genoconv.pipelines.plan.cards import GIB, Accelerator, accelerator, local_accelerator
from genoconv.pipelines.plan.costs import SAFE, Prediction, Workload, predict, workload
from genoconv.pipelines.plan.options import PlanOptions
from genoconv.wording import count

_SHORTER = (1 << 17, 1 << 15)
"""Taps that are suggested where filters as long as the window are what costs."""


@dataclass(frozen=True)
class Plan:
    """What was predicted.

    Attributes:
        on: the GPU.
        ways: one prediction for a forward pass; for training one without and one with checkpointing.
        advice: sentences, the most important first.
    """

    on: Accelerator
    ways: tuple[Prediction, ...]
    advice: tuple[str, ...]

    def fits(self, way: Prediction) -> bool:
        """Whether it should run."""
        return fits(way, self.on)

    def figures(self) -> dict[str, Any]:
        """The prediction in plain values: bytes and seconds."""
        return {
            "gpu": {"name": self.on.title, "memory_bytes": self.on.memory, "measured": self.on.measured},
            "parameters": self.ways[0].workload.parameters,
            "taps": self.ways[0].workload.taps,
            "convolution": {"regime": self.ways[0].convolution.regime, "points": self.ways[0].convolution.points},
            "ways": [
                {
                    "checkpointing": way.workload.checkpointing,
                    "fits": self.fits(way),
                    "bytes": way.bytes,
                    "seconds": way.time,
                    "tokens_per_second": way.tokens_per_second,
                    "bytes_by_part": way.memory,
                    "seconds_by_part": way.seconds,
                }
                for way in self.ways
            ],
            "advice": self.advice,
        }

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def plan(options: PlanOptions) -> Plan:
    """Predict memory and time.

    Raises:
        UsageError: unknown preset or GPU, or a length that no model has.
    """
    on = accelerator(options.gpu) if options.gpu else local_accelerator()
    work = _workload(options)
    ways = [predict(work, on)]
    if options.train:
        ways.append(predict(replace(work, checkpointing=True), on))
    return Plan(on, tuple(ways), tuple(_advice(ways, on)))


def fits(way: Prediction, on: Accelerator) -> bool:
    """Whether a prediction leaves the GPU some memory."""
    return way.bytes <= SAFE * on.memory


def _workload(options: PlanOptions) -> Workload:
    sizes = preset(options.preset)
    length, taps = options.length, options.filter_length
    if taps is not None and taps > length:
        raise UsageError(f"--filter-length {taps:,} exceeds --length {length:,}: choose at most that")
    if taps is None and length > MAX_LENGTH_LIMIT:
        raise UsageError(
            f"--length {length:,}: filters as long as the window are limited to {MAX_LENGTH_LIMIT:,} taps; add"
            " --filter-length"
        )
    # Windows may be of any length where filters are shorter; the record of sizes ends at the limit of filters.
    try:
        config = replace(sizes, max_length=max(2, min(length, MAX_LENGTH_LIMIT)), filter_length=taps or 0)
    except ModelError as error:
        raise UsageError(str(error)) from error
    return workload(
        config, length=length, batch=options.batch_size, train=options.train, bf16=options.precision == "bf16"
    )


def _advice(ways: list[Prediction], on: Accelerator) -> Iterator[str]:
    work = ways[0].workload
    fitting = [way for way in ways if fits(way, on)]
    if not fitting:
        yield from _when_nothing_fits(ways, on)
    elif fitting[0].workload.checkpointing:
        yield "checkpointing is needed; genoconv train switches it on by itself (run.activation_checkpointing)"
    if fitting:
        largest = _largest(lambda n: predict(replace(fitting[0].workload, batch=n), on), on)
        if largest > work.batch:
            yield f"a batch of up to {largest:,} fits"
    best = fitting[0] if fitting else ways[-1]
    if not work.bf16:
        faster = predict(replace(best.workload, bf16=True), on)
        yield f"bf16 would take {_gib(faster.bytes)}, {_time(faster.time)}"
    for taps in _SHORTER:
        if taps < work.taps:
            config = replace(work.config, filter_length=taps)
            shorter = predict(replace(best.workload, config=config), on)
            if shorter.time < 0.8 * best.time or shorter.bytes < 0.8 * best.bytes:
                takes = f"{_gib(shorter.bytes)}, {_time(shorter.time)}"
                yield f"filters of {taps:,} taps would take {takes} (--filter-length {taps})"
    if not on.measured:
        yield f"predictions were fitted on an H200; those for {on.title} are scaled from its bandwidth and matrix rate"


def _when_nothing_fits(ways: list[Prediction], on: Accelerator) -> Iterator[str]:
    smallest = ways[-1].workload
    if smallest.batch > 1:
        largest = _largest(lambda n: predict(replace(smallest, batch=n), on), on)
        if largest:
            yield f"too large: the largest batch that fits is {largest:,}"
            return
    longest = _largest(lambda n: predict(replace(smallest, batch=1, length=n * 1000), on), on)
    how = " with checkpointing" if smallest.checkpointing else ""
    yield f"too long for this GPU: windows of up to {longest * 1000:,} bases fit, one at a time{how}"
    if not smallest.train:
        yield "embed reads longer sequences in pieces: --max-length"


def _largest(at: Callable[[int], Prediction], on: Accelerator) -> int:
    """The largest number for which the prediction fits; 0 if not even one does."""
    low, high = 0, 1
    while high < 1 << 22 and fits(at(high), on):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(at(middle), on) else (low, middle)
    return low


def _lines(found: Plan) -> Iterator[str]:
    first = found.ways[0]
    work, conv, config = first.workload, first.convolution, first.workload.config
    what = "training step" if work.train else "forward pass"
    yield (
        f"{what} of {work.batch} x {work.length:,} bases, {'bf16' if work.bf16 else 'float32'}, on {found.on.title}"
        f" ({found.on.memory / GIB:.0f} GiB)"
    )
    yield f"model: {count(config.n_layer, 'layer')} of width {config.d_model}, {work.parameters:,} parameters"
    yield f"filters: {count(work.taps, 'tap')}; convolution: {conv.regime}, transforms of {conv.points:,} points"
    yield ""
    yield f"{'':16}{'memory':>12}{'time':>12}{'tokens/s':>12}"
    for way in found.ways:
        name = "checkpointing" if way.workload.checkpointing else "plain"
        note = "" if found.fits(way) else "  does not fit"
        rate = f"{way.tokens_per_second / 1e6:.2f} M"
        yield f"{name:16}{_gib(way.bytes):>12}{_time(way.time):>12}{rate:>12}{note}"
    yield ""
    chosen = next((way for way in found.ways if found.fits(way)), found.ways[-1])
    for title, parts, show in (("memory", chosen.memory, _gib), ("time", chosen.seconds, _time)):
        yield f"{title}: " + ", ".join(f"{name} {show(value)}" for name, value in parts.items())
    for sentence in found.advice:
        yield f"* {sentence}"


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.1f} ms"
