"""The model on packed sequences: each gets what it gets alone, whatever lies beside it."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from genoconv.errors import ModelError
from genoconv.models import HyenaDNA, ModelConfig

LENGTHS = (40, 1, 2, 64, 17, 33)
BOUNDS = [0, *torch.tensor(LENGTHS).cumsum(0).tolist()]
CONFIG = ModelConfig(d_model=8, n_layer=2, max_length=64, filter_order=8, embed_dropout=0.0)


def model(config: ModelConfig = CONFIG) -> HyenaDNA:
    """Random weights and biases, large enough that every token matters."""
    torch.manual_seed(3)
    made = HyenaDNA(config).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
            elif name.endswith("bias"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def ids() -> Tensor:
    return torch.randint(7, 12, (1, BOUNDS[-1]), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("prepared", [(), (64,)])
def test_packed_sequences_are_read_as_they_are_alone(prepared: tuple[int, ...]) -> None:
    made = model().prepare(*prepared)
    with torch.no_grad():
        for found, alone in (
            (made(ids(), cu_seqlens=BOUNDS), made),
            (made.hidden(ids(), layer=0, cu_seqlens=torch.tensor(BOUNDS)), lambda x: made.hidden(x, layer=0)),
        ):
            assert found.shape[:2] == (1, BOUNDS[-1])
            for a, b in pairwise(BOUNDS):
                torch.testing.assert_close(found[:, a:b], alone(ids()[:, a:b]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_the_sum_of_those_alone(checkpointing: bool) -> None:
    packed, alone = model().train(), model().train()
    packed.checkpointing = checkpointing
    packed(ids(), cu_seqlens=BOUNDS).square().sum().backward()
    for a, b in pairwise(BOUNDS):
        alone(ids()[:, a:b]).square().sum().backward()
    for (name, p), q in zip(packed.named_parameters(), alone.parameters(), strict=True):
        assert p.grad is not None, name
        assert q.grad is not None, name
        torch.testing.assert_close(p.grad, q.grad, rtol=2e-3, atol=1e-3 * float(q.grad.abs().max()), msg=name)


def test_the_limit_is_that_of_each_sequence() -> None:
    with pytest.raises(ModelError, match="65 tokens: this model takes 1 to 64"):
        model()(ids(), cu_seqlens=[0, 65, 100, BOUNDS[-1]])
    longer = model(replace(CONFIG, filter_length=64))
    assert longer(ids(), cu_seqlens=[0, 65, 100, BOUNDS[-1]]).shape == (1, BOUNDS[-1], 16)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ([0, 10], "from 0 to the 157 tokens of the row; got 0 to 10"),
        ([], "got nothing"),
        ([0, 5, 5, 157], "sequence 1 is from 5 to 5"),
        ([0, 5.5, 157], r"must be R \+ 1 integers; got \[0, 5.5, 157\]"),
        (157, r"must be R \+ 1 integers; got 157"),
        (torch.tensor([[0, 157]]), r"a tensor \(1, 2\) of torch.int64 on cpu; it must be"),
    ],
)
def test_bounds_that_do_not_fit_are_named(bounds: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model()(ids(), cu_seqlens=bounds)


def test_packed_sequences_are_one_row() -> None:
    with pytest.raises(ModelError, match="got 2x157 with cu_seqlens"):
        model()(ids().expand(2, -1), cu_seqlens=BOUNDS)
