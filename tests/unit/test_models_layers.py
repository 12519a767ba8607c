"""What a fresh model is made of: its first weights, its dropout, its norms."""

import math

import pytest
import torch
from torch import nn

from genoconv.models import HyenaDNA
from genoconv.models.config import ModelConfig


def model(**changes: object) -> HyenaDNA:
    torch.manual_seed(0)
    sizes = {"d_model": 64, "n_layer": 3, "max_length": 32, "filter_order": 16, **changes}
    return HyenaDNA(ModelConfig.from_dict(sizes))


@pytest.mark.parametrize("n_layer", [1, 8])
@pytest.mark.parametrize("std", [0.02, 0.1])
def test_what_branches_add_is_scaled_down_with_depth(n_layer: int, std: float) -> None:
    """As GPT-2 and the published HyenaDNA: the last layer of each branch has std / sqrt(2 n_layer)."""
    found = model(n_layer=n_layer, initializer_range=std)
    layers = {name: module for name, module in found.named_modules() if isinstance(module, nn.Linear)}
    for name, layer in layers.items():
        deep = name.endswith(("mixer.out_proj", "mlp.fc2"))
        if layer.weight.numel() >= 4096:  # enough numbers for their spread to be known to 5 %
            expected = std / math.sqrt(2 * n_layer) if deep else std
            assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.05), name
        if layer.bias is not None:
            assert not layer.bias.any(), name
    assert sum(name.endswith(("mixer.out_proj", "mlp.fc2")) for name in layers) == 2 * n_layer
    assert float(found.embedding.weight.detach().std()) == pytest.approx(std, rel=0.1)


def dropped(found: HyenaDNA) -> bool:
    """Whether two passes over the same tokens in training differ."""
    tokens = torch.randint(7, 11, (2, 32))
    found.train()
    return not torch.equal(found(tokens), found(tokens))


def test_each_dropout_acts_in_training_alone() -> None:
    assert not dropped(model(embed_dropout=0.0, resid_dropout=0.0))
    assert dropped(model(embed_dropout=0.5, resid_dropout=0.0))
    found = model(embed_dropout=0.0, resid_dropout=0.5)
    assert dropped(found)
    found.eval()
    tokens = torch.randint(7, 11, (2, 32))
    assert torch.equal(found(tokens), found(tokens))


@pytest.mark.parametrize("branch", ["mixer", "mlp"])
def test_residual_dropout_is_on_what_each_branch_adds(branch: str) -> None:
    """At 0.5 half of what a branch adds is zero and the rest is doubled; the residual stream itself is whole."""
    block = model(embed_dropout=0.0, resid_dropout=0.5).train().backbone.layers[0]
    assert not isinstance(block, torch.Tensor)
    residual = torch.randn(4, 32, 64)
    other = block.mlp if branch == "mixer" else block.mixer
    other.register_forward_hook(lambda module, given, out: torch.zeros_like(out))
    added: list[torch.Tensor] = []
    getattr(block, branch).register_forward_hook(lambda module, given, out: added.append(out))
    change = (block(residual).settled() - residual).detach()
    kept = change.abs() > 1e-7 * residual.abs()
    assert float(kept.float().mean()) == pytest.approx(0.5, abs=0.05)
    # The module's last bias is added with its branch, behind it.
    bias = block.mixer.out_proj.bias if branch == "mixer" else block.mlp.fc2.bias
    assert torch.allclose(change[kept], 2 * (added[0] + bias).detach()[kept], atol=1e-5)


def test_layer_norm_epsilon_is_that_of_the_last_norm_alone() -> None:
    """With a large epsilon the last norm shrinks what it is given; the blocks keep the published 1e-5."""
    found = model(layer_norm_epsilon=0.75).eval()
    x = torch.randn(2, 5, 64)
    centred = x - x.mean(-1, keepdim=True)
    expected = centred / (x.var(-1, correction=0, keepdim=True) + 0.75).sqrt()
    assert torch.allclose(found.backbone.ln_f(x), expected, atol=1e-6)
    norms = {name: module.eps for name, module in found.named_modules() if isinstance(module, nn.LayerNorm)}
    assert norms.pop("backbone.ln_f") == 0.75
    assert set(norms.values()) == {1e-5}
    assert len(norms) == 2 * 3
