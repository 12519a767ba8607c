"""Batches of windows of unequal length: bucketed by length so that little is padding, shuffled so that order is not.

Torch-free; the train room turns the arrays into tensors.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from genoconv.errors import UsageError
from genoconv.tokens import PAD, Tokens

# Windows sorted together: large enough to find neighbours of like length, small enough that batches differ by epoch.
_POOL_BATCHES = 64


def batch_plan(lengths: Sequence[int], *, tokens_per_batch: int, seed: int, epoch: int) -> list[list[int]]:
    """Divide windows into batches of at most ``tokens_per_batch`` tokens, padding included.

    Windows are shuffled, cut into pools, sorted by length within a pool and packed; then the batches are shuffled. A
    function of its arguments alone, so that a resumed run meets the same batches.

    Args:
        lengths: tokens in each window.
        tokens_per_batch: most tokens in a batch, counted as windows times the longest of them.
        seed, epoch: another of either gives another order.

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
    pool = max(1, int(_POOL_BATCHES * tokens_per_batch / sizes.mean()))
    batches: list[list[int]] = []
    for start in range(0, order.size, pool):
        members = order[start : start + pool]
        batches += _packed(members[np.argsort(sizes[members], kind="stable")], sizes, tokens_per_batch)
    return [batches[number] for number in random.permutation(len(batches))]


def _packed(ordered: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], tokens: int) -> list[list[int]]:
    """Pack windows of ascending length, longest first; none joins a batch whose longest is over twice its size."""
    batches: list[list[int]] = []
    for number in reversed(ordered.tolist()):
        longest = sizes[batches[-1][0]] if batches else 0
        if batches and (len(batches[-1]) + 1) * longest <= tokens and 2 * sizes[number] >= longest:
            batches[-1].append(number)
        else:
            batches.append([number])
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
    longest = max((len(sequence) for sequence in sequences), default=0)
    if length is not None and longest > length:
        raise UsageError(f"a sequence of {longest:,} tokens does not fit into a batch of length {length:,}")
    batch = np.full((len(sequences), longest if length is None else length), PAD, np.uint8)
    for row, sequence in zip(batch, sequences, strict=True):
        row[: len(sequence)] = sequence
    return batch
