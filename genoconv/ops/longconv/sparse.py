"""Frequency-sparse filters: blocks of a filter's spectrum are taken as zero, so that they need not be computed.

The spectrum is T(k) of the specification, P complex values at the frequencies (f + 1/4) / P. A mask keeps or drops
whole blocks of them, the same ones for all channels, of one of two kinds:

* *bands* of neighbouring frequencies; a block and its mirror image, which hold the two halves of a real filter's band,
  go together. They suit smooth filters. They take the time of a dense filter: which band a frequency belongs to shows
  in the last stage of a transform alone, so nearly all of it has to be computed.
* *interleaved* blocks, each of every C-th frequency. The kernels of long rows hold each in lines of its own, and leave
  out all that belongs to the others: their products, their traffic, their memory. In time such a filter repeats at
  every C-th part of the transform, so it suits filters that repeat; :func:`sparsity_error` says what it costs others.

Dropping frequencies is not causal: a filter without its high frequencies rings on both sides of every tap, and the part
before the tap makes a position see positions after it. :func:`sparsity_error` reports how much. Do not take likelihoods
from a model whose filters look ahead; for states of whole sequences it may not matter.

Source: Fu et al. 2023, FlashFFTConv, https://arxiv.org/abs/2311.05908, section 4.3.
"""

import math
import operator
from dataclasses import dataclass

import torch
from torch import Tensor

from genoconv.errors import UsageError
from genoconv.ops.longconv.spectrum import fast_size, upcast

BLOCKS = 16
"""Blocks that the kernels' last stage divides every spectrum into."""


@dataclass(frozen=True)
class FrequencyMask:
    """Which blocks of a spectrum are kept.

    Attributes:
        kept: one flag per block, from the lowest frequency to the highest; symmetric, unless interleaved.
        interleaved: block b holds the frequencies b, b + C, ... of C blocks, a power of two; otherwise neighbours.

    Raises:
        UsageError: no block is kept, the flags are not symmetric, or the number of interleaved blocks is no power of 2.
    """

    kept: tuple[bool, ...]
    interleaved: bool = False

    def __post_init__(self) -> None:
        if not any(self.kept):
            raise UsageError("a frequency mask keeps at least one pair of blocks")
        blocks = len(self.kept)
        if self.interleaved:
            if blocks & (blocks - 1):
                raise UsageError(f"{blocks} interleaved blocks: their number must be a power of two")
        elif self.kept != self.kept[::-1]:
            raise UsageError(f"a frequency mask keeps a block with its mirror image: {self} is not symmetric")

    @property
    def sparsity(self) -> float:
        """Share of the spectrum that is zero."""
        return 1 - sum(self.kept) / len(self.kept)

    def __str__(self) -> str:
        return "".join("-+"[flag] for flag in self.kept)

    def flags(self, size: int, device: torch.device) -> Tensor:
        """(size,) booleans on ``device`` for a spectrum of ``size`` points, a multiple of the number of blocks."""
        kept, times = torch.tensor(self.kept, device=device), size // len(self.kept)
        return kept.repeat(times) if self.interleaved else kept.repeat_interleave(times)


@dataclass(frozen=True)
class SparsityError:
    """What a mask does to filters, relative to their own L2 norm, all channels together.

    Attributes:
        filter: error of the taps.
        lookahead: size of the part that looks ahead; it is in ``filter`` too.
    """

    filter: float
    lookahead: float


def choose_mask(
    k: Tensor, length: int, *, sparsity: float, blocks: int = BLOCKS, interleaved: bool = False
) -> FrequencyMask:
    """Keep the blocks that hold the most energy of a trained filter.

    Args:
        k: (H, K) filters; each channel counts alike, whatever its size.
        length: N, positions of the rows that it is for.
        sparsity: share of the spectrum to drop, 0 to less than 1; as many pairs of blocks as that allows.
        blocks: blocks in all, even. Of interleaved ones a single one is kept, so ``sparsity`` says how many there are.
        interleaved: the kind of blocks.

    Raises:
        UsageError: an invalid share or number of blocks, or K > length.
    """
    from genoconv.ops.longconv import arguments

    arguments.check_filter(k, length)
    if not 0 <= sparsity < 1:
        raise UsageError(f"sparsity {sparsity:g}: it must be at least 0 and less than 1")
    try:
        even = operator.index(blocks) >= 2 and blocks % 2 == 0
    except TypeError:
        even = False
    if not even:
        raise UsageError(f"{blocks!r} blocks: it must be an even whole number, 2 or more")
    if interleaved:
        blocks = 1 << int(math.log2(1 / (1 - sparsity)) + 1e-9)
    if blocks > max(BLOCKS, length):
        given = f"sparsity {sparsity:g} is one block of {blocks:,}" if interleaved else f"{blocks:,} blocks"
        raise UsageError(f"{given}: rows of {length:,} positions have at most {max(BLOCKS, length):,}")
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


def sparsity_error(k: Tensor, mask: FrequencyMask, length: int) -> SparsityError:
    """What ``mask`` does to filters, measured on the filters themselves.

    Args:
        k: (H, K), any floating type.
        mask: blocks of the spectrum that are kept.
        length: N, positions of the rows.

    Raises:
        UsageError: K > length, or not a filter or a mask.
    """
    from genoconv.ops.longconv import arguments

    arguments.check_filter(k, length, keep=mask)
    size = transform_size(length, len(mask.kept))
    with torch.no_grad():
        taps = k.double()
        kept = inverse(transform(taps, size) * mask.flags(size, k.device), size)
        # The real part is what reaches later positions; what comes round the end, in the imaginary part, earlier ones.
        change = torch.nn.functional.pad(taps, (0, size - taps.shape[1])) - kept.real
        norm, ahead = taps.norm(), kept.imag.norm()
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
    """:func:`genoconv.ops.fftconv` with the blocks of T(k) that ``keep`` drops taken as zero; the skip stays whole.

    A mask with one interleaved block runs on the kernels of long rows, where those serve the rows and the block. Bands,
    16 or a fraction of it, run on the kernels where the filter needs no gradient and N fills the transform's size. The
    rest runs on torch.fft, in float32 (float64 for float64 rows).

    Args:
        u: (B, H, N), bfloat16, float16, float32 or float64.
        k: (H, K) float32 (float64 for float64 rows), K <= N.
        keep: blocks of the spectrum that are kept, from :func:`choose_mask`.
        D: (H,), the skip; None is zero.
        gate_in: (B, H, N) like ``u``; None is one.
        gate_out: (B, H, N) like ``u``; None is one.
        backend: as in ``fftconv``.

    Returns:
        (B, H, N) in the type of ``u``. Differentiable in all tensors; frequencies that are dropped get no gradient.

    Raises:
        UsageError: as ``fftconv``.
        KernelError: ``backend="cuda"`` and the kernels cannot serve this call.
    """
    from genoconv.ops.longconv import arguments, sparse_kernels  # which import this module for prepared filters

    if not isinstance(k, Tensor):
        raise UsageError(f"k is a {type(k).__name__}; it must be a tensor (fftconv takes filters prepared with keep=)")
    arguments.check(u, k, D, gate_in, gate_out, backend)
    arguments.check_mask(keep)
    served = sparse_kernels.convolve(u, k, keep, D, gate_in, gate_out, backend)
    if served is not None:
        return served
    N = u.shape[-1]
    size = transform_size(N, len(keep.kept))
    with torch.autocast(u.device.type, enabled=False):
        v = upcast(u) if gate_in is None else upcast(u) * upcast(gate_in)
        spectrum = transform(k.to(v.dtype), size) * keep.flags(size, u.device)
        y = inverse(transform(v, size) * spectrum, size).real[..., :N]
        if D is not None:
            y = torch.addcmul(y, v, D.to(v.dtype)[:, None])
        if gate_out is not None:
            y = y * upcast(gate_out)
        result: Tensor = y.to(u.dtype)
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
