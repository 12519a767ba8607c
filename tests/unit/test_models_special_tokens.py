"""The public tokenizers' special tokens: exactly theirs, and why they are off by default."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from genoconv.errors import UsageError
from genoconv.models import HyenaDNA, ModelConfig
from genoconv.models.published.special_tokens import Framing, SpecialTokens
from genoconv.tokens import PAD, encode


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (SpecialTokens.NONE, [7, 8, 9, 10, 11]),
        (SpecialTokens.SEP, [7, 8, 9, 10, 11, 1]),
        (SpecialTokens.CLS_SEP, [0, 7, 8, 9, 10, 11, 1]),
    ],
)
def test_each_policy_adds_what_the_public_tokenizer_adds(policy: SpecialTokens, expected: list[int]) -> None:
    for length, padding in ((None, 0), (len(expected), 0), (9, 9 - len(expected))):
        framing = Framing(policy, length)
        ids = framing(encode("ACGTN"))
        assert ids.dtype == np.uint8
        assert ids.tolist() == [4] * padding + expected
        assert framing.tokens(5) == len(ids)
        assert ids[framing.first(5) :][:5].tolist() == [7, 8, 9, 10, 11]
        assert policy.before + policy.after == policy.extra == len(expected) - 5
    with pytest.raises(UsageError, match=f"5 bases and {policy.extra} special tokens do not fit into 4 tokens"):
        Framing(policy, 4)(encode("ACGTN"))


def test_left_padding_changes_a_sequence_and_right_padding_does_not() -> None:
    torch.manual_seed(0)
    model = HyenaDNA(ModelConfig(d_model=16, n_layer=2, max_length=64)).eval()
    ids = encode("ACGTACGT")

    def states(row: npt.NDArray[np.uint8]) -> torch.Tensor:
        with torch.no_grad():
            return model.hidden(torch.from_numpy(row[None]))[0]

    alone = states(ids)
    assert torch.allclose(states(np.append(ids, [np.uint8(PAD)] * 8))[:8], alone, atol=1e-5)
    left = states(Framing(length=16)(ids))[8:]
    assert float((left - alone).abs().max()) > 1e-2
