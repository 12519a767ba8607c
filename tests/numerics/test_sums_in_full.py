"""Types of what the small operators return, whatever the types of their arguments."""

import pytest
import torch

from genoconv.ops import add_norm, next_token_sums


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool], ids=str)
def test_weights_of_the_loss_are_summed_in_full(dtype: torch.dtype) -> None:
    """70,001 tokens of weight one: float16 ends at 65,504, and bfloat16 does not count so far."""
    weights = torch.ones(1, 70_002, dtype=dtype)
    ids = torch.full(weights.shape, 7)
    sums = next_token_sums(torch.zeros(1, 70_002, 8), ids, weights=weights)
    assert sums.dtype == torch.float32
    assert sums[1] == 70_001
    torch.testing.assert_close(sums[0], 70_001 * torch.tensor(8.0).log())


def test_the_sum_of_a_residual_and_a_wider_branch_has_the_type_of_the_residual() -> None:
    residual, branch, norm = torch.randn(2, 3, 8), torch.randn(2, 3, 8, dtype=torch.float64), torch.ones(8)
    total, normalised = add_norm(residual, norm, norm, branch=branch, branch_bias=norm)
    assert (total.dtype, normalised.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(total, residual + branch.float() + 1)
