"""Model folders: written whole, checked whole, never taken for something else."""

import json
import math
from pathlib import Path

import pytest
import safetensors.torch
import torch

import genoconv
from genoconv.errors import ModelError, UsageError
from genoconv.models import PRESETS, HyenaDNA, ModelConfig, load_model, model_digest, preset, save_model
from genoconv.models.devices import DTYPES, resolve_precision
from genoconv.models.weights import bare_model

SMALL = ModelConfig(d_model=8, n_layer=2, max_length=32, filter_order=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(4)
    save_model(HyenaDNA(SMALL), tmp_path / "model", provenance={"kind": "trained", "steps": 3})
    return tmp_path / "model"


def test_what_is_saved_is_what_is_loaded(folder: Path) -> None:
    torch.manual_seed(4)
    model = HyenaDNA(SMALL).eval()
    state = torch.get_rng_state()
    again = genoconv.load_model(folder)
    assert torch.equal(torch.get_rng_state(), state), "loading a model must not change the user's random numbers"
    ids = torch.randint(7, 12, (2, 32))
    with torch.no_grad():
        assert torch.equal(again(ids), model(ids))
    assert not again.training
    assert again.lm_head.weight is again.embedding.weight
    record = json.loads((folder / "config.json").read_text())
    assert record["provenance"] == {"kind": "trained", "steps": 3}
    assert record["tokenizer"]["vocabulary"]["A"] == 7
    assert "lm_head.weight" not in safetensors.torch.load_file(folder / "model.safetensors")


def test_tensors_that_assignment_took_apart_are_stored_as_one(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    model.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()}, assign=True)
    assert model.lm_head.weight is not model.embedding.weight
    save_model(model, tmp_path / "assigned")
    assert model_digest(tmp_path / "assigned") == model_digest(folder)
    with torch.no_grad():
        model.lm_head.weight[0, 0] = model.embedding.weight[0, 0] = math.nan
    save_model(model, tmp_path / "diverged")  # a NaN is as good as another
    with torch.no_grad():
        model.lm_head.weight.mul_(2)
    with pytest.raises(ModelError, match="differs from backbone"):
        save_model(model, tmp_path / "apart")
    assert not (tmp_path / "apart").exists()


@pytest.mark.parametrize("value", [float("nan"), object()], ids=["nan", "object"])
def test_a_provenance_that_json_cannot_hold_leaves_the_folder_as_it_was(folder: Path, value: object) -> None:
    before = model_digest(folder)
    with pytest.raises(UsageError, match="provenance cannot be written as JSON: "):
        save_model(HyenaDNA(SMALL), folder, provenance={"value": value})
    assert model_digest(folder) == before
    load_model(folder)


def test_bfloat16_models_are_stored_as_they_are(folder: Path, tmp_path: Path) -> None:
    low = load_model(folder, dtype=torch.bfloat16)
    save_model(low, tmp_path / "low", provenance={})
    again = load_model(tmp_path / "low", dtype=torch.bfloat16)
    for (name, a), b in zip(low.named_parameters(), again.parameters(), strict=True):
        assert a.dtype == (torch.float32 if ".filter_fn." in name else torch.bfloat16), name
        assert a.dtype == b.dtype, name
        assert torch.equal(a, b), name


def test_the_digest_follows_weights_and_sizes_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    digest = model_digest(folder)
    model = load_model(folder)
    save_model(model, tmp_path / "same", provenance={"kind": "elsewhere"})
    assert model_digest(tmp_path / "same") == digest
    with torch.no_grad():
        model.backbone.ln_f.bias[0] += 1e-6
    save_model(model, tmp_path / "other", provenance={})
    assert model_digest(tmp_path / "other") != digest


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "model.safetensors").write_bytes(b"short"), "not a safetensors file"),
        (lambda f: (f / "config.json").write_text("{"), "not JSON"),
        (lambda f: (f / "config.json").write_text("[1]"), "expected a JSON object"),
        (lambda f: (f / "config.json").unlink(), "has no config.json"),
        (lambda f: _edit(f, format="other"), "not written by genoconv"),
        (lambda f: _edit(f, format_version=2), "format version 2"),
        (lambda f: _edit(f, architecture="mamba"), "architecture 'mamba', but this genoconv reads 'hyenadna'; update"),
        (
            lambda f: _edit(f, head={"kind": "classes", "classes": 3}),
            "head {'kind': 'classes', 'classes': 3}, but this",
        ),
        (lambda f: _edit(f, head="\x1b[31m"), "head '\\x1b[31m', but this genoconv reads"),
        (lambda f: _edit(f, weights=None), "'weights' is missing"),
        (lambda f: _edit(f, tokenizer={"vocabulary": {"A": 0}}), "vocabulary"),
        (lambda f: _edit(f, model={"d_model": 8, "n_layers": 2}), "did you mean n_layer?"),
        (lambda f: _edit(f, model=SMALL.to_dict() | {"n_layer": 1}), "belongs to no part"),
        (lambda f: _edit(f, model=SMALL.to_dict() | {"d_model": 9}), "the configuration implies"),
    ],
)
def test_a_damaged_folder_is_refused_in_words(folder: Path, damage, words: str) -> None:
    damage(folder)
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert words in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_folder_from_before_architecture_and_head_still_loads(folder: Path) -> None:
    path = folder / "config.json"
    record = json.loads(path.read_text())
    assert (record["architecture"], record["head"]) == ("hyenadna", {"kind": "next_base"})
    new = load_model(folder).state_dict()
    digest = model_digest(folder)
    del record["architecture"], record["head"]
    path.write_text(json.dumps(record))
    old = load_model(folder).state_dict()
    assert all(torch.equal(new[name], old[name]) for name in new)
    assert model_digest(folder) == digest


def test_weights_of_another_model_of_the_same_shape_are_noticed(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors["backbone.ln_f.bias"] += 1
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match="altered"):
        load_model(folder)


def test_folders_of_other_kinds_are_distinguished(tmp_path: Path) -> None:
    from published_checkpoints import random_tensors, write_hf, write_original

    with pytest.raises(ModelError, match="does not exist"):
        load_model(tmp_path / "nowhere")
    for name, write in (("hf", write_hf), ("original", write_original)):
        with pytest.raises(ModelError, match="genoconv models import"):
            load_model(write(tmp_path / name, random_tensors()))
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="is a file"):
        load_model(tmp_path / "file")


def test_devices_that_are_not_there_are_refused(folder: Path) -> None:
    assert load_model(folder, device="auto").embedding.weight.device.type in ("cpu", "cuda")
    for device in ("cuda:99", "gpu"):
        with pytest.raises(UsageError, match=device):
            load_model(folder, device=device)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_built(name: str) -> None:
    config = preset(name)
    model = bare_model(config, device="meta")
    assert config.padded_vocab == model.lm_head.weight.shape[0] == 16
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_an_unknown_setting_is_shown_escaped_and_in_short() -> None:
    with pytest.raises(ModelError) as caught:
        ModelConfig.from_dict({**preset("tiny-1k").to_dict(), "\ufeffd_model\x1b[31m" + 1000 * "x": 1})
    assert str(caught.value).startswith("\\ufeffd_model\\x1b[31mx")
    assert len(str(caught.value)) < 150


def test_windows_leave_out_the_positions_of_special_tokens() -> None:
    """Two bases more would take transforms of twice the length, and at 32,768 leave the fused kernels."""
    found = {name: preset(name).max_bases for name in PRESETS}
    assert found == {
        "tiny-1k": 1024,
        "tiny-1k-d256": 1024,
        "tiny-16k": 16_384,
        "small-32k": 32_768,
        "medium-160k": 160_000,
        "medium-450k": 450_000,
        "large-1m": 1_000_000,
        "gene-4m": 4_194_304,
    }
    assert preset("small-32k").max_length == 32_770  # what positions are scaled by
    assert ModelConfig(d_model=8, n_layer=1, max_length=1000).max_bases == 1000


def test_unknown_presets_name_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean tiny-1k"):
        preset("tiny1k")


def test_all_problems_of_a_configuration_are_reported_at_once() -> None:
    with pytest.raises(ModelError) as caught:
        ModelConfig(d_model=0, n_layer=True, max_length=2**25, emb_dim=4, embed_dropout=1.0, modulate=1)  # type: ignore[arg-type]
    lines = str(caught.value).split("\n")
    assert {line.split(":")[0] for line in lines} == {
        "d_model",
        "n_layer",
        "max_length",
        "emb_dim",
        "embed_dropout",
        "modulate",
    }


def test_precision_auto_is_float32_on_a_cpu() -> None:
    found = [resolve_precision(precision, device="cpu") for precision in ("auto", "32", "bf16")]
    assert [DTYPES[name] for name in found] == [torch.float32, torch.float32, torch.bfloat16]
    with pytest.raises(UsageError, match="device 'gpu' is unknown"):
        resolve_precision("auto", device="gpu")
