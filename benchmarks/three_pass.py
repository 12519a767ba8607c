"""The three passes of long rows one by one, the transform of their filters, and the whole convolution.

    PYTHONPATH=. python3 benchmarks/three_pass.py [--lengths 1048576] [--dtypes bfloat16,float16]

Needs a GPU. Both gates, filters in the time domain. A pass is timed alone, over all groups of rows on one stream, so
that passes do not overlap as they do in `forward`.
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
from genoconv.ops.longconv.three_pass.passes import Passes
from genoconv.ops.longconv.three_pass.plan import ThreePass, ThreePassPlan

SHAPES = (
    (8, 96, 524288),
    (1, 256, 1048576),
    (8, 32, 2097152),
    (1, 32, 4194304),
    (1, 32, 16777216),
)


def kernels(plan: ThreePassPlan) -> Iterator[Kernel]:
    """All that is measured: rows that start on 16 bytes, and filters."""
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


def measure(plan: ThreePassPlan, inputs: tuple[Tensor, ...], *, calls: int) -> dict[str, float]:
    """Milliseconds of each pass, of the filters and of all."""
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

    def forward() -> Tensor:
        return launches.forward(plan, u, launches.prepare_filter(plan, k, D), gate_in, gate_out)

    found = {name: milliseconds(partial(over_all, name), calls=calls) for name in steps}
    found["filters"] = milliseconds(lambda: launches.prepare_filter(plan, k, D), calls=calls)
    return found | {"forward": milliseconds(forward, calls=calls)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lengths", help="comma-separated; default: all")
    parser.add_argument("--dtypes", default="bfloat16")
    parser.add_argument("--calls", type=int, default=7, help="of which the median is taken")
    arguments = parser.parse_args()
    card, dtypes = local_card(0), arguments.dtypes.split(",")
    shapes = [shape for shape in SHAPES if not arguments.lengths or str(shape[2]) in arguments.lengths.split(",")]
    plans = {
        (N, dtype): ThreePass().plan(N, N, filter_length=N, dtype=dtype, card=card)
        for *_, N in shapes
        for dtype in dtypes
    }
    compile_all({kernel for plan in plans.values() for kernel in kernels(plan)}, arch=card.arch)
    for B, H, N in shapes:
        for dtype in dtypes:
            draw = partial(torch.randn, generator=torch.Generator("cuda").manual_seed(N), device="cuda")
            rows = [draw((B, H, N), dtype=getattr(torch, dtype)) for _ in range(3)]
            k, D = draw((H, N)) / N**0.5, draw(H)
            found = measure(plans[N, dtype], (rows[0], k, D, rows[1], rows[2]), calls=arguments.calls)
            print(f"{dtype} {B}, {H}, {N}", *(f"{name} {value:.3f}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
