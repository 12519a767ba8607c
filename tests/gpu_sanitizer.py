"""One small problem for every plan and type of row, whole and ragged: what `gpu_sanitizer.sh` watches."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from long_convolutions import BARS, Inputs, Problem, differentiated, error, faults, gradients_through, truth
from packed_rows import differentiated as packed_gradients
from packed_rows import faults_of_rows, spans_of, truths
from torch import Tensor

from genoconv.gpu.targets import local_card
from genoconv.ops import FrequencyMask, fftconv, fftconv_sparse
from genoconv.ops.longconv import regimes
from genoconv.ops.longconv.chunked import launches as chunked
from genoconv.ops.longconv.fused import plan_of
from genoconv.ops.longconv.one_sm import launches as cuda
from genoconv.ops.longconv.one_sm.plan import OneSm, OneSmPlan
from genoconv.ops.longconv.one_sm.shares import Shares
from genoconv.ops.longconv.regimes import plan_on
from genoconv.ops.longconv.three_pass.plan import ThreePassPlan

shares_of_a_plan = cuda._shares
sizes_of_chunks = chunked.sizes
SIZES_OF_CHUNKS = (4096, 8192, 16384, 32768)


def shares(plan: OneSmPlan, batches: int, channels: int) -> Shares:
    """As the plan has it, but for long rows two blocks to a channel, as only larger problems have them."""
    if plan.span == 1 or batches <= plan.backward_block.rows:
        return shares_of_a_plan(plan, batches, channels)
    return Shares(2 * channels, 1, 2)


def problems() -> Iterator[Problem]:
    """Of few channels; and where that is not too much to watch, of more than all blocks have at first."""
    for turn, size in enumerate(OneSm().sizes(local_card(0))):
        gates = {"gate_in": turn % 3 != 2, "gate_out": turn % 3 != 1}
        for ragged in (False, True):
            dtype = (torch.bfloat16, torch.float16)[(turn + ragged) % 2]
            # One row more than a step takes, and a batch that is cut into slices; of long rows two or three steps.
            rows = max(16 * 1024 // size, 1) + 1 + (size > 4096)
            yield Problem(size - 3 * ragged, B=rows, H=2, dtype=dtype, **gates)
        if size in (256, 4096, 8192):
            plan = plan_on(size, "bfloat16", 0)
            yield Problem(size, B=1, H=plan.card.sm_count * plan.filter_block.per_sm * plan.filter_block.rows + 3)
    yield from long_problems()


def long_problems() -> Iterator[Problem]:
    """Of long rows: columns of one step with one to four tiles of 16, and of two; whole, ragged; partial filters."""
    for turn, N in enumerate((40_000, 131_069, 196_608, 262_143, 458_752, 655_360)):
        gates = {"gate_in": turn % 3 != 2, "gate_out": turn % 3 != 1}
        yield Problem(N, B=1 + turn % 2, H=2, dtype=(torch.bfloat16, torch.float16)[turn % 2], **gates)
    for turn, K in enumerate((4000, 8192, 16_384, 32_768)):
        yield Problem(100_000 - turn, B=1, H=2, K=K, dtype=(torch.bfloat16, torch.float16)[turn % 2])


def without_gradients(x: Inputs) -> Tensor:
    """y alone, which other kernels may make: of halves, of pairs of chunks for partial filters."""
    return fftconv(x.u, x.k, D=x.D, gate_in=x.gate_in, gate_out=x.gate_out, backend="cuda")


def half_of_the_frequencies(x: Inputs, *, check: bool) -> Iterator[str]:
    """Filters without half of their frequencies, with gradients, where columns can be cut so; what is off."""
    plan = plan_of(x.u).whole
    if x.k.shape[1] < x.u.shape[-1] or not isinstance(plan, ThreePassPlan) or plan.sparse(2, 0) is None:
        return
    convolve = partial(fftconv_sparse, keep=FrequencyMask((True, False), interleaved=True))
    got = gradients_through(partial(convolve, backend="cuda"), x)
    # Few lines even out little; the skip's gradient is a sum in fp32.
    bars = {"dD": BARS[torch.float32]}
    for name, want in gradients_through(convolve, x.double()).items() if check else ():
        if not error(got[name], want) <= bars.get(name, 1.5 * BARS[x.u.dtype]):
            yield f"{name} without half of the frequencies is off"


def packed_rows(*, check: bool) -> Iterator[str]:
    """Rows of different lengths in chunks of every size; what is off."""
    for turn, points in enumerate(SIZES_OF_CHUNKS):
        dtype = (torch.bfloat16, torch.float16)[turn % 2]
        like = torch.empty(1, 1, 1, dtype=dtype, device="cuda")
        if points not in sizes_of_chunks(like):
            continue
        chunked.sizes = lambda _, points=points: (points,)  # type: ignore[misc, assignment]
        spans = spans_of((2 * points + 5, points, 100))
        x = Problem(spans[-1][1], B=1, H=2, K=spans[0][1], dtype=dtype, gate_in=turn != 1).inputs("cuda")
        got = packed_gradients(x, [0, *(stop for _, stop in spans)], backend="cuda")
        yield from faults_of_rows(got, truths(x, spans), spans) if check else ()
        print("packed", points, flush=True)


def main(*, check: bool, long_only: bool) -> int:
    """Run them all; ``check`` compares with float64, which would be slow to watch. Returns the exit code."""
    cuda._shares = shares
    wrong = 0
    every = list(long_problems() if long_only else problems())
    clustered = [x for x in every if x.K is None and plan_on(x.N, "bfloat16", 0).regime == "cluster"]
    # Those once more by three passes, as GPUs without clusters have them.
    for number, problem in enumerate((*every, *(replace(x, dtype=torch.bfloat16) for x in clustered))):
        if number == len(every):
            regimes.REGIMES = tuple(regime for regime in regimes.REGIMES if regime.name != "cluster")
            plan_on.cache_clear()
        x = problem.inputs("cuda")
        got = differentiated(x, backend="cuda")
        long = OneSm().sizes(local_card(0))[-1] < problem.N
        alone = without_gradients(x) if long else None
        # float16 rows, bar 9e-4: 9.4e-4 measured in y in halves and by clusters, 1.1e-3 in dk of three passes.
        of_y, of_gradients = (1.05, 1.25) if long and x.u.dtype is torch.float16 else (1.0, 1.0)
        found = faults(got, x, leniency=of_gradients) if check else []
        if check and alone is not None and not error(alone, truth(x)["y"]) <= of_y * BARS[x.u.dtype]:
            found.append("y without gradients is off")
        found += half_of_the_frequencies(x, check=check)
        print(problem, *found, flush=True)
        wrong += len(found)
    for fault in packed_rows(check=check):
        print(fault, flush=True)
        wrong += 1
    torch.cuda.synchronize()
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(check="check" in sys.argv[1:], long_only="long" in sys.argv[1:]))
