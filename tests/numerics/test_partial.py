"""Filters much shorter than their rows: the chunks give what one transform of the whole row gives."""

from dataclasses import replace
from unittest import mock

import pytest
import torch
from long_convolutions import Problem, differentiated, error, faults
from torch import Tensor

from genoconv.gpu.targets import card_of
from genoconv.ops import fftconv, prepare_filter
from genoconv.ops.longconv import conv
from genoconv.ops.longconv.overlap_save import operator, through_torch
from genoconv.ops.longconv.overlap_save.plan import Chunks, choose_chunks, shares_of
from genoconv.ops.longconv.regimes import pair_sizes


def in_chunks(points: int, overlap: int, *, taps: int, length: int) -> "mock._patch[object]":
    """The public operator, made to use these chunks."""
    return mock.patch.object(conv, "choose_chunks", return_value=Chunks(length, taps, points, overlap))


# N, K, points, overlap: the last chunk short, full, of one position; chunks that own less than they overlap; K = 1.
CUTS = [(1000, 60, 256, 64), (960, 65, 256, 64), (961, 50, 256, 64), (700, 200, 256, 208), (300, 1, 64, 0)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("N", "K", "points", "overlap"), CUTS)
def test_chunks_are_the_convolution_and_its_gradients(
    N: int, K: int, points: int, overlap: int, dtype: torch.dtype
) -> None:
    for problem in (Problem(N, K=K, B=3, H=5, dtype=dtype), Problem(N, K=K, gate_in=False, skip=False, dtype=dtype)):
        x = problem.inputs()
        with in_chunks(points, overlap, taps=K, length=N):
            assert not faults(differentiated(x, backend="torch"), x, leniency=1.3)


@pytest.mark.parametrize("gates", [(True, True), (False, True), (True, False)], ids=str)
def test_gradients_agree_with_finite_differences(gates: tuple[bool, bool]) -> None:
    x = Problem(24, B=1, H=2, K=5, gate_in=gates[0], gate_out=gates[1]).inputs().double()
    with in_chunks(16, 8, taps=5, length=24):

        def run(u: Tensor, k: Tensor, D: Tensor, *rest: Tensor) -> Tensor:
            named = dict(zip([n for n in ("gate_in", "gate_out") if getattr(x, n) is not None], rest, strict=True))
            return fftconv(u, k, D=D, **named)

        leaves = [v.requires_grad_() for v in (x.u, x.k, x.D, x.gate_in, x.gate_out) if v is not None]
        assert torch.autograd.gradcheck(run, leaves)


def test_only_the_gradients_that_are_wanted_are_made() -> None:
    x = Problem(1000, K=60, dtype=torch.float32).inputs()
    assert x.gate_out is not None
    with in_chunks(256, 64, taps=60, length=1000):
        y = fftconv(x.u, x.k, D=x.D, gate_in=x.gate_in, gate_out=x.gate_out.requires_grad_())
        with mock.patch.object(through_torch, "backward", side_effect=AssertionError):
            y.backward(x.dy)
    assert x.u.grad is None
    assert x.gate_out.grad is not None


def test_the_operator_chooses_chunks_by_itself_where_the_filter_is_much_shorter() -> None:
    x = Problem(400_000, B=1, H=1, K=1000, dtype=torch.float32).inputs()
    with mock.patch.object(operator, "fftconv", wraps=operator.fftconv) as chunked:
        got = differentiated(x, backend="auto")
    assert chunked.called
    assert not faults(got, x)
    full = replace(x, k=torch.nn.functional.pad(x.k, (0, 399_000)))
    with mock.patch.object(operator, "fftconv", side_effect=AssertionError):
        assert error(got["y"], fftconv(full.u, full.k, D=x.D, gate_in=x.gate_in, gate_out=x.gate_out).double()) < 1e-6


def test_a_prepared_filter_serves_chunks() -> None:
    x = Problem(1000, B=2, H=3, K=60, dtype=torch.float32).inputs()
    kept = prepare_filter(x.k, 1000, D=x.D)
    u = x.u.clone().requires_grad_()
    with in_chunks(256, 64, taps=60, length=1000), mock.patch.object(through_torch, "transform") as again:
        y = fftconv(u, kept, gate_in=x.gate_in, gate_out=x.gate_out)
        y.backward(x.dy)
    assert not again.called
    want = differentiated(x, backend="torch")
    assert error(y.detach(), want["y"].double()) < 1e-6
    assert u.grad is not None
    assert error(u.grad, want["du"].double()) < 1e-6


def test_strided_rows_and_rows_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(through_torch, "_CPU_VALUES", 3 * 256)
    x = Problem(1000, B=2, H=5, K=60, dtype=torch.float32).inputs()
    turned = x.u.transpose(1, 2).contiguous().transpose(1, 2)
    with in_chunks(256, 64, taps=60, length=1000):
        got = differentiated(replace(x, u=turned), backend="torch")
    assert not faults(got, x)


def test_torch_compile_sees_one_operator() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(fftconv, fullgraph=True, backend="eager")
    x = Problem(400_000, B=1, H=1, K=1000, dtype=torch.float32, gate_in=False, gate_out=False).inputs()
    torch.testing.assert_close(compiled(x.u, x.k, D=x.D), fftconv(x.u, x.k, D=x.D))


KERNELS = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


def test_when_chunks_are_chosen() -> None:
    assert choose_chunks(2_400_000, taps=2_400_000) is None
    assert choose_chunks(2_400_000, taps=1_200_001) is None
    assert choose_chunks(1000, taps=1) is None, "a short row"
    chosen = choose_chunks(2_400_000, taps=32_768)
    assert chosen is not None
    assert (chosen.fused, chosen.overlap) == (False, 32_768)
    assert chosen.points < 2**19
    chosen = choose_chunks(200_000, taps=2000, sizes=KERNELS)
    assert chosen is not None
    assert (chosen.fused, chosen.points) == (True, 8192)
    assert choose_chunks(32768, taps=100, sizes=KERNELS) is None, "one launch does it"
    longer = (*KERNELS, 65536, 131072, 262144, 2621440)
    assert choose_chunks(2_400_000, taps=32_768, sizes=longer) is not None
    assert choose_chunks(2_400_000, taps=32_768, sizes=longer, gradients=True) is None, "overlapping: 67 ms, not 51"
    assert choose_chunks(2_400_000, taps=2000, sizes=longer, gradients=True) is not None
    assert choose_chunks(200_000, taps=40_000, sizes=KERNELS) is None, "no kernel holds a filter of that length"


def test_pairs_of_chunks_need_no_overlap() -> None:
    pairs = (4096, 8192, 16384, 32768)
    assert pair_sizes(card_of("sm_90")) == pair_sizes(card_of("sm_90"), gradients=True) == pairs
    assert pair_sizes(card_of("sm_90"), dtype="float16", gradients=True) == (4096, 16384, 32768)
    for taps, points in ((32_768, 32_768), (20_000, 32_768), (9000, 16_384)):
        chosen = choose_chunks(2_400_000, taps=taps, sizes=(*KERNELS, 2_621_440), pairs=pairs)
        assert chosen is not None
        assert (chosen.paired, chosen.points, chosen.step) == (True, points, points)
    assert "each joined with the one before it" in chosen.explain()
    for taps in (2000, 32_768):
        trained = choose_chunks(2_400_000, taps=taps, sizes=(*KERNELS, 2_621_440), pairs=pairs, gradients=True)
        assert trained is not None
        assert trained.paired
    longer = choose_chunks(2_400_000, taps=32_769, sizes=(*KERNELS, 262_144, 2_621_440), pairs=pairs)
    assert longer is None or not longer.paired


@pytest.mark.parametrize("chunks", [Chunks(1000, 60, 256, 64), Chunks(961, 50, 256, 64), Chunks(700, 200, 256, 208)])
def test_every_position_has_one_owner_and_all_that_it_needs(chunks: Chunks) -> None:
    for spans in (list(chunks.forward()), list(chunks.backward())):
        assert [n for span in spans for n in range(span.first, span.last)] == list(range(chunks.length))
        assert all(span.stop - span.start <= chunks.points for span in spans)
        assert len(spans) == chunks.count
    for span in chunks.forward():
        assert span.start <= max(0, span.first - chunks.taps + 1)
    for span in chunks.backward():
        assert span.stop >= min(chunks.length, span.last + chunks.taps - 1)


def test_shares_of_the_kernel_of_gradients() -> None:
    assert shares_of(74, channels=256, blocks=132, most=16) == 1, "two rounds of nearly all blocks"
    few = shares_of(74, channels=16, blocks=132, most=1000)
    assert 6 <= few <= 8, "so that every block has work"
    assert shares_of(74, channels=16, blocks=132, most=2) == 2, "no room for more sums"
    assert shares_of(3, channels=1, blocks=132, most=1000) == 3
