"""Frequency-sparse filters: against the specification, and what a mask does to a filter."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from long_convolutions import Problem, error, truth
from torch import Tensor

from genoconv.errors import KernelError, UsageError
from genoconv.gpu.targets import card_of
from genoconv.ops import FrequencyMask, choose_mask, fftconv_sparse, fftconv_stream, prepare_filter, sparsity_error
from genoconv.ops.longconv import conv, reference, sparse
from genoconv.ops.longconv.regimes import choose_plan

CPU = torch.device("cpu")
ALL = FrequencyMask((True,) * 16)
LOW = FrequencyMask(tuple(b < 3 or b > 12 for b in range(16)))


def test_with_every_block_it_is_the_dense_convolution() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        x = Problem(1000, K=700, B=2, H=3, dtype=dtype).inputs()
        y = fftconv_sparse(x.u, x.k, ALL, D=x.D, gate_in=x.gate_in, gate_out=x.gate_out)
        assert y.dtype == dtype
        assert error(y, truth(x)["y"]) <= (1e-5 if dtype == torch.float32 else 2.3e-3)


def test_dropped_blocks_are_zeros_in_the_specification() -> None:
    """T in Monarch order, as the kernels hold it: a block is one value of the digit that comes out last."""
    plan = SimpleNamespace(size=256, radices=(16, 16))
    x = Problem(256, B=2, H=3, dtype=torch.float32, gate_in=False, gate_out=False, skip=False).inputs().double()
    digit = torch.arange(256).view(16, 16)  # place (f1, f2) holds f = f1 + 16 f2
    place = (digit % 16) * 16 + digit // 16
    order = torch.empty(256, dtype=torch.long)
    order[place.flatten()] = digit.flatten()
    dropped = ~LOW.flags(256, torch.device("cpu"))[order]
    spectrum = reference.transform(x.k, plan).masked_fill(dropped, 0)
    want = reference.inverse(reference.transform(x.u, plan) * spectrum, plan)
    torch.testing.assert_close(fftconv_sparse(x.u, x.k, LOW), want, rtol=1e-9, atol=1e-9)


def test_gradients() -> None:
    x = Problem(40, B=1, H=2, K=20).inputs().double()
    leaves = [v.requires_grad_() for v in (x.u, x.k, x.D, x.gate_in, x.gate_out) if v is not None]

    def run(u: Tensor, k: Tensor, D: Tensor, gate_in: Tensor, gate_out: Tensor) -> Tensor:
        return fftconv_sparse(u, k, LOW, D=D, gate_in=gate_in, gate_out=gate_out)

    assert torch.autograd.gradcheck(run, leaves)


def test_dropped_frequencies_get_no_gradient() -> None:
    """The gradient of k is what comes back of a spectrum whose dropped blocks are zero."""
    k = torch.randn(2, 64, dtype=torch.float64, requires_grad=True)
    u, dy = torch.randn(2, 1, 2, 64, dtype=torch.float64)
    fftconv_sparse(u, k, LOW).backward(dy)
    products = (sparse.transform(u, 64).conj() * sparse.transform(dy, 64)).sum(0)
    want = sparse.inverse(products * LOW.flags(64, k.device), 64).real
    torch.testing.assert_close(k.grad, want)
    assert not torch.allclose(want, sparse.inverse(products, 64).real, rtol=0.1)


def smooth_filter(H: int = 3, N: int = 1024) -> Tensor:
    """Of low frequencies: what slow decay makes."""
    t = torch.arange(N) / N
    return torch.stack([torch.exp(-(3 + h) * t) * torch.cos(2 * torch.pi * (5 + h) * t) for h in range(H)])


def test_the_mask_keeps_where_the_energy_is() -> None:
    k = smooth_filter()
    mask = choose_mask(k, 1024, sparsity=0.75)
    assert str(mask) == "++------------++"
    assert mask.sparsity == 0.75
    band = k * torch.cos(torch.pi * 0.5 * torch.arange(1024))  # moved to a quarter of the sampling rate
    assert str(choose_mask(band, 1024, sparsity=0.75)) in ("---++------++---", "--++--------++--")
    assert choose_mask(k, 1024, sparsity=0.0) == ALL
    assert str(choose_mask(k, 1024, sparsity=0.99)) == "+--------------+"


def test_the_error_is_what_the_convolution_shows() -> None:
    k = smooth_filter()
    exact = sparsity_error(k, 1024, ALL)
    assert exact.filter < 1e-12
    assert exact.lookahead < 1e-12
    low, lower = (sparsity_error(k, 1024, choose_mask(k, 1024, sparsity=s)) for s in (0.5, 0.875))
    assert 0 < low.filter < lower.filter < 1
    # An impulse in the middle shows taps after it and what looks ahead before it.
    u = torch.zeros(1, 3, 1024)
    u[..., 512] = 1
    mask = choose_mask(k, 1024, sparsity=0.875)
    before = fftconv_sparse(u, k, mask)[..., :512]
    assert 0 < float(before.norm() / k.norm()) <= 1.01 * lower.lookahead
    assert float(before.norm() / k.norm()) > 0.5 * lower.lookahead


def test_a_prepared_filter_keeps_its_mask() -> None:
    x = Problem(1000, K=700, B=2, H=3, dtype=torch.float32).inputs()
    kept = prepare_filter(x.k, 1000, D=x.D, keep=LOW)
    for N in (1000, 400):
        rows = [None if v is None else v[..., :N] for v in (x.u, x.gate_in, x.gate_out)]
        assert rows[0] is not None
        y = conv.fftconv(rows[0], kept, gate_in=rows[1], gate_out=rows[2])
        want = fftconv_sparse(rows[0], x.k[:, :N], LOW, D=x.D, gate_in=rows[1], gate_out=rows[2])
        torch.testing.assert_close(y, want, rtol=1e-4, atol=1e-4)


def test_where_a_sparse_filter_cannot_serve() -> None:
    kept = prepare_filter(torch.ones(1, 8), 8, keep=LOW)
    with pytest.raises(KernelError, match="need CUDA tensors"):
        conv.fftconv(torch.ones(1, 1, 8), kept, backend="cuda")
    with pytest.raises(UsageError, match="looks ahead"):
        fftconv_stream(torch.ones(1, 1, 8), kept)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ((False,) * 4, "at least one pair"),
        ((True, False, False, False), r"\+--- is not symmetric"),
        ((2, 0, 0, 2), r"kept is '\(2, 0, 0, 2\)'; it must have True or False for each block"),
        ("+--+", "kept is '\\+--\\+'; it must have"),
        (None, "kept is 'None'; it must have"),
    ],
)
def test_masks_that_cannot_be(kept: tuple[bool, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FrequencyMask(kept)


def test_a_mask_holds_flags_whatever_they_came_in() -> None:
    for kept in ([True, False, False, True], (1, 0, 0, 1), torch.tensor([True, False, False, True])):
        mask = FrequencyMask(kept)  # type: ignore[arg-type]
        assert mask == FrequencyMask((True, False, False, True))
        assert hash(mask) == hash(FrequencyMask((True, False, False, True)))


def test_a_filter_of_zeros_has_no_error() -> None:
    assert sparsity_error(torch.zeros(1, 8), 8, LOW).filter == 0


def test_shares_that_cannot_be() -> None:
    for sparsity in (1.0, -0.5, "half", None):
        with pytest.raises(UsageError, match=f"sparsity is {sparsity!r}; it must be"):
            choose_mask(torch.ones(1, 8), 8, sparsity=sparsity)  # type: ignore[arg-type]
    for blocks in (7, 0, -2, 2.0, None):
        with pytest.raises(UsageError, match=rf"^blocks is {blocks}; it must be an even whole number, at least 2$"):
            choose_mask(torch.ones(1, 8), 8, sparsity=0.5, blocks=blocks)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="keeps one block of 1,048,576, but rows of 8 positions have at most 16"):
        choose_mask(torch.ones(1, 8), 8, sparsity=1 - 2**-20, interleaved=True)
    with pytest.raises(UsageError, match="2,000 blocks, but rows of 1,000 positions have at most 1,000"):
        choose_mask(torch.ones(1, 8), 1000, sparsity=0.5, blocks=2000)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fftconv_sparse(torch.ones(1, 1, 8), torch.ones(1, 8), "++"), "the mask is a str"),
        (
            lambda: fftconv_sparse(torch.ones(1, 1, 8), prepare_filter(torch.ones(1, 8), 8), LOW),
            "k is a FilterSpectrum; it must be a tensor",
        ),
        (lambda: choose_mask(torch.ones(8), 8, sparsity=0.5), r"k must be \(H, K\) with K >= 1; got \(8,\)"),
        (lambda: choose_mask(torch.ones(1, 8), 4, sparsity=0.5), r"got \(1, 8\) for length 4"),
        (lambda: sparsity_error(torch.ones(1, 8), 4, LOW), r"got \(1, 8\) for length 4"),
        (lambda: sparsity_error(torch.ones(1, 8), 8, None), "the mask is a NoneType; it must be a FrequencyMask"),
        (lambda: sparsity_error(torch.ones(1, 8), LOW, 8), "length is FrequencyMask.*; it must be a whole number"),
    ],
)
def test_what_is_not_a_filter_or_a_mask(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


EVERY_FOURTH = FrequencyMask((False, True, False, False), interleaved=True)


def test_interleaved_blocks_are_zeros_in_the_specification() -> None:
    plan = SimpleNamespace(size=256, radices=(16, 16))
    x = Problem(256, B=2, H=3, dtype=torch.float32, gate_in=False, gate_out=False, skip=False).inputs().double()
    place = torch.arange(256)
    frequency = place // 16 + 16 * (place % 16)  # of the specification's places
    spectrum = reference.transform(x.k, plan).masked_fill(frequency % 4 != 1, 0)
    want = reference.inverse(reference.transform(x.u, plan) * spectrum, plan)
    torch.testing.assert_close(fftconv_sparse(x.u, x.k, EVERY_FOURTH), want, rtol=1e-9, atol=1e-9)


def test_gradients_of_interleaved_blocks() -> None:
    x = Problem(40, B=1, H=2, K=20).inputs().double()
    leaves = [v.requires_grad_() for v in (x.u, x.k, x.D) if v is not None]
    assert torch.autograd.gradcheck(lambda u, k, D: fftconv_sparse(u, k, EVERY_FOURTH, D=D), leaves)


def test_a_filter_that_repeats_loses_nothing_with_interleaved_blocks() -> None:
    """Of the filter whose spectrum is the block itself, nothing is dropped; of a decaying one, nearly all."""
    repeating = sparse.inverse(torch.randn(2, 1024, dtype=torch.complex128) * EVERY_FOURTH.flags(1024, CPU), 1024)
    mask = choose_mask(repeating.real, 1024, sparsity=0.75, interleaved=True)
    assert mask == EVERY_FOURTH
    assert mask.sparsity == 0.75
    exact = sparsity_error(repeating.real, 1024, mask)
    assert (
        sparsity_error(
            smooth_filter(), 1024, choose_mask(smooth_filter(), 1024, sparsity=0.75, interleaved=True)
        ).filter
        > 0.5
    )
    assert exact.filter < 1
    assert len(choose_mask(smooth_filter(), 1024, sparsity=0.9, interleaved=True).kept) == 8
    assert choose_mask(smooth_filter(), 1024, sparsity=0.4, interleaved=True).sparsity == 0


@pytest.mark.parametrize("length", [1, 7, 40, 12_289, 65_536, 65_537, 1_000_000, 2**24])
def test_transforms_of_interleaved_blocks_are_those_of_the_kernels(length: int) -> None:
    size = sparse.transform_size(length, 4)
    assert length <= size <= max(32, 1.25 * length)
    assert size % 4 == 0
    if length > 2**15:
        assert size == choose_plan(length, card=card_of("sm_90")).whole.size


def test_interleaved_blocks_are_a_power_of_two() -> None:
    with pytest.raises(UsageError, match="3 interleaved blocks; their number must be a power of two"):
        FrequencyMask((True, False, False), interleaved=True)
