"""On a GPU: what torch expects of an operator: opcheck, compilation, graphs, streams, threads and several devices."""

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from gpu_kernels import (
    LOW,
    ON_A_GPU,
    gated,
    needs,
    operands,
    plan_of,
)
from long_convolutions import (
    Problem,
    differentiated,
    faults,
)
from torch import Tensor

from genoconv.errors import UsageError
from genoconv.gpu.targets import local_card
from genoconv.ops import fftconv, prepare_filter
from genoconv.ops.longconv import conv
from genoconv.ops.longconv.regimes import reach

pytestmark = [*ON_A_GPU, pytest.mark.usefixtures("poisoned_memory")]


@pytest.mark.parametrize("N", [100, 1024])
def test_opcheck(N: int) -> None:
    x = Problem(N, B=2, H=3).inputs("cuda")
    torch.use_deterministic_algorithms(False)
    torch.library.opcheck(torch.ops.genoconv.fftconv.default, (*operands(x), True))
    torch.library.opcheck(torch.ops.genoconv.fftconv.default, (*operands(x)[:2], None, None, None, True))
    made = plan_of(N, torch.bfloat16).prepare_filter(x.k, x.D)
    prepared = (x.u.clone().requires_grad_(), made.filter, made.scale, N, x.gate_in, None, True)
    torch.library.opcheck(torch.ops.genoconv.fftconv_prepared.default, prepared)


# torch's own code, imported by its compiler, calls what torch deprecates.
torchs_deprecations = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


@torchs_deprecations
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_torch_compile_without_graph_breaks(backend: str) -> None:
    if backend == "inductor":
        pytest.importorskip("triton")
    torch._dynamo.reset()
    for choice in ("cuda", "auto"):
        compiled = torch.compile(partial(fftconv, backend=choice), fullgraph=True, backend=backend)
        for N in (1024, 1000, 700):  # the second length makes N symbolic
            x = Problem(N, B=2, H=4, seed=N).inputs("cuda")
            leaves = operands(x)
            y = compiled(leaves[0], leaves[1], D=leaves[2], gate_in=leaves[3], gate_out=leaves[4])
            found = [y, *torch.autograd.grad(y, leaves, x.dy)]
            want = gated(*leaves)
            assert all(map(torch.equal, found, [want, *torch.autograd.grad(want, leaves, x.dy)]))


@torchs_deprecations
def test_a_prepared_filter_under_torch_compile() -> None:
    x = Problem(1024, B=2, H=4).inputs("cuda")
    kept = prepare_filter(x.k, 1024, D=x.D)
    want = fftconv(x.u, kept, backend="cuda")
    torch._dynamo.reset()
    compiled = torch.compile(lambda u: fftconv(u, kept, backend="cuda"), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x.u), want)


@pytest.mark.parametrize("N", [1000, 16384])
def test_cuda_graphs(N: int) -> None:
    needs(N)
    x = Problem(N, B=2, H=6).inputs("cuda")
    leaves = operands(x)

    def step() -> list[Tensor]:
        y = gated(*leaves)
        return [y, *torch.autograd.grad(y, leaves, x.dy)]

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()  # compiles, loads, brings the tables
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        found = step()
    other = Problem(N, B=2, H=6, seed=1).inputs("cuda")
    with torch.no_grad():
        for leaf, value in zip(leaves, operands(other), strict=True):
            leaf.copy_(value)
        x.dy.copy_(other.dy)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        graph.replay()
        want = step()
    stream.synchronize()
    assert all(map(torch.equal, found, want))


def test_autocast_leaves_the_types_alone() -> None:
    x = Problem(1000, B=2, H=4).inputs("cuda")
    plain = differentiated(x, backend="cuda")
    for dtype in LOW:
        with torch.autocast("cuda", dtype=dtype):
            inside = differentiated(x, backend="cuda")
        assert all(torch.equal(plain[name], inside[name]) for name in plain)


def test_other_streams() -> None:
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(20_000_000)
        x = Problem(2048, B=4, H=64).inputs("cuda")  # made after the sleep: another stream would see nothing of it
        got = differentiated(x, backend="cuda")
    stream.synchronize()
    assert not faults(got, x)


def test_a_thread_that_has_not_met_the_gpu() -> None:
    x = Problem(512, B=2, H=2).inputs("cuda")
    want = differentiated(x, backend="cuda")
    with ThreadPoolExecutor(1) as pool:
        got = pool.submit(differentiated, x, backend="cuda").result()
    assert all(torch.equal(got[name], want[name]) for name in want)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs a second GPU")
def test_a_device_that_is_not_the_current_one() -> None:
    x = Problem(3000, B=4, H=8).inputs("cuda:1")
    assert torch.cuda.current_device() == 0
    assert not faults(differentiated(x, backend="cuda"), x)
    assert torch.cuda.current_device() == 0
    with pytest.raises(UsageError, match="k is on cuda:0, but u is on cuda:1"):
        fftconv(x.u, x.k.to("cuda:0"), backend="cuda")


def test_auto_says_once_what_it_does(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    conv._said.clear()
    monkeypatch.setattr(logging.getLogger("genoconv"), "propagate", True)
    caplog.set_level(logging.INFO, "genoconv")
    k = torch.zeros(1, 4, device="cuda")
    too_long = torch.zeros(1, 1, reach(local_card(0)) + 1, dtype=torch.bfloat16, device="cuda")
    for _ in range(3):
        fftconv(torch.zeros(1, 1, 64, dtype=torch.bfloat16, device="cuda"), k)
        fftconv(too_long, torch.zeros(1, too_long.shape[-1], device="cuda"))  # a shorter filter would run in pieces
        fftconv(torch.zeros(1, 1, 64, device="cuda"), k)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3, said
    assert "fused CUDA kernels" in said[0]
    assert "torch.fft: rows of" in said[1]
    assert "cuFFT" in said[2]
