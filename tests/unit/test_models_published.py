"""Both published layouts in and out: what is accepted, what is said of what is not, and the way back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from published_checkpoints import (
    SIZES,
    golden,
    hf_config,
    original_config,
    random_tensors,
    reference,
    write_hf,
    write_original,
)
from torch import Tensor

from genoconv.errors import ModelError, OutputError
from genoconv.models import PRESETS, HyenaDNA, load_model, save_model
from genoconv.models.published.conversion import read_published
from genoconv.models.published.hub import PUBLISHED
from genoconv.models.published.layouts import HF, LAYOUTS, ORIGINAL
from genoconv.pipelines.models.run import describe_model, export_model, import_model, list_models
from support import DATA, needs_data

FILTER = "backbone.layers.1.mixer.filter_fn."
WRITERS = {"hyenadna-hf": write_hf, "hyenadna-original": write_original}


def raw_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint folder under the names of its file."""
    if (folder / "model.safetensors").exists():
        return safetensors.torch.load_file(folder / "model.safetensors")
    return torch.load(folder / "weights.ckpt", weights_only=True)["state_dict"]


def same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].numpy().tobytes() == b[k].numpy().tobytes()
        for k in a
    )


def wrapped(tensors: dict[str, Tensor], *parts: str) -> dict[str, Tensor]:
    """Keys as of a model trained with activation checkpointing."""
    for part in parts:
        tensors = {name.replace(f".{part}.", f".{part}.layer."): tensor for name, tensor in tensors.items()}
    return tensors


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("parts", [(), ("mixer", "mlp"), ("mixer",)])
def test_a_checkpoint_comes_back_bit_for_bit(layout: str, parts: tuple[str, ...], tmp_path: Path) -> None:
    tensors = random_tensors(seed=5)
    tensors[f"{FILTER}pos_emb.z"] += 3e-7  # rounded elsewhere: other bits than this machine computes
    source = WRITERS[layout](tmp_path / "source", wrapped(tensors, *parts))
    made = import_model(str(source), tmp_path / "model")
    assert made.layout == layout
    assert not made.config.stored_positions
    assert export_model(tmp_path / "model", tmp_path / "back", layout=LAYOUTS[layout]) == []
    assert same_bits(raw_tensors(tmp_path / "back"), raw_tensors(source))
    assert json.loads((tmp_path / "back/config.json").read_text()) == json.loads((source / "config.json").read_text())


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("where", ["here", pytest.param("shared", marks=needs_data("hyenadna_golden"))])
def test_a_golden_checkpoint_comes_back_bit_for_bit(layout: str, where: str, tmp_path: Path) -> None:
    name = layout.removeprefix("hyenadna-")
    source = golden(name, tmp_path) if where == "here" else DATA / "hyenadna_golden" / f"tiny-1k-{name}"
    made = import_model(str(source), tmp_path / "model")
    assert where == "here" or made.parameters == 436_096
    export_model(tmp_path / "model", tmp_path / "back", layout=LAYOUTS[layout])
    assert same_bits(raw_tensors(tmp_path / "back"), raw_tensors(source))
    assert json.loads((tmp_path / "back/config.json").read_text()) == json.loads((source / "config.json").read_text())
    if layout == "hyenadna-hf":
        assert (tmp_path / "back/model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()


@pytest.mark.parametrize("layout", WRITERS)
def test_the_other_layout_holds_the_same_bits_and_the_same_model(layout: str, tmp_path: Path) -> None:
    tensors = random_tensors(seed=6)
    other = next(name for name in WRITERS if name != layout)
    WRITERS[layout](tmp_path / "source", wrapped(tensors, "mixer", "mlp"))
    import_model(str(tmp_path / "source"), tmp_path / "model")
    export_model(tmp_path / "model", tmp_path / "other", layout=LAYOUTS[other])
    published = {LAYOUTS[other].published_name(name): tensor for name, tensor in tensors.items()}
    assert same_bits(raw_tensors(tmp_path / "other"), published)
    ids = torch.randint(7, 12, (2, 30))
    with torch.no_grad():
        logits = load_model(tmp_path / "model")(ids)
    true = reference(tensors, ids)[0]
    assert (logits - true).norm() / true.norm() < 1e-4
    import_model(str(tmp_path / "other"), tmp_path / "again")
    assert describe_model(tmp_path / "again")["weights_sha256"] == describe_model(tmp_path / "model")["weights_sha256"]


def test_a_model_of_our_own_is_exported_and_comes_back(tmp_path: Path) -> None:
    model = HyenaDNA(PRESETS["tiny-1k"]).eval()
    save_model(model, tmp_path / "model", provenance={"kind": "trained"})
    ids = torch.randint(7, 12, (1, 50))
    for name, layout in LAYOUTS.items():
        export_model(tmp_path / "model", tmp_path / name, layout=layout)
        import_model(str(tmp_path / name), tmp_path / f"{name}-again")
        again = load_model(tmp_path / f"{name}-again")
        with torch.no_grad():
            assert torch.equal(again(ids), model(ids))


def test_trained_positional_features_are_used_and_kept(tmp_path: Path) -> None:
    tensors = random_tensors()
    tensors[f"{FILTER}pos_emb.z"] += 0.3 * torch.randn(1, SIZES["l_max"], SIZES["emb_dim"])
    made = import_model(str(write_hf(tmp_path / "source", tensors)), tmp_path / "model")
    assert made.config.stored_positions
    assert "trained" in made.notes[0]
    ids = torch.randint(7, 12, (2, 40))
    with torch.no_grad():
        logits = load_model(tmp_path / "model")(ids)
    true = reference(tensors, ids)[0]
    assert (logits - true).norm() / true.norm() < 1e-4
    export_model(tmp_path / "model", tmp_path / "back", layout=HF)
    assert same_bits(raw_tensors(tmp_path / "back"), raw_tensors(tmp_path / "source"))


def test_a_head_of_its_own_is_used(tmp_path: Path) -> None:
    tensors = random_tensors()
    tensors["lm_head.weight"] = torch.randn(16, SIZES["d_model"])
    import_model(str(write_hf(tmp_path / "source", tensors)), tmp_path / "model")
    ids = torch.randint(7, 12, (1, 20))
    model = load_model(tmp_path / "model")
    true = reference(tensors, ids)[0]
    with torch.no_grad():
        assert (model(ids) - true).norm() / true.norm() < 1e-4
    export_model(tmp_path / "model", tmp_path / "back", layout=HF)
    assert same_bits(raw_tensors(tmp_path / "back"), raw_tensors(tmp_path / "source"))
    with pytest.raises(ModelError, match="tied_head"):
        export_model(tmp_path / "model", tmp_path / "original", layout=ORIGINAL)


def test_half_precision_and_tensors_that_are_saved_once_come_back_as_they_were(tmp_path: Path) -> None:
    tensors = {name: tensor.bfloat16() for name, tensor in random_tensors().items()}
    dropped = [name for name in tensors if name.endswith("implicit_filter.3.freq")]
    for name in dropped:
        del tensors[name]
    source = write_hf(tmp_path / "source", tensors)
    made = import_model(str(source), tmp_path / "model")
    assert not made.config.stored_positions, "rounding to bfloat16 is no training"
    export_model(tmp_path / "model", tmp_path / "back", layout=HF)
    back, there = raw_tensors(tmp_path / "back"), raw_tensors(source)
    assert back.keys() == there.keys()
    assert all(back[k].dtype == torch.bfloat16 and torch.equal(back[k], there[k]) for k in back)


@pytest.mark.parametrize("trained", [False, True])
def test_double_precision_comes_back_to_the_last_bit(trained: bool, tmp_path: Path) -> None:
    tensors = {name: tensor.double() for name, tensor in random_tensors().items()}
    tensors["backbone.ln_f.bias"] += 1e-12
    if trained:
        tensors[f"{FILTER}pos_emb.z"] += 0.1 + 1e-12
    source = write_hf(tmp_path / "source", tensors)
    assert import_model(str(source), tmp_path / "model").config.stored_positions is trained
    export_model(tmp_path / "model", tmp_path / "back", layout=HF)
    assert same_bits(raw_tensors(tmp_path / "back"), raw_tensors(source))


ODD_TENSORS = {
    "sparse": (torch.ones(12).to_sparse(), "torch.sparse_coo, not dense"),
    "without values": (torch.empty(12, device="meta"), "without values"),
    "complex": (torch.zeros(12, dtype=torch.complex64), "torch.complex64, not floating point"),
    "half complex": (torch.zeros(12, dtype=torch.complex128), "torch.complex128, not floating point"),
    "whole numbers": (torch.zeros(12, dtype=torch.int64), "torch.int64, not floating point"),
}


@pytest.mark.parametrize("name", ODD_TENSORS)
def test_tensors_that_are_no_weights_are_named(name: str, tmp_path: Path) -> None:
    tensor, words = ODD_TENSORS[name]
    source = write_original(tmp_path / "source", random_tensors() | {"backbone.ln_f.bias": tensor})
    with pytest.raises(ModelError, match=f"tensor model.backbone.ln_f.bias is .*{words}"):
        read_published(source)


def test_eight_bits_are_no_weights(tmp_path: Path) -> None:
    tensor = torch.zeros(12).to(torch.float8_e4m3fn)
    source = write_original(tmp_path / "source", random_tensors() | {"backbone.ln_f.bias": tensor})
    with pytest.raises(ModelError, match=r"refused, it asks for torch\.storage\.UntypedStorage"):
        read_published(source)


def test_weights_in_shards_are_called_so(tmp_path: Path) -> None:
    source = write_hf(tmp_path / "source", random_tensors())
    (source / "model.safetensors").rename(source / "model-00001-of-00001.safetensors")
    (source / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelError, match=r"in shards \(model.safetensors.index.json\), save it as one file"):
        read_published(source)


def test_pytorch_bin_in_the_transformers_layout(tmp_path: Path) -> None:
    source = write_hf(tmp_path / "source", random_tensors())
    tensors = raw_tensors(source)
    (source / "model.safetensors").unlink()
    torch.save(tensors, source / "pytorch_model.bin")
    import_model(str(source), tmp_path / "model")
    export_model(tmp_path / "model", tmp_path / "back", layout=HF)
    assert same_bits(torch.load(tmp_path / "back" / "pytorch_model.bin", weights_only=True), tensors)


def test_a_training_checkpoint_keeps_its_numbers_and_says_what_it_loses(tmp_path: Path) -> None:
    tensors = random_tensors()
    beside = {"global_step": 7, "optimizer_states": [{"lr": 1.0}], "hyper_parameters": {"a": 1}}
    source = write_original(tmp_path / "source", tensors, beside=beside)
    state = torch.load(source / "weights.ckpt", weights_only=True)
    state["state_dict"]["train_torchmetrics.num_tokens.count"] = torch.tensor(5)
    torch.save(state, source / "weights.ckpt")
    import_model(str(source), tmp_path / "model")
    notes = " ".join(export_model(tmp_path / "model", tmp_path / "back", layout=ORIGINAL))
    for lost in ("optimizer_states", "hyper_parameters", "train_torchmetrics.num_tokens.count"):
        assert lost in notes
    back = torch.load(tmp_path / "back/weights.ckpt", weights_only=True)
    assert (back["epoch"], back["global_step"]) == (3, 7)


def test_every_wrong_tensor_is_named_at_once(tmp_path: Path) -> None:
    tensors = random_tensors()
    del tensors["backbone.layers.0.mlp.fc1.weight"], tensors["lm_head.weight"]
    tensors["backbone.layers.2.mixer.in_proj.bias"] = torch.zeros(7)
    tensors["backbone.layers.9.norm1.bias"] = torch.zeros(12)
    tensors["backbone.ln_f.weight"][3] = torch.nan
    tensors["score.weight"] = torch.zeros(2, 12)
    with pytest.raises(ModelError) as caught:
        import_model(str(write_hf(tmp_path / "source", tensors)), tmp_path / "model")
    lines = str(caught.value).split("\n")
    assert len(lines) == 6
    expected = (
        ("hyena.backbone.layers.0.mlp.fc1.weight", "missing"),
        ("lm_head.weight", "missing"),
        ("hyena.backbone.layers.2.mixer.in_proj.bias", "[7], but the configuration implies [36]"),
        ("backbone.layers.9.norm1.bias", "belongs to no part"),
        ("hyena.backbone.ln_f.weight", "not finite"),
        ("score.weight", "belongs to no part"),
    )
    for name, fault in expected:
        assert sum(f"tensor {name} " in line or f"tensor hyena.{name} " in line for line in lines) == 1, name
        assert any(name in line and fault in line for line in lines), (name, fault)
    assert all(line.startswith(str(tmp_path / "source" / "model.safetensors")) for line in lines)
    assert not (tmp_path / "model").exists()


def _config(change: Callable[[dict[str, Any]], object], *, layer: bool = False) -> dict[str, Any]:
    config = original_config()
    change(config["layer"] if layer else config)
    return config


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (_config(lambda c: c.pop("l_max"), layer=True), ["layer.l_max: missing"]),
        (
            _config(lambda c: c.update(order=3, d_mode=1), layer=True),
            ["layer.order: 3 is not", "layer.d_mode: unknown"],
        ),
        (_config(lambda c: c.update(vocab_size=5, d_model="x")), ["vocab_size: 5 is not"]),
        (_config(lambda c: c.update(d_model="x", n_layer=-1)), ["d_model: 'x' is not", "n_layer: -1 is outside"]),
        (_config(lambda c: c.update(emb_dim=4), layer=True), ["emb_dim: 4 is even"]),
        (_config(lambda c: c.update(bias=False), layer=True), ["layer.bias: False is not supported"]),
        (hf_config() | {"hyena_order": 3}, ["hyena_order: 3 is not"]),
        (hf_config() | {"short_filter_order": 4}, ["short_filter_order: 4 is not"]),
        ({"model_type": "gpt2"}, ["neither layout"]),
        (hf_config() | {"n_layer": 4}, ["weights.ckpt"]),
    ],
)
def test_settings_that_cannot_be_are_named(config: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    source = write_original(tmp_path / "source", random_tensors())
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError) as caught:
        read_published(source)
    for word in words if words != ["weights.ckpt"] else ["model.safetensors or pytorch_model.bin is missing"]:
        assert word in str(caught.value)


def test_shared_tensors_must_be_alike(tmp_path: Path) -> None:
    tensors = random_tensors()
    tensors[f"{FILTER}implicit_filter.3.freq"][0, 0] += 1
    tensors["lm_head.weight"] = tensors["lm_head.weight"] + 1
    tensors[f"{FILTER}pos_emb.t"] = tensors[f"{FILTER}pos_emb.t"] * 2
    with pytest.raises(ModelError) as caught:
        read_published(write_original(tmp_path / "source", tensors))
    lines = str(caught.value).split("\n")
    assert len(lines) == 3
    assert "share one frequency" in lines[0]
    assert "model.lm_head.weight differs" in lines[1]
    assert "pos_emb.t differs by 1" in lines[2]


def test_the_shift_is_the_published_one_unless_the_file_or_the_user_says_otherwise(tmp_path: Path) -> None:
    source = write_original(tmp_path / "source", random_tensors())
    assert read_published(source).config.modulation_shift == 0.05
    assert read_published(source, modulation_shift=0.0).config.modulation_shift == 0.0
    (source / "config.json").write_text(json.dumps(_config(lambda c: c.update(shift=0.01), layer=True)))
    assert read_published(source).config.modulation_shift == 0.01
    import_model(str(source), tmp_path / "model")
    with pytest.raises(ModelError, match=r"modulation_shift: 0\.01"):
        export_model(tmp_path / "model", tmp_path / "hf", layout=HF)


def test_only_a_model_folder_is_ever_replaced(tmp_path: Path) -> None:
    source = str(write_hf(tmp_path / "source", random_tensors()))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("years of work")
    with pytest.raises(OutputError, match="not be replaced"):
        import_model(source, tmp_path / "thesis", force=True)
    assert (tmp_path / "thesis/chapter.tex").read_text() == "years of work"
    import_model(source, tmp_path / "model")
    with pytest.raises(OutputError, match="--force"):
        import_model(source, tmp_path / "model")
    import_model(source, tmp_path / "model", force=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "source", "thesis"]


def test_what_was_kept_for_the_way_back_is_checked(tmp_path: Path) -> None:
    import_model(str(write_hf(tmp_path / "source", random_tensors())), tmp_path / "model")
    (tmp_path / "model/published.safetensors").unlink()
    load_model(tmp_path / "model")
    with pytest.raises(ModelError, match=r"published\.safetensors: missing or altered"):
        export_model(tmp_path / "model", tmp_path / "back", layout=HF)


def test_all_published_sizes_are_known(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENOCONV_HOME", str(home))
    rows = {row["name"]: row for row in list_models() if row["name"] in PUBLISHED}
    assert list(rows) == [name for name in PRESETS if name != "gene-4m"]
    assert rows["tiny-1k"]["parameters"] == 436_096
    assert rows["large-1m"]["max_length"] == 1_000_002
    assert all(row["repository"].startswith("LongSafari/hyenadna-") for row in rows.values())
