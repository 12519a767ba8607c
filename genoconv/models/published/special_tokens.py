"""The special tokens that the public HyenaDNA tokenizers add, for comparing numbers with them.

They append [SEP], pad on the left, and one of them puts [CLS] first. genoconv does none of that by itself: the models
were pretrained on plain sequence, and padding on the left of a causal model changes every state to its right, so the
same sequence would be embedded differently in different batches. With padding on the right nothing changes.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from genoconv.errors import UsageError
from genoconv.tokens import CLS, PAD, SEP


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

    @property
    def after(self) -> int:
        """Tokens added after the last base."""
        return self.extra - self.before


@dataclass(frozen=True, slots=True)
class Framing:
    """What a row of tokens has around its bases.

    Attributes:
        policy: which special tokens.
        length: tokens to which a row is filled with [PAD] on the left; None does not fill it.
    """

    policy: SpecialTokens = SpecialTokens.NONE
    length: int | None = None

    def __call__(self, ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The row of ``ids`` (L,): (L + policy.extra,), or (length,) uint8.

        Raises:
            UsageError: it is longer than ``length``.
        """
        padding = 0 if self.length is None else self.length - len(ids) - self.policy.extra
        if padding < 0:
            raise UsageError(
                f"{len(ids):,} bases and {self.policy.extra} special tokens do not fit into {self.length:,} tokens; "
                "raise the length or cut the sequence"
            )
        if not padding and not self.policy.extra:
            return ids
        before = [PAD] * padding + [CLS] * self.policy.before
        after = [SEP] * self.policy.after
        return np.concatenate([np.array(before, np.uint8), ids, np.array(after, np.uint8)])

    def tokens(self, bases: int) -> int:
        """Tokens of a row with so many bases."""
        return bases + self.policy.extra if self.length is None else self.length

    def first(self, bases: int) -> int:
        """Where in the row the first of so many bases is."""
        return self.tokens(bases) - self.policy.after - bases


PLAIN = Framing()
