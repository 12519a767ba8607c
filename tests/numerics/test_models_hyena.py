"""The network against a plain float64 HyenaDNA, and what a causal model owes its users."""

import dataclasses
import math
from pathlib import Path

import pytest
import safetensors.torch
import torch
from published_checkpoints import (
    expected,
    golden,
    random_tensors,
    reference,
    reference_filter,
    write_hf,
    write_original,
)
from torch import Tensor

from genoconv.errors import ModelError
from genoconv.models import HyenaDNA, ModelConfig
from genoconv.models import filter as filter_module
from genoconv.models.published.conversion import read_published
from genoconv.models.weights import build
from genoconv.tokens import PAD, A, T
from support import DATA, needs_data

SMALL = ModelConfig(d_model=16, n_layer=2, max_length=64, filter_order=8)


def relative(found: Tensor, true: Tensor) -> float:
    found, true = found.detach().double(), true.detach().double()
    return float((found - true).norm() / true.norm())


def random_model(config: ModelConfig = SMALL, seed: int = 1, scale: float = 6.0) -> HyenaDNA:
    """With weights large enough that every branch matters."""
    torch.manual_seed(seed)
    model = HyenaDNA(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and not name.endswith("freq"):
                parameter.mul_(scale)
            elif name.endswith("bias"):
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def random_ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(7, 12, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("layout", ["hf", "original"])
def test_it_agrees_with_the_public_implementation(layout: str, tmp_path: Path) -> None:
    values = expected()
    read = read_published(golden(layout, tmp_path))
    model = build(read.config, read.tensors).eval()
    for N in (7, 256, 1024):
        ids = values[f"input_ids.{N}"]
        with torch.no_grad():
            for prepared in ((), (N,), (1024,)):
                model.prepare(*prepared)
                assert relative(model(ids), values[f"logits.{N}"]) < 1e-5
                if N < 1024:
                    assert relative(model.hidden(ids), values[f"hidden.{N}"]) < 1e-5
                    k = model.backbone.layers[0].mixer.filter_fn(N)
                    assert relative(k, values[f"filter.layer0.{N}"]) < 1e-5


@pytest.mark.parametrize("layout", ["hf", "original"])
@needs_data("hyenadna_golden")
def test_it_agrees_with_the_public_implementation_at_a_published_size(layout: str) -> None:
    folder = DATA / "hyenadna_golden" / f"tiny-1k-{layout}"
    values = safetensors.torch.load_file(folder / "expected.safetensors")
    read = read_published(folder)
    model = build(read.config, read.tensors).eval()
    for N in (7, 256, 1024):
        ids = values[f"input_ids.{N}"]
        with torch.no_grad():
            k = model.backbone.layers[0].mixer.filter_fn(N)
            assert relative(k, values[f"filter.layer0.{N}"]) < 1e-5
            for prepared in ((), (N,), (1024,)):
                model.prepare(*prepared)
                assert relative(model(ids), values[f"logits.{N}"]) < 1e-5
                assert relative(model.hidden(ids), values[f"hidden.{N}"]) < 1e-5


@pytest.mark.parametrize("write", [write_hf, write_original])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"d_model": 5, "n_layer": 1, "l_max": 33, "emb_dim": 3, "inner": 2},
        {"d_model": 24, "n_layer": 2, "l_max": 64, "d_inner": 17, "filter_order": 1, "emb_dim": 33, "inner": 0},
    ],
)
def test_it_agrees_with_a_plain_float64_model(write, sizes: dict[str, int], tmp_path: Path) -> None:
    from published_checkpoints import SIZES, hf_config, original_config

    tensors = random_tensors(seed=3, **sizes)
    config = (hf_config if write is write_hf else original_config)(**sizes)
    read = read_published(write(tmp_path / "m", tensors, **config))
    model = build(read.config, read.tensors).eval()
    for N in (1, 2, 20, read.config.max_length):
        ids = random_ids(2, N)
        logits, hidden = reference(tensors, ids, n_layer=(SIZES | sizes)["n_layer"])
        with torch.no_grad():
            assert relative(model(ids), logits) < 1e-4
            assert relative(model.hidden(ids), hidden) < 1e-4
            k = model.backbone.layers[0].mixer.filter_fn(N)
        assert relative(k, reference_filter(tensors, "backbone.layers.0.mixer.filter_fn.", N)) < 1e-5


def test_the_reference_notices_the_modulation_shift(tmp_path: Path) -> None:
    tensors = random_tensors()
    read = read_published(write_hf(tmp_path / "m", tensors), modulation_shift=0.0)
    ids = random_ids(2, 30)
    with torch.no_grad():
        logits = build(read.config, read.tensors).eval()(ids)
    assert relative(logits, reference(tensors, ids, shift=0.0)[0]) < 1e-4
    assert relative(logits, reference(tensors, ids, shift=0.05)[0]) > 1e-3


def test_logits_depend_neither_on_what_follows_nor_on_the_company() -> None:
    model = random_model()
    ids = random_ids(5, 40)
    with torch.no_grad():
        alone = model(ids[2:3, :25])
        padded = torch.cat([ids[:, :25], torch.full((5, 15), PAD)], dim=1)
        assert relative(model(padded)[2:3, :25], alone) < 1e-5
        assert relative(model(ids)[2:3, :25], alone) < 1e-5
        model.prepare(40)
        assert relative(model(ids)[2:3, :25], alone) < 1e-5
        changed = ids[2:3, :25].clone()
        changed[0, 10] = 7 + (changed[0, 10] - 6) % 5
        after = model(changed)
    assert torch.allclose(after[:, :10], alone[:, :10], atol=1e-5)
    assert float((after[:, 10:] - alone[:, 10:]).abs().max()) > 1e-2


def test_prepared_filters_are_used_and_never_stale() -> None:
    model = random_model()
    ids = random_ids(2, 40)
    mixer = model.backbone.layers[0].mixer
    with torch.no_grad():
        plain = model(ids)
        model.prepare(40, 64)
        assert relative(model(ids), plain) < 1e-6
        calls = []
        handle = mixer.filter_fn.register_forward_hook(lambda *_: calls.append(1))
        model(ids), model(ids[:, :21])
        assert not calls, "a prepared filter was made again"
        model(ids[:, :10])
        assert calls, "a short input must not pay for a filter of several times its length"
        handle.remove()
        mixer.filter_fn.implicit_filter[0].weight.mul_(1.5)
        fresh = model(ids)
    assert relative(fresh, plain) > 1e-4
    with torch.no_grad():
        mixer.filter_fn.implicit_filter[0].weight.div_(1.5)
        assert relative(model(ids), plain) < 1e-5
    model.prepare(40)
    assert len(mixer.spectra)
    model.train()
    assert not len(mixer.spectra)
    model.eval().prepare(40)
    model(ids).sum().backward()
    assert mixer.filter_fn.implicit_filter[0].weight.grad is not None, "with gradients, filters are made anew"


def test_a_long_filter_is_made_in_chunks_with_the_same_values_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    filter_fn = random_model().backbone.layers[0].mixer.filter_fn
    whole = filter_fn(50)
    weight = torch.randn_like(whole)
    names = [name for name, _ in filter_fn.named_parameters() if name != "bias"]
    parameters = [dict(filter_fn.named_parameters())[name] for name in names]
    gradients = torch.autograd.grad((whole * weight).sum(), parameters)
    monkeypatch.setattr(filter_module, "_CHUNK", 16)
    again = filter_fn(50)
    assert relative(again, whole) < 1e-6
    for name, a, b in zip(names, torch.autograd.grad((again * weight).sum(), parameters), gradients, strict=True):
        assert relative(a, b) < 1e-5, name
    with torch.no_grad():
        assert relative(filter_fn(50), whole) < 1e-6


def test_checkpointing_changes_no_gradient() -> None:
    model = random_model(dataclasses.replace(SMALL, embed_dropout=0.0)).train()
    ids = random_ids(2, 30)
    gradients = []
    for model.checkpointing in (False, True):
        model.zero_grad()
        model(ids).square().mean().backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    assert len(gradients[0]) > 20
    for name, gradient in gradients[0].items():
        assert relative(gradients[1][name], gradient) < 1e-5, name
        assert float(gradient.norm()) > 0, name


def test_bfloat16_keeps_the_filters_in_float32() -> None:
    model = random_model(scale=1.0)
    ids = random_ids(3, 60)
    with torch.no_grad():
        true = model(ids)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert model.backbone.layers[0].mixer.filter_fn(60).dtype == torch.float32
            mixed = model(ids)
        model.to(torch.bfloat16)
        filter_fn = model.backbone.layers[0].mixer.filter_fn
        assert {p.dtype for p in filter_fn.parameters()} == {torch.float32}
        assert filter_fn.modulation.deltas.dtype == torch.float32
        assert model.lm_head.weight.dtype == torch.bfloat16
        assert model.lm_head.weight is model.embedding.weight
        low = model(ids)
        model.prepare(60)
        prepared = model(ids)
    assert relative(mixed, true) < 0.03
    assert relative(low, true) < 0.03
    assert relative(prepared, low) < 0.01


@pytest.mark.parametrize("width", [16, 128])  # with 128 values a token and more, a CPU has code of its own
def test_logits_of_bases_from_a_position_on(width: int) -> None:
    model = random_model(dataclasses.replace(SMALL, d_model=width, max_length=512, embed_dropout=0.0), scale=3.0)
    ids = random_ids(2, 300)
    with torch.no_grad():
        whole = model(ids)[..., A : T + 1]
        assert relative(model.base_logits(ids), whole) < 1e-6
        for start in (1, 160, 299):
            assert relative(model.base_logits(ids, start=start), whole[:, start:]) < 1e-5
        model.train()
        model.checkpointing = True
        with torch.enable_grad():
            assert relative(model.base_logits(ids, start=160).detach(), whole[:, 160:]) < 1e-5
        low = model.to(torch.bfloat16).base_logits(ids)
    assert low.dtype == torch.float32
    assert not torch.equal(low, low.bfloat16().float()), "rounded"


def test_a_float64_model_sums_in_float64() -> None:
    """Blocks that add nothing leave the embedding as it is, which float32 would round."""
    model = random_model(scale=1.0).double()
    ids = random_ids(2, 60)
    with torch.no_grad():
        for block in model.backbone.layers:
            for linear in (block.mixer.out_proj, block.mlp.fc2):
                linear.weight.zero_()
                linear.bias.zero_()
        model.embedding.weight.mul_(1 + 1e-9)
        hidden = model.hidden(ids, layer=-1)
        assert torch.equal(hidden, model.embedding(ids))
        assert model.base_logits(ids).dtype == torch.float32


def test_positions_of_a_multi_megabase_model_are_right_at_both_ends() -> None:
    config = ModelConfig(d_model=2, n_layer=1, max_length=4_194_304, filter_order=4)
    positions = HyenaDNA(config).backbone.layers[0].mixer.filter_fn.pos_emb
    for i in (0, 1, 2_097_151, 2_097_152, 4_194_303):
        one = positions(i, i + 1)
        z, t = one.features(config.emb_dim, torch.device("cpu")), one.time(torch.device("cpu"))
        assert abs(float(t) - i / 4_194_303) < 1e-7
        angle = 2 * math.pi * i / 4_194_304
        expected = [math.cos(1e-4 * angle), math.cos(angle), -math.sin(1e-4 * angle), -math.sin(angle)]
        assert torch.allclose(z[1:, 0].double(), torch.tensor(expected, dtype=torch.float64), atol=2e-6)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (torch.zeros(2, 0, dtype=torch.long), "0 tokens"),
        (torch.zeros(0, 5, dtype=torch.long), "a batch without sequences"),
        (torch.zeros(1, 65, dtype=torch.long), "65 tokens"),
        (torch.zeros(5, dtype=torch.long), "got 5 of torch.int64"),
        (torch.zeros(1, 5), "torch.float32"),
        (torch.tensor([[7, 16]]), "token id 16 is outside the vocabulary, 0 to 15"),
        (torch.tensor([[7, -1]]), "token id -1 is outside"),
    ],
)
def test_inputs_that_cannot_be_are_refused_in_words(ids: Tensor, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        HyenaDNA(SMALL)(ids)


def test_blocks_and_lengths_that_cannot_be_are_named() -> None:
    model = HyenaDNA(SMALL)
    for layer in ("last", 1.0):
        with pytest.raises(ModelError, match=f"layer {layer}: this model has"):
            model.hidden(random_ids(1, 5), layer=layer)  # type: ignore[arg-type]
    for length in ("10", 10.5):
        with pytest.raises(ModelError, match=f"a length of {length!r} tokens: it must be a whole number"):
            model.prepare(length)  # type: ignore[arg-type]


def test_every_integer_type_of_ids_gives_the_same() -> None:
    model = random_model()
    ids = random_ids(2, 20)
    with torch.no_grad():
        expected = model(ids)
        for dtype in (torch.uint8, torch.int16, torch.int32):
            assert torch.equal(model(ids.to(dtype)), expected)
