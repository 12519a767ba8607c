"""Single-nucleotide tokens with HyenaDNA's ids: seven special tokens, then A, C, G, T, N.

The vocabulary of 12 is padded to 16 rows in the models, as in the published checkpoints. Lower case (soft mask) folds
to upper; every other letter, IUPAC codes and gaps included, is UNK, so that coordinates keep.

Source: the character tokenizer of HyenaDNA (Nguyen et al. 2023, https://arxiv.org/abs/2306.15794).
"""

from functools import cache

import numpy as np
import numpy.typing as npt

CLS, SEP, BOS, MASK, PAD, RESERVED, UNK = range(7)
A, C, G, T, N = range(7, 12)
VOCAB_SIZE = 12
PADDED_VOCAB = 16

Tokens = npt.NDArray[np.uint8]

_BASES = b"ACGTN"
_LETTERS = dict(zip(range(A, VOCAB_SIZE), _BASES.decode(), strict=True))
_SPECIAL = {CLS: "[CLS]", SEP: "[SEP]", BOS: "[BOS]", MASK: "[MASK]", PAD: "[PAD]", RESERVED: "[RESERVED]"}


def _encode_table() -> bytes:
    table = bytearray([UNK]) * 256
    for token, letter in enumerate(_BASES, A):
        table[letter] = token
        table[ord(chr(letter).lower())] = token
    return bytes(table)


# For bytes.translate: ASCII letter -> token. Also the one C call behind Fasta.tokens.
ENCODE_TABLE = _encode_table()

_COMPLEMENT = np.arange(256, dtype=np.uint8)
_COMPLEMENT[[A, C, G, T]] = [T, G, C, A]


# Letters from which a look at two at once pays.
_MANY = 1 << 16
_PAIRS_AT_ONCE = 1 << 15


@cache
def _encode_pairs() -> npt.NDArray[np.uint16]:
    """Two letters -> two tokens, as both lie in memory."""
    pairs = np.arange(1 << 16, dtype=np.uint16).view(np.uint8)
    return np.frombuffer(ENCODE_TABLE, np.uint8)[pairs].view(np.uint16)


def encode(sequence: str | bytes | bytearray) -> Tokens:
    """Tokens of a sequence, one per letter.

    Args:
        sequence: L letters; anything but A, C, G, T, N in either case becomes UNK.

    Returns:
        uint8 array, shape (L,), writable.
    """
    letters = sequence.encode("ascii", "replace") if isinstance(sequence, str) else sequence
    if len(letters) < _MANY:
        return np.frombuffer(bytearray(letters.translate(ENCODE_TABLE)), np.uint8)
    # Not slower than bytes.translate, and other threads compute meanwhile.
    tokens = np.empty(len(letters), np.uint8)
    pairs = np.frombuffer(letters, np.uint16, count=len(letters) // 2)
    found = tokens[: 2 * len(pairs)].view(np.uint16)
    for first in range(0, len(pairs), _PAIRS_AT_ONCE):
        part = slice(first, first + _PAIRS_AT_ONCE)
        np.take(_encode_pairs(), pairs[part], out=found[part], mode="clip")
    tokens[-1] = ENCODE_TABLE[letters[-1]]
    return tokens


def decode(ids: npt.ArrayLike) -> str:
    """Text of tokens: A, C, G, T, N as letters, UNK as ``?``, the other special tokens as their names in brackets.

    Args:
        ids: integers in [0, 16), shape (L,); ids 12 to 15 are the padding rows of the vocabulary and decode to ``?``.

    Raises:
        ValueError: an id lies outside the padded vocabulary.
    """
    array = np.asarray(ids)
    if array.size and (array.min() < 0 or array.max() >= PADDED_VOCAB):
        worst = array.min() if array.min() < 0 else array.max()
        raise ValueError(f"token id {worst} is outside the vocabulary, 0 to {PADDED_VOCAB - 1}")
    return "".join(_LETTERS.get(i) or _SPECIAL.get(i, "?") for i in array.tolist())


def reverse_complement(ids: npt.NDArray[np.integer]) -> Tokens:
    """Tokens of the opposite strand: reversed, A and T exchanged, C and G exchanged, all others kept.

    Args:
        ids: token ids, shape (..., L); the last axis is reversed.

    Returns:
        uint8 array of the same shape, a new one.
    """
    complemented: Tokens = _COMPLEMENT[np.asarray(ids)[..., ::-1]]
    return complemented
