"""Rows of different lengths in chunks that share a launch."""

import pytest
import torch
from gpu_kernels import GATES, ON_A_GPU
from long_convolutions import BARS, Inputs, Problem, error, truth
from packed_rows import differentiated, faults_of_rows, rows_of, spans_of, truths

from genoconv.ops import fftconv_packed, prepare_filter
from genoconv.ops.longconv import packed
from genoconv.ops.longconv.chunked import launches
from genoconv.ops.longconv.packed import convolve_spans

pytestmark = ON_A_GPU

SIZES = (4096, 8192, 16384, 32768)
GENES = (77, 107, 436, 1074, 4479, 9099, 13_878, 18_757, 21_995, 33_358, 36_994, 48_669, 64_604, 97_633, 137_344)


def lengths_for(points: int) -> tuple[int, ...]:
    """Of three chunks, of one, of a few positions, of one more than whole chunks."""
    return (2 * points + points // 2 + 3, points, 1, 77, points + 1, 2 * points, points - 8)


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("points", SIZES)
def test_rows_in_chunks_are_rows_and_so_are_their_gradients(
    points: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [size for size in launches.sizes(torch.empty(1, 1, 1, dtype=dtype, device="cuda")) if size == points]
    if not sizes:
        pytest.skip("not a size of chunks here")
    monkeypatch.setattr(launches, "sizes", lambda _: (points,))
    monkeypatch.setattr(packed, "_in_batches", None)  # everything has to go through chunks
    spans = spans_of(lengths_for(points))
    for turn, (gate_in, gate_out) in enumerate(GATES):
        problem = Problem(
            spans[-1][1],
            B=1,
            H=(3, 140)[turn % 2],
            K=(spans[0][1], points // 3)[turn // 2],
            dtype=dtype,
            gate_in=gate_in,
            gate_out=gate_out,
            skip=turn != 1,
        )
        x = problem.inputs("cuda")
        got = differentiated(x, [0, *(stop for _, stop in spans)], backend="cuda")
        # Spectra of float16 rows are rounded once more while they wait: 9.1e-4 in du at 16,384.
        leniency = 1.05 if dtype is torch.float16 else 1.0
        assert not faults_of_rows(got, truths(x, spans), spans, leniency=leniency), problem


@pytest.mark.usefixtures("poisoned_memory")
def test_genes_of_real_lengths_repeat_to_the_bit() -> None:
    spans = spans_of(GENES, alignment=16)
    x = Problem(spans[-1][1], B=1, H=9, K=max(GENES)).inputs("cuda")
    y = convolve_spans(x.u, x.k, spans, x.D, x.gate_in, x.gate_out)
    for row, (a, b) in zip(rows_of(x, spans), spans, strict=True):
        assert error(y[..., a:b].contiguous(), truth(row)["y"]) <= BARS[torch.bfloat16]
    bounds = [0, *(stop for _, stop in spans_of(GENES))]
    x = Problem(bounds[-1], B=1, H=300, K=max(GENES)).inputs("cuda")
    first, again = (differentiated(x, bounds, backend="cuda") for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    kept = prepare_filter(x.k, max(GENES), D=x.D)
    with torch.no_grad():
        assert torch.equal(fftconv_packed(x.u, kept, bounds, gate_in=x.gate_in, gate_out=x.gate_out), first["y"])


def test_a_graph_outlives_what_is_kept_of_its_rows() -> None:
    def packed_of(number: int) -> tuple[Inputs, list[int]]:
        """A row in chunks, and more short ones than are worth chunks."""
        bounds = [0, *(stop for _, stop in spans_of((9000 + number, *[300] * 200)))]
        return Problem(bounds[-1], B=1, H=300, K=9000, seed=number).inputs("cuda"), bounds

    x, bounds = packed_of(0)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        want = differentiated(x, bounds, backend="cuda")  # compiles, loads, brings the tables
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        found = differentiated(x, bounds, backend="cuda")
    (other, _), tables = packed_of(1), launches._table.cache_info().maxsize
    assert tables is not None
    for number in range(1, tables + 2):  # other rows take the place of these in every cache
        others = [0, *(stop for _, stop in spans_of((9001 - number, *[300] * 199, 300 + number)))]
        with torch.no_grad():
            fftconv_packed(other.u, other.k[:, :8000], others, backend="cuda")
    # What was given up is written over.
    lost = [torch.full((1 << size,), -1, dtype=torch.int64, device="cuda") for size in range(6, 22) for _ in range(8)]
    with torch.cuda.stream(stream):
        graph.replay()
    stream.synchronize()
    assert lost
    assert all(torch.equal(found[name], value) for name, value in want.items())
