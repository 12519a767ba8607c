"""Batches of windows of unequal length, shuffled: of like length and padded, or of any length and packed.

Torch-free; the train room turns the arrays into tensors.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from genoconv.errors import UsageError
from genoconv.tokens import PAD, Tokens

# Windows sorted together: large enough to find neighbours of like length, small enough that batches differ by epoch.
_POOL_BATCHES = 64


Windows = npt.NDArray[np.int64]
_Fill = Callable[[Windows, Windows, int], list[list[int]]]


def batch_plan(
    lengths: Sequence[int], *, tokens_per_batch: int, seed: int, epoch: int, packed: bool = False
) -> list[list[int]]:
    """Divide windows into batches of at most ``tokens_per_batch`` tokens.

    Windows are shuffled and cut into pools, each pool is sorted by length and divided, then the batches are shuffled. A
    function of its arguments alone, so that a resumed run meets the same batches.

    Args:
        lengths: tokens in each window.
        tokens_per_batch: most tokens in a batch: windows times the longest of them, or their sum where ``packed``.
        seed, epoch: another of either gives another order.
        packed: windows will lie end to end, so that a batch may hold any lengths; otherwise those of a batch are
            similar, because shorter ones are padded.

    Returns:
        Batches of window numbers; every window is in exactly one.

    Raises:
        UsageError: a window alone is longer than ``tokens_per_batch``.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    if not sizes.size:
        return []
    if sizes.max() > tokens_per_batch:
        raise UsageError(
            f"window {int(sizes.argmax())} has {sizes.max():,} tokens, more than the {tokens_per_batch:,} of a batch;"
            " raise the tokens per batch or lower the window length"
        )
    random = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = random.permutation(sizes.size)
    fill: _Fill = _packed if packed else _padded
    pool = _pool(sizes, tokens_per_batch)
    batches: list[list[int]] = []
    for start in range(0, order.size, pool):
        members = order[start : start + pool]
        batches += fill(members[np.argsort(sizes[members], kind="stable")[::-1]], sizes, tokens_per_batch)
    return [batches[number] for number in random.permutation(len(batches))]


def _pool(sizes: Windows, tokens_per_batch: int) -> int:
    """Windows in a pool."""
    return max(1, int(_POOL_BATCHES * tokens_per_batch / sizes.mean()))


def _padded(descending: Windows, sizes: Windows, tokens: int) -> list[list[int]]:
    """Divide windows, longest first; none joins a batch whose longest is over twice its size."""
    batches: list[list[int]] = []
    for number in descending.tolist():
        longest = sizes[batches[-1][0]] if batches else 0
        if batches and (len(batches[-1]) + 1) * longest <= tokens and 2 * sizes[number] >= longest:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches


def _packed(descending: Windows, sizes: Windows, tokens: int) -> list[list[int]]:
    """Divide windows, longest first; each goes where it leaves the least room (best fit decreasing)."""
    batches: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # ascending: tokens that still fit, number of the batch
    for number in descending.tolist():
        size = int(sizes[number])
        at = bisect_left(rooms, (size, 0))
        if at < len(rooms):
            room, batch = rooms.pop(at)
            batches[batch].append(number)
        else:
            room, batch = tokens, len(batches)
            batches.append([number])
        insort(rooms, (room - size, batch))
    return batches


def drawn_windows(often: npt.NDArray[np.float64], *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Numbers of the windows that an epoch reads, ascending, where they are not all read once.

    Window ``i`` comes ``often[i] / mean(often)`` times an epoch: that number rounded down or up, such that over the
    epochs the counts never differ from it by more than one. A function of its arguments alone.

    Args:
        often: how often each window is read, relative to the others; positive.
        seed: another gives another beginning.
        epoch: from 0.
    """
    rate = np.ones_like(often) if (often == often[0]).all() else often / often.mean()
    phase = np.random.Generator(np.random.PCG64([seed, 1])).random(len(often))
    times = np.floor(rate * (epoch + 1) + phase) - np.floor(rate * epoch + phase)
    return np.repeat(np.arange(len(often)), times.astype(np.int64))


def expected_padding(lengths: Sequence[int], *, tokens_per_batch: int) -> float:
    """About which share of the tokens of padded batches is padding: that of one pool, however many windows there are.

    Args:
        lengths: tokens in each window.
        tokens_per_batch: as for :func:`batch_plan`; a longer window is a batch by itself.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    if not sizes.size or sizes.min() == sizes.max():
        return 0.0
    tokens = max(tokens_per_batch, int(sizes.max()))
    some = np.random.default_rng(0).permutation(sizes)[: _pool(sizes, tokens)].tolist()
    return padding_fraction(batch_plan(some, tokens_per_batch=tokens, seed=0, epoch=0), some)


def padding_fraction(batches: Sequence[Sequence[int]], lengths: Sequence[int]) -> float:
    """Share of the tokens of all batches that are padding; 0 for no batches."""
    padded = sum(len(batch) * max(lengths[number] for number in batch) for batch in batches)
    return 1 - sum(lengths[number] for batch in batches for number in batch) / padded if padded else 0.0


def pad_batch(sequences: Sequence[Tokens], *, length: int | None = None) -> Tokens:
    """Stack tokens, filling on the right with PAD.

    Args:
        sequences: B arrays of tokens.
        length: tokens in a row; the longest sequence's if None.

    Returns:
        uint8 array, shape (B, length).

    Raises:
        UsageError: a sequence is longer than ``length``.
    """
    lengths = list(map(len, sequences))
    longest = max(lengths, default=0)
    if length is not None and longest > length:
        raise UsageError(f"a sequence of {longest:,} tokens does not fit into a batch of length {length:,}")
    width = longest if length is None else length
    if sequences and min(lengths) == width:  # nothing to fill: many times as fast
        return np.concatenate(sequences, dtype=np.uint8, casting="unsafe").reshape(len(sequences), width)
    batch = np.full((len(sequences), width), PAD, np.uint8)
    for row, sequence in zip(batch, sequences, strict=True):
        row[: len(sequence)] = sequence
    return batch
