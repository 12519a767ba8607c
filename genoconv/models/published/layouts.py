"""The two published forms of a HyenaDNA checkpoint: how their configurations and tensor names read.

* ``hyenadna-hf``: transformers, ``config.json`` + ``model.safetensors``, keys ``hyena.backbone...``, ``lm_head...``.
* ``hyenadna-original``: ``config.json`` + ``weights.ckpt``, keys ``model.backbone...``, ``model.lm_head...``.

genoconv's own names are the published ones without their prefix.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genoconv.errors import ModelError
from genoconv.models.config import ModelConfig
from genoconv.tokens import PAD, VOCAB_SIZE

# The published modelling code adds this floor to the filters' decay, and no config.json mentions it. HyenaDNA's
# training repository has 0.0 as its default, but the weights were released with, and agree with, this value.
PUBLISHED_SHIFT = 0.05


@dataclass(frozen=True)
class Layout:
    """One published form.

    Attributes:
        name: as ``--format`` takes it.
        weights: names that its weights file can have, the usual one first.
        prefix: before ``backbone.`` in a key.
        head_prefix: before ``lm_head.`` in a key.
    """

    name: str
    weights: tuple[str, ...]
    prefix: str
    head_prefix: str

    def published_name(self, name: str) -> str:
        """Key in the file of genoconv's tensor ``name``."""
        return (self.head_prefix if name.startswith("lm_head.") else self.prefix) + name

    def own_name(self, key: str) -> str | None:
        """genoconv's name of the file's ``key``, without the ``.layer`` of checkpointed variants; None if foreign."""
        for prefix, part in ((self.prefix, "backbone."), (self.head_prefix, "lm_head.")):
            if key.startswith(prefix + part):
                return _WRAPPED.sub(r".\1.", key.removeprefix(prefix))
        return None


_WRAPPED = re.compile(r"\.(mixer|mlp)\.layer\.")

HF = Layout("hyenadna-hf", ("model.safetensors", "pytorch_model.bin"), "hyena.", "")
ORIGINAL = Layout("hyenadna-original", ("weights.ckpt",), "model.", "model.")
LAYOUTS = {layout.name: layout for layout in (HF, ORIGINAL)}


def wrapped_parts(keys: Mapping[str, Any]) -> list[str]:
    """Which of "mixer" and "mlp" carry the extra ``.layer`` that activation checkpointing puts into their keys."""
    return sorted({match[1] for key in keys if (match := _WRAPPED.search(key))})


def wrap(name: str, parts: list[str]) -> str:
    """Put that ``.layer`` back."""
    return re.sub(rf"\.({'|'.join(parts)})\.", r".\1.layer.", name, count=1) if parts else name


def layout_of(config: Mapping[str, Any]) -> Layout | None:
    """The layout that a published ``config.json`` belongs to; None if to neither."""
    if config.get("model_type") == "hyenadna":
        return HF
    if isinstance(config.get("layer"), dict):
        return ORIGINAL
    return None


# Published setting -> ours, with the value that the published code takes where the file is silent.
_HF_NAMES = {
    "d_model": ("d_model", 256),
    "n_layer": ("n_layer", 12),
    "d_inner": ("d_inner", 0),
    "max_seq_len": ("max_length", 1024),
    "filter_order": ("filter_order", 64),
    "emb_dim": ("emb_dim", 3),
    "num_inner_mlps": ("num_inner_mlps", 2),
    "activation_freq": ("activation_freq", 1),
    "train_freq": ("train_freq", True),
    "short_filter_order": ("short_filter_order", 3),
    "embed_dropout": ("embed_dropout", 0.1),
    "layer_norm_epsilon": ("layer_norm_epsilon", 1e-5),
    "initializer_range": ("initializer_range", 0.02),
    "pad_vocab_size_multiple": ("pad_vocab_size_multiple", 8),
}
_ORIGINAL_NAMES = {
    "d_model": ("d_model", None),
    "n_layer": ("n_layer", None),
    "d_inner": ("d_inner", 0),
    "embed_dropout": ("embed_dropout", 0.1),
    "resid_dropout": ("resid_dropout", 0.0),
    "layer_norm_epsilon": ("layer_norm_epsilon", 1e-5),
    "pad_vocab_size_multiple": ("pad_vocab_size_multiple", 1),
}
_ORIGINAL_LAYER_NAMES = {
    "l_max": ("max_length", None),
    "filter_order": ("filter_order", 64),
    "emb_dim": ("emb_dim", 3),
    "num_inner_mlps": ("num_inner_mlps", 2),
    "w": ("activation_freq", 1),
    "short_filter_order": ("short_filter_order", 3),
    "modulate": ("modulate", True),
    "shift": ("modulation_shift", PUBLISHED_SHIFT),
}
# Settings that change the arithmetic, and the only value of each that HyenaDNA was published with.
_HF_FIXED: dict[str, Any] = {"vocab_size": VOCAB_SIZE, "hyena_order": 2, "short_filter_order": 3}
_ORIGINAL_FIXED: dict[str, Any] = {"vocab_size": VOCAB_SIZE, "attn_layer_idx": None, "max_position_embeddings": 0}
_LAYER_FIXED: dict[str, Any] = {
    "_name_": "hyena",
    "order": 2,
    "normalized": False,
    "num_heads": 1,
    "num_blocks": 1,
    "inner_factor": 1,
    "outer_mixing": False,
    "post_order_ffn": False,
    "bidirectional": False,
    "activation": "id",
    "bias": True,
    "linear_mixer": False,
}
# Settings without a say in what the model computes once its weights are known. The public code reads short_filter_order
# and not local_order, which the published files have.
_LAYER_IGNORED = {
    *("lr", "wd", "lr_pos_emb", "modulation_lr", "dropout", "filter_dropout", "fused_fft_conv", "fused_bias_fc"),
    *("channels", "fast_decay_pct", "slow_decay_pct", "target", "return_state", "filter_cls", "jit_filter"),
    "local_order",
}


def read_settings(config: Mapping[str, Any], layout: Layout, *, modulation_shift: float | None = None) -> ModelConfig:
    """The sizes in a published ``config.json``.

    Args:
        config: its content.
        layout: the one it belongs to.
        modulation_shift: in place of the file's, or of 0.05 where it has none.

    Raises:
        ModelError: settings that are missing, impossible, or of a model that is not HyenaDNA; one line each.
    """
    values: dict[str, Any] = {"modulation_shift": PUBLISHED_SHIFT}
    problems: list[str] = []

    def take(section: Mapping[str, Any], names: Mapping[str, tuple[str, Any]], where: str) -> None:
        for theirs, (ours, default) in names.items():
            value = section.get(theirs, default)
            if value is None and theirs == "d_inner":
                value = 0
            if value is None:
                problems.append(f"{where}{theirs}: missing")
            else:
                values[ours] = value

    def insist(section: Mapping[str, Any], fixed: Mapping[str, Any], where: str) -> None:
        for name, only in fixed.items():
            if section.get(name, only) != only:
                problems.append(f"{where}{name}: {section[name]!r} is not supported; HyenaDNA has {only!r}")

    if layout is HF:
        take(config, _HF_NAMES, "")
        insist(config, _HF_FIXED, "")
    else:
        layer = config["layer"]
        take(config, _ORIGINAL_NAMES, "")
        insist(config, _ORIGINAL_FIXED, "")
        take(layer, _ORIGINAL_LAYER_NAMES, "layer.")
        insist(layer, _LAYER_FIXED, "layer.")
        known = {*_ORIGINAL_LAYER_NAMES, *_LAYER_FIXED, *_LAYER_IGNORED}
        problems += [f"layer.{name}: unknown, it may change what is computed" for name in layer if name not in known]
    if modulation_shift is not None:
        values["modulation_shift"] = modulation_shift
    if problems:
        raise ModelError("\n".join(problems))
    return ModelConfig.from_dict(values)


def write_settings(config: ModelConfig, layout: Layout) -> dict[str, Any]:
    """A published ``config.json`` for these sizes.

    Raises:
        ModelError: the layout's public code cannot compute this model; one line a reason.
    """
    problems = []
    if config.short_filter_order != 3:
        problems.append(f"short_filter_order: {config.short_filter_order}; the public code has 3 taps, always")
    if layout is HF and not config.modulate:
        problems.append("modulate: false is not supported by this layout")
    if layout is HF and config.modulation_shift != PUBLISHED_SHIFT:
        problems.append(f"modulation_shift: {config.modulation_shift}; the public code of this layout has 0.05, always")
    if layout is ORIGINAL and not (config.tied_head and config.train_freq):
        problems.append("tied_head, train_freq: false is not supported by this layout")
    if problems:
        raise ModelError("\n".join(f"{layout.name}: {problem}" for problem in problems))
    ours = config.to_dict()
    if layout is HF:
        return {
            "architectures": ["HyenaDNAForCausalLM"],
            "model_type": "hyenadna",
            **{theirs: ours[name] for theirs, (name, _) in _HF_NAMES.items()},
            "vocab_size": VOCAB_SIZE,
            "hyena_order": 2,
            "hyena_dropout": 0.0,
            "hyena_filter_dropout": 0.0,
            "use_bias": True,
            "pad_token_id": PAD,
            "tie_word_embeddings": False,
            "torch_dtype": "float32",
        }
    layer = {theirs: ours[name] for theirs, (name, _) in _ORIGINAL_LAYER_NAMES.items()}
    return {
        **{theirs: ours[name] for theirs, (name, _) in _ORIGINAL_NAMES.items()},
        "vocab_size": VOCAB_SIZE,
        "residual_in_fp32": True,
        "layer": {"_name_": "hyena", **layer, "lr_pos_emb": 0.0},
    }
