"""The public tokenizers' special tokens: exactly theirs, and why they are off by default."""

import numpy as np
import pytest
import torch

from genoconv.errors import UsageError
from genoconv.genome.tokenizer import encode
from genoconv.models import HyenaDNA, ModelConfig
from genoconv.models.special_tokens import SpecialTokens, add_special_tokens, pad_batch


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (SpecialTokens.NONE, [7, 8, 9, 10, 11]),
        (SpecialTokens.SEP, [7, 8, 9, 10, 11, 1]),
        (SpecialTokens.CLS_SEP, [0, 7, 8, 9, 10, 11, 1]),
    ],
)
def test_each_policy_adds_what_the_public_tokenizer_adds(policy: SpecialTokens, expected: list[int]) -> None:
    ids = add_special_tokens(encode("ACGTN"), policy)
    assert ids.dtype == np.uint8
    assert ids.tolist() == expected
    assert len(ids) == 5 + policy.extra
    assert ids[policy.before : policy.before + 5].tolist() == [7, 8, 9, 10, 11]


def test_padding_on_either_side() -> None:
    rows = [add_special_tokens(encode(s), SpecialTokens.SEP) for s in ("ACGT", "T")]
    ids, mask = pad_batch(rows, left=True)
    assert ids.tolist() == [[7, 8, 9, 10, 1], [4, 4, 4, 10, 1]]
    assert mask.tolist() == [[True] * 5, [False] * 3 + [True] * 2]
    ids, mask = pad_batch(rows, length=6)
    assert ids.tolist() == [[7, 8, 9, 10, 1, 4], [10, 1, 4, 4, 4, 4]]
    assert mask.sum(axis=1).tolist() == [5, 2]
    with pytest.raises(UsageError, match="5 tokens does not fit into 4"):
        pad_batch(rows, length=4)


def test_left_padding_changes_a_sequence_and_right_padding_does_not() -> None:
    torch.manual_seed(0)
    model = HyenaDNA(ModelConfig(d_model=16, n_layer=2, max_length=64)).eval()
    rows = [encode("ACGTACGT"), encode("ACGTACGTACGTTGCA")]
    states = {}
    for left in (False, True):
        ids, mask = pad_batch(rows, left=left)
        with torch.no_grad():
            states[left] = model.hidden(torch.from_numpy(ids))[0, torch.from_numpy(mask[0])]
    with torch.no_grad():
        alone = model.hidden(torch.from_numpy(rows[0][None]))[0]
    assert torch.allclose(states[False], alone, atol=1e-5)
    assert float((states[True] - alone).abs().max()) > 1e-2
