"""The special tokens that the public HyenaDNA tokenizers add, for comparing numbers with them.

They append [SEP], pad on the left, and one of them puts [CLS] first. genoconv does none of that by itself: the models
were pretrained on plain sequence, and padding on the left of a causal model changes every state to its right, so the
same sequence would be embedded differently in different batches. With padding on the right nothing changes.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from genoconv.errors import UsageError
from genoconv.genome.tokenizer import CLS, PAD, SEP


class SpecialTokens(StrEnum):
    """What to add to a sequence.

    ``NONE``: nothing. ``SEP``: [SEP] at the end, as the tokenizer of the published transformers models.
    ``CLS_SEP``: [CLS] first and [SEP] last, as the character tokenizer that it comes from.
    """

    NONE = "none"
    SEP = "sep"
    CLS_SEP = "cls-sep"

    @property
    def extra(self) -> int:
        """Tokens that are added: a model of ``max_length`` L takes L - extra bases."""
        return {SpecialTokens.NONE: 0, SpecialTokens.SEP: 1, SpecialTokens.CLS_SEP: 2}[self]

    @property
    def before(self) -> int:
        """Tokens added before the first base."""
        return 1 if self is SpecialTokens.CLS_SEP else 0


def add_special_tokens(ids: npt.NDArray[np.uint8], policy: SpecialTokens) -> npt.NDArray[np.uint8]:
    """``ids`` (L,) with what ``policy`` adds, (L + policy.extra,) uint8."""
    parts = {
        SpecialTokens.NONE: (ids,),
        SpecialTokens.SEP: (ids, [SEP]),
        SpecialTokens.CLS_SEP: ([CLS], ids, [SEP]),
    }[policy]
    return np.concatenate([np.asarray(part, np.uint8) for part in parts])


def pad_batch(
    rows: Sequence[npt.NDArray[np.uint8]], *, left: bool = False, length: int | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Rows of tokens as one array.

    Args:
        rows: B arrays of tokens, (L_b,) each.
        left: pad on the left, as the public tokenizers do, instead of on the right.
        length: N to pad to; None is the longest row.

    Returns:
        ids (B, N) uint8, and a mask (B, N) that is True where a row's own tokens are.

    Raises:
        UsageError: a row is longer than ``length``.
    """
    longest = max((len(row) for row in rows), default=0)
    N = longest if length is None else length
    if longest > N:
        raise UsageError(f"a row of {longest:,} tokens does not fit into {N:,}; raise the length or cut the sequence")
    ids = np.full((len(rows), N), PAD, np.uint8)
    mask = np.zeros((len(rows), N), np.bool_)
    for b, row in enumerate(rows):
        own = slice(N - len(row), N) if left else slice(0, len(row))
        ids[b, own] = row
        mask[b, own] = True
    return ids, mask
