"""Frequency-sparse filters: blocks of a filter's spectrum are set to zero, so they need not be computed.

The spectrum is T(k) of the specification, P complex values at the frequencies (f + 1/4) / P. A mask keeps or drops
whole blocks of them, the same ones for all channels, of one of two kinds:

* *bands* of neighbouring frequencies; a block and its mirror image, which hold the two halves of a real filter's band,
  are kept or dropped together. They suit smooth filters. They are as slow as a dense filter: bands separate only in the
  last stage of a transform, so nearly all of it has to be computed.
* *interleaved* blocks, each of every C-th frequency. The kernels of long rows hold each block in separate lines and
  skip the lines of dropped blocks, with their products, traffic and memory. In time such a filter repeats C times over
  the transform, so it suits filters that repeat; :func:`sparsity_error` measures the error for others.

Dropping frequencies is not causal: a filter without its high frequencies rings before and after every tap, and the part
before the tap lets a position depend on later ones. :func:`sparsity_error` reports how much. Do not compute likelihoods
with a model whose filters look ahead; embeddings of whole sequences may be unaffected.

Source: Fu et al. 2023, FlashFFTConv, https://arxiv.org/abs/2311.05908, section 4.3.
"""

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from genoconv.errors import UsageError
from genoconv.ops.longconv.spectrum import fast_size
from genoconv.ops.precision import full_precision, upcast

BLOCKS = 16
"""Number of blocks into which the last stage of the kernels divides every spectrum."""


@dataclass(frozen=True)
class FrequencyMask:
    """Which blocks of a spectrum are kept.

    Attributes:
        kept: one flag per block, from the lowest frequency to the highest; symmetric, unless interleaved.
        interleaved: whether block b of C holds the frequencies b, b + C, ... (C a power of two) instead of a band.

    Raises:
        UsageError: the flags are not true or false, no block is kept, bands are not symmetric, or the number of
            interleaved blocks is not a power of 2.
    """

    kept: tuple[bool, ...]
    interleaved: bool = False

    def __post_init__(self) -> None:
        flags = list(self.kept) if isinstance(self.kept, Iterable) else [None]
        if not all(flag in (0, 1) for flag in flags):
            raise UsageError(f"kept is {str(self.kept)[:60]!r}; it must have True or False for each block")
        object.__setattr__(self, "kept", tuple(bool(flag) for flag in flags))
        if not any(self.kept):
            raise UsageError("a frequency mask must keep at least one pair of blocks")
        blocks = len(self.kept)
        if self.interleaved:
            if blocks & (blocks - 1):
                raise UsageError(f"{blocks} interleaved blocks; their number must be a power of two")
        elif self.kept != self.kept[::-1]:
            raise UsageError(f"a frequency mask must keep a block with its mirror image; {self} is not symmetric")

    @property
    def sparsity(self) -> float:
        """Fraction of the spectrum that is zero."""
        return 1 - sum(self.kept) / len(self.kept)

    def __str__(self) -> str:
        return "".join("-+"[flag] for flag in self.kept)

    def flags(self, size: int, device: torch.device) -> Tensor:
        """(size,) booleans on ``device`` for a spectrum of ``size`` points, a multiple of the number of blocks."""
        kept, times = torch.tensor(self.kept, device=device), size // len(self.kept)
        return kept.repeat(times) if self.interleaved else kept.repeat_interleave(times)


@dataclass(frozen=True)
class SparsityError:
    """The error of masked filters, relative to their L2 norm, over all channels.

    Attributes:
        filter: error of the taps.
        lookahead: norm of the part that looks ahead, which ``filter`` includes.
    """

    filter: float
    lookahead: float


def choose_mask(
    k: Tensor, length: int, *, sparsity: float, blocks: int = BLOCKS, interleaved: bool = False
) -> FrequencyMask:
    """Choose the mask that keeps the blocks of a trained filter with the most energy.

    Args:
        k: (H, K) filters; all channels have the same weight, whatever their norm.
        length: N, positions of the rows.
        sparsity: fraction of the spectrum to drop, at least 0 and less than 1, rounded down to whole blocks.
        blocks: total number of bands, even. Not used if interleaved: one block is kept, so ``sparsity`` sets it.
        interleaved: whether blocks are interleaved; otherwise they are bands.

    Raises:
        UsageError: an invalid sparsity or number of blocks, or K > length.
    """
    from genoconv.ops.longconv import arguments

    arguments.check_filter(k, length)
    try:
        valid = 0 <= sparsity < 1
    except TypeError:
        valid = False
    if not valid:
        raise UsageError(f"sparsity is {sparsity!r}; it must be at least 0 and less than 1")
    try:
        even = operator.index(blocks) >= 2 and blocks % 2 == 0
    except TypeError:
        even = False
    if not even:
        raise UsageError(f"blocks is {blocks!r}; it must be an even whole number, at least 2")
    if interleaved:
        blocks = 1 << int(math.log2(1 / (1 - sparsity)) + 1e-9)
    if blocks > max(BLOCKS, length):
        given = f"sparsity {sparsity:g} keeps one block of {blocks:,}" if interleaved else f"{blocks:,} blocks"
        raise UsageError(f"{given}, but rows of {length:,} positions have at most {max(BLOCKS, length):,}")
    with torch.no_grad():
        spectrum = transform(upcast(k), transform_size(length, blocks))
        energy = spectrum.abs().square()
        energy = energy.view(len(k), -1, blocks).sum(1) if interleaved else energy.view(len(k), blocks, -1).sum(-1)
        energy = (energy / energy.sum(-1, keepdim=True).clamp(min=torch.finfo(energy.dtype).tiny)).sum(0)
    if interleaved:
        return FrequencyMask(tuple(b == int(energy.argmax()) for b in range(blocks)), interleaved=True)
    pairs = (energy + energy.flip(0))[: blocks // 2]
    count = blocks // 2 - min(blocks // 2 - 1, int(sparsity * blocks / 2))
    best = set(pairs.topk(count).indices.tolist())
    return FrequencyMask(tuple(min(b, blocks - 1 - b) in best for b in range(blocks)))


def sparsity_error(k: Tensor, length: int, keep: FrequencyMask) -> SparsityError:
    """Measure the error that a mask causes in filters.

    Args:
        k: (H, K), any floating type.
        length: N, positions of the rows.
        keep: the blocks of the spectrum to keep.

    Raises:
        UsageError: K > length, or ``k`` or ``keep`` is invalid.
    """
    from genoconv.ops.longconv import arguments

    arguments.check_filter(k, length)
    arguments.check_mask(keep)
    size = transform_size(length, len(keep.kept))
    with torch.no_grad():
        taps = k.double()
        kept = inverse(transform(taps, size) * keep.flags(size, k.device), size)
        # The real part reaches later positions; the imaginary part, which wraps around the end, reaches earlier ones.
        change = torch.nn.functional.pad(taps, (0, size - taps.shape[1])) - kept.real
        norm, ahead = taps.norm().clamp(min=torch.finfo(taps.dtype).tiny), kept.imag.norm()
        return SparsityError(float((change.square().sum() + ahead.square()).sqrt() / norm), float(ahead / norm))


def fftconv_sparse(
    u: Tensor,
    k: Tensor,
    keep: FrequencyMask,
    *,
    D: Tensor | None = None,
    gate_in: Tensor | None = None,
    gate_out: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """:func:`genoconv.ops.fftconv` with the blocks of T(k) that ``keep`` drops set to zero; the skip is not changed.

    A mask with one interleaved block runs on the kernels of long rows, if they support the rows and the block. Masks of
    16, 8, 4 or 2 bands run on the kernels if the filter needs no gradient and N fills the transform. All others run on
    torch.fft, in float32 (float64 for float64 rows).

    Args:
        u: (B, H, N), bfloat16, float16, float32 or float64.
        k: (H, K) float32 (float64 for float64 rows), K <= N.
        keep: the blocks of the spectrum to keep, from :func:`choose_mask`.
        D: (H,), the skip; None means zero.
        gate_in: (B, H, N) like ``u``; None means one.
        gate_out: (B, H, N) like ``u``; None means one.
        backend: as in ``fftconv``.

    Returns:
        (B, H, N) in the type of ``u``. Differentiable in all tensors; dropped frequencies have no gradient.

    Raises:
        UsageError: as ``fftconv``.
        KernelError: ``backend="cuda"``, and the kernels do not support this call.
    """
    from genoconv.ops.longconv import arguments, sparse_kernels  # which import this module for prepared filters

    if not isinstance(k, Tensor):
        raise UsageError(f"k is a {type(k).__name__}; it must be a tensor (pass filters prepared with keep to fftconv)")
    arguments.check(u, k, D, gate_in, gate_out, backend)
    arguments.check_mask(keep)
    served = sparse_kernels.convolve(u, k, keep, D, gate_in, gate_out, backend)
    if served is not None:
        return served
    N = u.shape[-1]
    size = transform_size(N, len(keep.kept))
    with full_precision(u):
        v = upcast(u) if gate_in is None else upcast(u) * upcast(gate_in)
        spectrum = transform(k.to(v.dtype), size) * keep.flags(size, u.device)
        y = inverse(transform(v, size) * spectrum, size).real[..., :N]
        if D is not None:
            y = torch.addcmul(y, v, D.to(v.dtype)[:, None])
        if gate_out is not None:
            y = y * upcast(gate_out)
        result: Tensor = y.to(u.dtype).contiguous()
    return result


def transform_size(length: int, blocks: int) -> int:
    """Points of the transform of rows of ``length`` positions: a size that every FFT library does fast.

    What blocks hold depends on the size, so it is the one that the kernels of long rows have on any GPU, the least of
    4, 5, 6 and 7 times powers of two, if the number of blocks is a power of two as well.
    """
    if not blocks & (blocks - 1):
        least = max(length, 4 * blocks)
        power = least.bit_length() - 3  # 4 << power <= least
        return next(m << power for m in range(4, 9) if m << power >= least)
    return blocks * fast_size(max(1, -(-length // blocks)))


def transform(x: Tensor, size: int) -> Tensor:
    """T(x) of real rows x (..., n), n <= size, in order of frequency: (..., size) complex."""
    spectrum: Tensor = torch.fft.fft(x * _twist(x.shape[-1], size, x), n=size)
    return spectrum


def inverse(spectrum: Tensor, size: int) -> Tensor:
    """The complex rows whose T is this: real parts are what a row keeps, imaginary parts what comes round its end."""
    rows: Tensor = torch.fft.ifft(spectrum, n=size) * _twist(size, size, spectrum.real).conj()
    return rows


def _twist(count: int, size: int, like: Tensor) -> Tensor:
    """exp(-i pi j / 2 size) for j < count: a quarter of a bin."""
    angle = torch.arange(count, dtype=torch.float64, device=like.device) * (-math.pi / (2 * size))
    return torch.polar(torch.ones_like(angle), angle).to(
        torch.complex128 if like.dtype == torch.float64 else torch.complex64
    )
