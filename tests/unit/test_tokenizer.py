"""Token ids are a contract with the published checkpoints."""

import numpy as np
import pytest
from Bio.Seq import Seq
from hypothesis import given
from hypothesis import strategies as st

from genoconv import tokens as tokenizer

BASES = st.text("ACGTN")
LETTERS = st.text(st.characters(min_codepoint=33, max_codepoint=126))


def test_ids_are_those_of_the_published_tokenizer() -> None:
    assert tokenizer.encode("ACGTN").tolist() == [7, 8, 9, 10, 11]
    special = [tokenizer.CLS, tokenizer.SEP, tokenizer.BOS, tokenizer.MASK, tokenizer.PAD, tokenizer.RESERVED]
    assert [*special, tokenizer.UNK] == [0, 1, 2, 3, 4, 5, 6]
    assert (tokenizer.VOCAB_SIZE, tokenizer.PADDED_VOCAB) == (12, 16)


@given(BASES)
def test_bases_come_back(sequence: str) -> None:
    assert tokenizer.decode(tokenizer.encode(sequence)) == sequence


@given(LETTERS)
def test_case_folds_and_length_keeps(sequence: str) -> None:
    tokens = tokenizer.encode(sequence)
    assert len(tokens) == len(sequence)
    np.testing.assert_array_equal(tokens, tokenizer.encode(sequence.swapcase().encode()))
    known = [letter.upper() in "ACGTN" for letter in sequence]
    assert ((tokens != tokenizer.UNK) == known).all()


@pytest.mark.parametrize("length", [(1 << 16) - 1, 1 << 16, (1 << 17) + 1, 200_000])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_long_sequences_have_the_tokens_of_short_ones(length: int, kind: type) -> None:
    text = np.random.default_rng(length).integers(0, 256, length, np.uint8).tobytes()
    tokens = tokenizer.encode(kind(text))
    assert tokens.tobytes() == text.translate(tokenizer.ENCODE_TABLE)
    tokens[0] = 0  # writable, and nobody else's
    assert tokenizer.encode(text)[0] == tokenizer.ENCODE_TABLE[text[0]]


def test_letters_outside_ascii_keep_their_place() -> None:
    assert tokenizer.encode("AφC").tolist() == [7, 6, 8]


@given(BASES)
def test_reverse_complement_is_that_of_biopython(sequence: str) -> None:
    ids = tokenizer.encode(sequence)
    assert tokenizer.decode(tokenizer.reverse_complement(ids)) == str(Seq(sequence).reverse_complement())
    np.testing.assert_array_equal(tokenizer.reverse_complement(tokenizer.reverse_complement(ids)), ids)


def test_reverse_complement_keeps_other_tokens_and_works_on_batches() -> None:
    ids = np.array([[0, 7, 8, 4], [6, 10, 9, 11]], np.int64)
    assert tokenizer.reverse_complement(ids).tolist() == [[4, 9, 10, 0], [11, 8, 7, 6]]


def test_tokens_can_be_written_to() -> None:
    tokens = tokenizer.encode("ACGT")
    tokens[0] = tokenizer.MASK
    assert tokenizer.decode(tokens) == "[MASK]CGT"


def test_decode_shows_what_is_not_a_base_and_refuses_what_is_no_token() -> None:
    assert tokenizer.decode([0, 7, 4, 6, 15]) == "[CLS]A[PAD]??"
    with pytest.raises(ValueError, match="token id 16 is outside the vocabulary, 0 to 15"):
        tokenizer.decode([7, 16])
