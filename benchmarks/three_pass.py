"""The three passes of long rows one by one, with and without each way of asking ahead, and the whole convolution.

    PYTHONPATH=. python3 benchmarks/three_pass.py [--lengths 1048576] [--dtypes bfloat16] [--variants before,early]

Needs a GPU. Both gates, filters in the time domain. A pass is timed alone, over all groups of rows on one stream, so
that passes do not overlap as they do in `forward`. Every variant's rows are compared with the first one's: up to
`compact` all should have the same bits, from there on they differ by some 1e-3. `early` is what plans take.
"""

# mypy: disable-error-code="no-untyped-call, no-any-return"

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

os.environ.setdefault("GENOCONV_HOME", str(Path(tempfile.gettempdir()) / "genoconv-benchmark"))

import torch
from torch import Tensor

from genoconv.gpu.cache import compile_all
from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import local_card
from genoconv.ops.longconv.three_pass import launches
from genoconv.ops.longconv.three_pass.column_blocks import ColumnBlock
from genoconv.ops.longconv.three_pass.passes import Passes
from genoconv.ops.longconv.three_pass.plan import ThreePass, ThreePassPlan

SHAPES = (
    (8, 96, 524288),
    (1, 256, 1048576),
    (8, 32, 2097152),
    (1, 32, 4194304),
    (1, 32, 16777216),
)
SWITCHES = ("ahead", "wide", "halved", "crowded", "compact", "early", "filters_ahead")
VARIANTS = {
    "before": (),
    "filters": ("filters_ahead",),
    "halved": ("filters_ahead", "halved"),
    "ahead": ("filters_ahead", "halved", "ahead"),
    "wide": ("filters_ahead", "halved", "ahead", "wide"),
    "compact": ("filters_ahead", "halved", "ahead", "wide", "compact"),
    "early": ("filters_ahead", "halved", "ahead", "wide", "compact", "early"),
    "crowded": SWITCHES,
}
"""Which switches of :class:`ColumnBlock`, and of :class:`ThreePassPlan`, are on."""

# What a variant would change is not in every plan.
_NEEDS: dict[str, Callable[[ThreePassPlan], bool]] = {
    "halved": lambda plan: plan.radix <= 8,
    "wide": lambda plan: 8 < plan.radix <= 32,
    "crowded": lambda plan: plan.radix <= 8,
}


def switch_to(variant: str) -> None:
    """Plans are this variant's from now on."""
    for switch in SWITCHES:
        setattr(ThreePassPlan if switch == "filters_ahead" else ColumnBlock, switch, switch in VARIANTS[variant])


def kernels(plan: ThreePassPlan, variants: list[str]) -> Iterator[Kernel]:
    """All that is measured: rows that start on 16 bytes, and filters."""
    for variant in variants:
        switch_to(variant)
        for way in ("columns_in", "columns_out"):
            yield plan.columns(way, dtype=plan.dtype, aligned=True, gated=True)
        yield plan.columns("columns_in", dtype="float32", aligned=True)
        yield from (plan.line_kernel(name) for name in ("lines", "line_spectra"))


def milliseconds(run: Callable[[], object], *, calls: int) -> float:
    """Median of ``calls`` calls, each between two events on the stream, after two more."""
    run(), run()
    pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(calls)]
    for begin, end in pairs:
        begin.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(begin.elapsed_time(end) for begin, end in pairs)


def measure(plan: ThreePassPlan, inputs: tuple[Tensor, ...], *, calls: int) -> tuple[dict[str, float], Tensor]:
    """Milliseconds of each pass, of the filters and of all, and the rows."""
    u, k, D, gate_in, gate_out = inputs
    B, H, _ = u.shape
    spectrum = launches.prepare_filter(plan, k, D)
    passes, y = Passes(plan, u), torch.empty_like(u)
    at_once, ranges = plan.rows_at_once(B * H), passes.zeros(B * H, 2)
    workspace = passes.workspace(at_once)
    stream = torch.cuda.current_stream().cuda_stream
    steps = {
        "columns_in": passes.columns_in(u, gate_in, workspace, ranges),
        "lines": passes.lines(workspace, spectrum, ranges, batches=B),
        "columns_out": passes.columns_out(y, gate_out, workspace[0], spectrum.scale, ranges),
    }

    def over_all(name: str) -> None:
        for first in range(0, B * H, at_once):
            steps[name](first, min(at_once, B * H - first), stream)

    found = {name: milliseconds(lambda name=name: over_all(name), calls=calls) for name in steps}  # type: ignore[misc]
    found["filters"] = milliseconds(lambda: launches.prepare_filter(plan, k, D), calls=calls)

    def forward() -> Tensor:
        return launches.forward(plan, u, launches.prepare_filter(plan, k, D), gate_in, gate_out)

    found["forward"] = milliseconds(forward, calls=calls)
    return found, forward()


def difference(y: Tensor, wanted: Tensor) -> float:
    """Relative L2 difference of the first row."""
    a, b = y[0, 0].double(), wanted[0, 0].double()
    return float((a - b).norm() / b.norm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lengths", help="comma-separated; default: all")
    parser.add_argument("--dtypes", default="bfloat16")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--calls", type=int, default=7, help="of which the median is taken")
    arguments = parser.parse_args()
    card, dtypes = local_card(0), arguments.dtypes.split(",")
    shapes = [shape for shape in SHAPES if not arguments.lengths or str(shape[2]) in arguments.lengths.split(",")]
    plans = {
        (N, dtype): ThreePass().plan(N, N, filter_length=N, dtype=dtype, card=card)
        for *_, N in shapes
        for dtype in dtypes
    }
    chosen = {
        key: [v for v in arguments.variants.split(",") if v not in _NEEDS or _NEEDS[v](plan)]
        for key, plan in plans.items()
    }
    compile_all({k for key, plan in plans.items() for k in kernels(plan, chosen[key])}, arch=card.arch)
    for B, H, N in shapes:
        for dtype in dtypes:
            draw = partial(torch.randn, generator=torch.Generator("cuda").manual_seed(N), device="cuda")
            rows = [draw((B, H, N), dtype=getattr(torch, dtype)) for _ in range(3)]
            k, D = draw((H, N)) / N**0.5, draw(H)
            inputs = (rows[0], k, D, rows[1], rows[2])
            wanted = None
            for variant in chosen[N, dtype]:
                switch_to(variant)
                found, y = measure(plans[N, dtype], inputs, calls=arguments.calls)
                wanted = y if wanted is None else wanted
                same = "same bits" if torch.equal(y, wanted) else f"differs by {difference(y, wanted):.1e}"
                figures = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
                print(f"{dtype} {B}, {H}, {N} {variant:<8} {figures}; {same}", flush=True)
            del inputs, rows, k, D, wanted, y


if __name__ == "__main__":
    main()
