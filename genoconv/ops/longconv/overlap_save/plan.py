"""How a row is cut into chunks when its filter is much shorter: a pure function of lengths, printable.

A causal filter of K taps looks back K - 1 positions. A chunk of P positions that begins K - 1 positions early (overlap
save) therefore has all it needs for the others, whatever else is in the row: no chunk waits for another, each result is
rounded once, and nothing grows with the length of the row.

The kernels do better: they take a chunk and the one before it together, as the real and the imaginary part of one
transform (`csrc/one_sm/chunks.cu`; gradients: `csrc/chunked/partial_gradients.cu`), and chunks need not overlap.

The gradients of chunks that overlap mirror that. A chunk owns P - L positions of u (L is the overlap, at least K - 1);
they reach results up to K - 1 positions later, so the gradient of the results is read that much further, and each
product of the filter's gradient belongs to the one chunk that owns its position of u.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

ALIGNMENT = 16
"""Chunks begin at multiples of this many positions (in whole 16-byte pieces of any type), except the last."""

_LEAST_POINTS = 1 << 15
"""Shorter chunks of torch.fft cost more time on the host than they save in the transform."""

_LEAST_LENGTH = 1 << 16
"""Shorter rows are transformed whole, where the kernels can."""

_LEAST_KERNEL_POINTS = 4096

_CLEAR_GAIN = 0.9
"""Chunks are used where they should take less than this fraction of the time of one transform of the whole row."""

# Time of a position by size of the transform, in multiples of what copying its inputs and output takes (one H200).
# Those above 32,768 leave out the filter's transform, which a batch shares: see FILTER_COST.
_KERNEL_COSTS = ((4096, 1.4), (8192, 1.65), (16384, 1.95), (32768, 2.2), (1 << 18, 4.7), (1 << 21, 5.3), (1 << 22, 6.2))
_LONGEST_KERNEL_COST = 8.5
HALVES_COST = 2.4
"""Of rows that one multiprocessor takes half by half, without gradients and without the filter's transform."""
CLUSTER_COST = 3.6
"""Of rows that a cluster of multiprocessors takes: measured 3.3 to 4.0 at multiples of 32,768."""
TORCH_COST = 25.0
"""Of torch.fft, which serves rows that the kernels do not."""
_GRADIENTS_COST = 1.7
"""How much longer both passes of overlapping chunks take beside the whole row's than a forward pass does."""
_WHOLE_GRADIENTS = 1.5
"""Time of a whole row's backward pass, in forward passes, the filter's transform among these."""
FILTER_COST = 3.8
"""Of making, writing and reading the transform of a filter as long as the row, for a batch of one."""
COPY_COST = 0.5
"""Moving a chunk's results into the row: one more read and one more write, of four passes over memory."""

_PAIR_COSTS = ((4096, 2.35, 6.4), (8192, 2.9, 7.1), (16384, 2.65, 9.7), (32768, 2.75, 9.9))
"""Time of a position by size of the chunks, forward and backward, where kernels take pairs of them."""


@dataclass(frozen=True)
class Span:
    """One chunk: positions ``start`` to ``stop`` are read, ``first`` to ``last`` are owned; 0-based, half-open."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True)
class Chunks:
    """The chunks of a row.

    Attributes:
        length: N, positions in a row.
        taps: K.
        points: P, positions in a chunk and points of its circular transform.
        overlap: L, positions that two chunks share: at least K - 1; 0 where kernels take pairs of chunks, K <= P.
        fused: whether the fused kernels convolve the chunks; torch.fft otherwise.
    """

    length: int
    taps: int
    points: int
    overlap: int
    fused: bool = False

    @property
    def step(self) -> int:
        """Positions that a chunk owns."""
        return self.points - self.overlap

    @property
    def count(self) -> int:
        """Chunks of a row."""
        return -(-self.length // self.step)

    def forward(self) -> Iterator[Span]:
        """Chunks of results: each reads ``overlap`` positions before those it owns."""
        for first in range(0, self.length, self.step):
            last = min(first + self.step, self.length)
            yield Span(max(0, first - self.overlap), last, first, last)

    def backward(self) -> Iterator[Span]:
        """Chunks of inputs: each reads ``overlap`` positions after those it owns."""
        for first in range(0, self.length, self.step):
            yield Span(first, min(first + self.points, self.length), first, min(first + self.step, self.length))

    @property
    def paired(self) -> bool:
        """Whether each chunk is convolved together with the one before it."""
        return self.fused and self.overlap == 0

    def explain(self) -> str:
        """The chunks in plain words."""
        if self.paired:
            return (
                f"partial convolution: {self.taps:,} taps over {self.length:,} positions, in {self.count:,} chunks of"
                f" {self.points:,} positions, each joined with the one before it"
            )
        waste = 100 * (self.count * self.points / self.length - 1)
        return (
            f"partial convolution: {self.taps:,} taps over {self.length:,} positions, in {self.count:,} chunks of"
            f" {self.points:,} positions that overlap by {self.overlap:,} ({waste:.0f} % more positions in all)"
        )


def choose_chunks(
    length: int, *, taps: int, sizes: Sequence[int] = (), pairs: Sequence[int] = (), gradients: bool = False
) -> Chunks | None:
    """The chunks of rows of ``length`` positions, or None where one transform of the whole row is as good.

    Args:
        length: N, positions.
        taps: K, 1 to N.
        sizes: transform sizes of the fused kernels, ascending; empty where torch.fft serves the rows.
        pairs: those whose kernels take pairs of chunks, with gradients where these are wanted.
        gradients: whether a backward pass will follow.
    """
    if 2 * taps > length:
        return None
    length, taps = int(length), int(taps)  # a compiler that follows sizes as symbols takes them for numbers here
    overlap = -(-(taps - 1) // ALIGNMENT) * ALIGNMENT
    if length < _LEAST_LENGTH and not (sizes and length > sizes[-1]):
        return None
    if sizes:
        served = [kernel_cost(size) * size / length for size in sizes if size >= length]
        whole = (served[0] if served else TORCH_COST) + FILTER_COST
        longer = _GRADIENTS_COST if gradients else 1.0
        choices, cost = [p for p in sizes if p >= _LEAST_KERNEL_POINTS], lambda p: longer * (kernel_cost(p) + COPY_COST)
    else:
        whole = _torch_cost(length + taps) * (length + taps) / length
        choices, cost = _fast_points(taps), _torch_cost
    best = _cheapest([p for p in choices if overlap < p < length], cost, length=length, overlap=overlap)
    fitting = [p for p in pairs if taps <= p < length]
    paired = _cheapest(fitting, partial(_cost_of_pairs, gradients=gradients), length=length, overlap=0)
    if paired is not None and (best is None or paired[1] < best[1]):
        best, overlap = paired, 0
    if best is None or best[1] > _CLEAR_GAIN * whole:
        return None
    return Chunks(length=length, taps=taps, points=best[0], overlap=overlap, fused=bool(sizes))


def _cheapest(
    choices: Sequence[int], cost: Callable[[int], float], *, length: int, overlap: int
) -> tuple[int, float] | None:
    """Points and cost per position of the smallest chunks that are within a tenth of the best."""
    found = [(p, cost(p) * p * -(-length // (p - overlap)) / length) for p in choices]
    if not found:
        return None
    least = min([each for _, each in found])
    good = [(p, each) for p, each in found if each <= 1.1 * least]
    return good[0]


def shares_of(chunks: int, *, channels: int, blocks: int, most: int) -> int:
    """Into how many shares kernels of gradients cut the chunks of a channel, or its rows, each with a sum of its own.

    Args:
        chunks: of all rows of a channel, or those rows.
        channels: H.
        blocks: that the GPU holds at a time, or clusters of them; each has a share.
        most: shares for whose sums there is room.
    """
    own = 1.5  # chunks in whose time a share's ends are transformed twice, and its sum is written and read
    limit = max(1, min(chunks, most, 64))
    return min(range(1, limit + 1), key=lambda n: (-(-channels * n // blocks) * (-(-chunks // n) + own), n))


def kernel_cost(size: int) -> float:
    """Time of a position in transforms of ``size`` points, in multiples of what moving its inputs and output takes."""
    for limit, cost in _KERNEL_COSTS:
        if size <= limit:
            return cost
    return _LONGEST_KERNEL_COST


def pair_costs(points: int) -> tuple[float, float]:
    """As :func:`kernel_cost`, of chunks of ``points`` positions that are convolved in pairs: forward and backward."""
    return next((forward, backward) for limit, forward, backward in _PAIR_COSTS if points <= limit)


def _cost_of_pairs(points: int, *, gradients: bool) -> float:
    """With gradients: of both passes beside those of the whole row, as forward passes."""
    forward, backward = pair_costs(points)
    return (forward + backward) / (1 + _WHOLE_GRADIENTS) if gradients else forward


def _torch_cost(points: int) -> float:
    """Of a position, in nanoseconds of one CPU core: from half a million points on, no cache holds a transform."""
    return 12.0 + 6.0 * max(0.0, math.log2(points) - 18)


def _fast_points(taps: int) -> list[int]:
    """Sizes that every FFT library does fast, from the least that is worth a call to 16 times the filter."""
    most = max(2 * _LEAST_POINTS, 16 * taps)
    octaves = range(_LEAST_POINTS.bit_length() - 1, most.bit_length())
    return [p for a in octaves for p in (1 << a, 3 << (a - 1)) if p <= most]
