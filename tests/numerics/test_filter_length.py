"""Models whose filters are shorter than their windows, and windows longer than those in training."""

from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from genoconv.errors import ModelError
from genoconv.models import HyenaDNA, ModelConfig, load_model
from genoconv.models.checkpoint import save_model
from genoconv.models.filter import HyenaFilter
from genoconv.models.published.conversion import read_published
from genoconv.models.published.layouts import HF, ORIGINAL, Layout
from genoconv.models.weights import build, stored_tensors
from genoconv.pipelines.models.run import export_model
from genoconv.tasks.likelihood import CausalLikelihood, Pair

TRAINED = ModelConfig(d_model=8, n_layer=2, max_length=64, filter_order=8, embed_dropout=0.0)
LONGER = replace(TRAINED, filter_length=64)


def model(config: ModelConfig) -> HyenaDNA:
    """Random weights, the same for every length, large enough that every base matters."""
    torch.manual_seed(3)
    made = HyenaDNA(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    return made


def ids(length: int, *, rows: int = 1) -> Tensor:
    return torch.randint(7, 11, (rows, length), generator=torch.Generator().manual_seed(length))


def test_up_to_its_training_length_it_is_the_same_model() -> None:
    for N in (1, 20, 64):
        assert torch.equal(model(TRAINED)(ids(N)), model(LONGER)(ids(N)))


def test_beyond_it_the_filters_end_where_they_ended_in_training() -> None:
    found = model(LONGER)(ids(200))
    made = HyenaFilter.forward

    def padded(self: HyenaFilter, length: int) -> Tensor:
        return torch.nn.functional.pad(made(self, 64), (0, length - 64))

    whole = model(replace(TRAINED, max_length=64))
    with mock.patch.object(HyenaFilter, "forward", padded), mock.patch("genoconv.models.hyena.check_length"):
        torch.testing.assert_close(found, whole(ids(200)), rtol=1e-4, atol=1e-4)
    prepared = model(LONGER).prepare(200)
    with torch.inference_mode():
        torch.testing.assert_close(found, prepared(ids(200)), rtol=1e-4, atol=1e-4)


def test_a_base_sees_no_further_than_the_filters_of_all_layers_reach() -> None:
    made, reach = model(LONGER), 2 * (63 + 2)  # two layers of 64 taps and of a short filter of 3
    before, after = ids(300), ids(300)
    after[:, 20] = 7 + (after[:, 20] - 7 + 1) % 4
    changed = (made(before) - made(after)).abs().amax((0, 2)) > 1e-6
    assert changed[20]
    assert changed[21 : 20 + reach // 2].any()
    assert not changed[20 + reach + 1 :].any()


def test_a_model_can_be_trained_on_windows_longer_than_its_filters() -> None:
    made = model(replace(TRAINED, max_length=256, filter_length=32)).train()
    assert made.backbone.layers[0].mixer.filter_fn(256).shape == (8, 32)  # type: ignore[union-attr, operator]
    made(ids(256, rows=2)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


def test_without_the_key_a_model_loads_and_refuses_as_before(tmp_path: Path) -> None:
    values = TRAINED.to_dict()
    del values["filter_length"]
    assert ModelConfig.from_dict(values) == TRAINED
    save_model(model(LONGER), tmp_path / "m", provenance={})
    assert load_model(tmp_path / "m").config == LONGER
    with pytest.raises(ModelError, match="65 tokens: this model takes 1 to 64; cut it into windows"):
        model(TRAINED)(ids(65))
    with pytest.raises(ModelError, match="0 tokens: this model takes 1 or more"):
        model(LONGER)(ids(0))


@pytest.mark.parametrize(
    ("value", "message"),
    [(65, "65 exceeds max_length, 64"), (1, "1 is too small"), (-1, "outside 0"), (True, "whole")],
)
def test_lengths_that_cannot_be_are_refused(value: int, message: str) -> None:
    with pytest.raises(ModelError, match=f"filter_length: .*{message}"):
        replace(TRAINED, filter_length=value)


@pytest.mark.parametrize("layout", [HF, ORIGINAL], ids=["hf", "original"])
def test_an_exported_model_keeps_its_filters(layout: Layout, tmp_path: Path) -> None:
    config = replace(TRAINED, filter_length=32)
    save_model(model(config), tmp_path / "m", provenance={})
    export_model(tmp_path / "m", tmp_path / "out", layout=layout)
    read = read_published(tmp_path / "out")
    assert read.config.max_length == 32
    back, own = build(read.config, read.tensors).eval(), model(config)
    assert {name: t.shape for name, t in stored_tensors(back).items()} == {
        name: t.shape for name, t in stored_tensors(own).items()
    }
    torch.testing.assert_close(back(ids(32)), own(ids(32)))


def test_alternatives_are_read_from_their_first_difference_in_long_windows_too() -> None:
    made, window = model(LONGER), 200
    ref = ids(window)[0].numpy().astype(np.uint8)
    alt = ref.copy()
    alt[105] = 7 + (alt[105] - 7 + 1) % 4
    pairs = [Pair(0, 1, 105)]
    quick = CausalLikelihood(made, starts={window: 90})([ref, alt], pairs)
    whole = CausalLikelihood(made, starts={window: 0})([ref, alt], pairs)
    np.testing.assert_allclose(quick[0][105:], whole[0][105:], atol=1e-4)
    np.testing.assert_allclose(quick[1][105:], whole[1][105:], atol=1e-4)
