"""LoRA: nothing at first, every projection the model reads, the same after merging."""

import pytest
import torch
from embed_files import small_model

from genoconv.errors import UsageError
from genoconv.models.hyena import HyenaDNA
from genoconv.models.lora import TARGETS, LowRank, add_lora, merge_lora

IDS = torch.randint(7, 11, (2, 40), generator=torch.Generator().manual_seed(0))


def with_lora(targets: tuple[str, ...] = TARGETS) -> HyenaDNA:
    model = small_model()
    add_lora(model, rank=3, alpha=6.0, targets=targets)
    return model


def updates(model: HyenaDNA) -> list[LowRank]:
    return [module for module in model.modules() if isinstance(module, LowRank)]


@torch.no_grad()
def train_a_little(model: HyenaDNA) -> None:
    torch.manual_seed(1)
    for update in updates(model):
        update.B.normal_(std=0.3)


def test_it_changes_nothing_at_first() -> None:
    assert torch.equal(with_lora()(IDS), small_model()(IDS))


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_read_by_the_model_and_gets_gradients(target: str) -> None:
    model = with_lora((target,))
    train_a_little(model)
    assert not torch.allclose(model(IDS), small_model()(IDS), atol=1e-3)
    model.train()(IDS).square().sum().backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all(f".{target}." in name for name in trained)
    assert all(bool(update.A.grad.abs().sum() > 0) for update in updates(model))  # type: ignore[union-attr]


def test_merging_keeps_the_outputs_and_restores_the_parameters() -> None:
    model = with_lora()
    train_a_little(model)
    with torch.no_grad():
        before = model.eval()(IDS)
        merge_lora(model)
        after = model(IDS)
    torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-6)
    assert {n: p.shape for n, p in model.named_parameters()} == {
        n: p.shape for n, p in small_model().named_parameters()
    }
    weight = model.backbone.layers[0].mlp.fc1.weight  # type: ignore[union-attr]
    assert not torch.equal(weight, small_model().backbone.layers[0].mlp.fc1.weight)  # type: ignore[union-attr]


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(UsageError, match=r"LoRA target fc3: expected in_proj, out_proj, fc1, fc2; did you mean fc"):
        with_lora(("fc3",))
    with pytest.raises(UsageError, match="no target"):
        with_lora(())
