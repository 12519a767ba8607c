"""Random HyenaDNA checkpoints in the published layouts, and a plain float64 HyenaDNA to compare with.

Nothing here uses genoconv: the reference is written from the papers' formulas on the published tensor names, with the
convolution as a sum, so it shares no code and no trick with the model that it checks.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

# A checkpoint beside what the public implementation computes from it: see tests/data/README.md.
GOLDEN = Path(__file__).parent / "data" / "hyenadna"
GOLDEN_SIZES = {"d_model": 16, "n_layer": 2, "l_max": 1026, "d_inner": 32, "filter_order": 16, "emb_dim": 5, "inner": 2}

SIZES = {"d_model": 12, "n_layer": 3, "l_max": 50, "d_inner": 40, "filter_order": 8, "emb_dim": 7, "inner": 1}


def random_tensors(seed: int = 0, **sizes: int) -> dict[str, Tensor]:
    """All tensors of a checkpoint of these ``SIZES``, under the names below ``backbone`` and ``lm_head``."""
    s = SIZES | sizes
    generator = torch.Generator().manual_seed(seed)
    D, F, L, E = s["d_model"], s["filter_order"], s["l_max"], s["emb_dim"]

    def normal(*shape: int, scale: float = 0.5) -> Tensor:
        return scale * torch.randn(*shape, generator=generator)

    z, t = positions(L, E)
    tensors = {"backbone.embeddings.word_embeddings.weight": normal(16, D, scale=1.0)}
    for i in range(s["n_layer"]):
        layer = f"backbone.layers.{i}."
        f = f"{layer}mixer.filter_fn."
        freq = 10 + normal(1, F)
        tensors |= {
            f"{f}bias": normal(D),
            f"{f}pos_emb.z": z.clone(),
            f"{f}pos_emb.t": t.clone(),
            f"{f}implicit_filter.0.weight": normal(F, E, scale=0.05),
            f"{f}implicit_filter.0.bias": normal(F, scale=0.05),
            f"{f}implicit_filter.1.freq": freq,
            f"{f}modulation.deltas": torch.linspace(math.log(1e-2) / 1.5, math.log(1e-2) / 0.3, D)[None, None],
            f"{layer}mixer.in_proj.weight": normal(3 * D, D),
            f"{layer}mixer.in_proj.bias": normal(3 * D),
            f"{layer}mixer.out_proj.weight": normal(D, D),
            f"{layer}mixer.out_proj.bias": normal(D),
            f"{layer}mixer.short_filter.weight": normal(3 * D, 1, 3),
            f"{layer}mixer.short_filter.bias": normal(3 * D),
            f"{layer}mlp.fc1.weight": normal(s["d_inner"], D),
            f"{layer}mlp.fc1.bias": normal(s["d_inner"]),
            f"{layer}mlp.fc2.weight": normal(D, s["d_inner"]),
            f"{layer}mlp.fc2.bias": normal(D),
        }
        for n in range(2, 2 * s["inner"] + 1, 2):
            tensors |= {
                f"{f}implicit_filter.{n}.weight": normal(F, F, scale=0.1),
                f"{f}implicit_filter.{n}.bias": normal(F, scale=0.1),
                f"{f}implicit_filter.{n + 1}.freq": freq.clone(),
            }
        tensors[f"{f}implicit_filter.{2 * s['inner'] + 2}.weight"] = normal(D, F)
        for norm in (f"{layer}norm1", f"{layer}norm2"):
            tensors |= {f"{norm}.weight": 1 + normal(D, scale=0.2), f"{norm}.bias": normal(D, scale=0.2)}
    tensors |= {"backbone.ln_f.weight": 1 + normal(D, scale=0.2), "backbone.ln_f.bias": normal(D, scale=0.2)}
    tensors["lm_head.weight"] = tensors["backbone.embeddings.word_embeddings.weight"].clone()
    return tensors


def positions(L: int, E: int) -> tuple[Tensor, Tensor]:
    """z (1, L, E) and t (1, L, 1) as the published code registers them."""
    t = torch.linspace(0, 1, L)[None, :, None]
    w = 2 * math.pi * torch.linspace(0, L - 1, L)[None, :, None] / L
    f = torch.linspace(1e-4, (E - 1) // 2 - 1, (E - 1) // 2)[None, None]
    wave = torch.exp(-1j * f * w)
    return torch.cat([t, wave.real, wave.imag], dim=-1), t


def hf_config(**sizes: int) -> dict[str, Any]:
    """config.json of the transformers layout."""
    s = SIZES | sizes
    return {
        **{"model_type": "hyenadna", "vocab_size": 12, "pad_vocab_size_multiple": 8, "tie_word_embeddings": False},
        **{"d_model": s["d_model"], "n_layer": s["n_layer"], "d_inner": s["d_inner"], "max_seq_len": s["l_max"]},
        **{"filter_order": s["filter_order"], "emb_dim": s["emb_dim"], "num_inner_mlps": s["inner"]},
        **{"activation_freq": 10, "hyena_order": 2, "short_filter_order": 3, "use_bias": True},
    }


def original_config(**sizes: int) -> dict[str, Any]:
    """config.json of the original layout."""
    s = SIZES | sizes
    layer = {"_name_": "hyena", "l_max": s["l_max"], "filter_order": s["filter_order"], "emb_dim": s["emb_dim"]}
    layer |= {"num_inner_mlps": s["inner"], "w": 10, "modulate": True, "local_order": 3, "lr": 6e-4, "lr_pos_emb": 0.0}
    return {
        **{"d_model": s["d_model"], "n_layer": s["n_layer"], "d_inner": s["d_inner"]},
        **{"vocab_size": 12, "pad_vocab_size_multiple": 8, "embed_dropout": 0.1, "layer": layer},
    }


def write_hf(folder: Path, tensors: Mapping[str, Tensor], **config: Any) -> Path:
    """A checkpoint in the transformers layout; ``config`` adds to or replaces its settings."""
    folder.mkdir(parents=True)
    named = {("" if k.startswith("lm_head") else "hyena.") + k: v.clone() for k, v in tensors.items()}
    safetensors.torch.save_file(named, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(hf_config() | config))
    return folder


def write_original(
    folder: Path, tensors: Mapping[str, Tensor], *, beside: dict[str, Any] | None = None, **config: Any
) -> Path:
    """A checkpoint in the original layout; ``beside`` goes into weights.ckpt next to the state dict."""
    folder.mkdir(parents=True)
    state = {f"model.{name}": tensor for name, tensor in tensors.items()}
    torch.save({"epoch": 3, "state_dict": state, **(beside or {})}, folder / "weights.ckpt")
    (folder / "config.json").write_text(json.dumps(original_config() | config))
    return folder


def reference(
    tensors: Mapping[str, Tensor], ids: Tensor, *, n_layer: int = SIZES["n_layer"], shift: float = 0.05
) -> tuple[Tensor, Tensor]:
    """Logits (B, N, 16) and hidden states (B, N, D), in float64, of token ids (B, N)."""
    w = {name: tensor.double() for name, tensor in tensors.items()}
    residual = w["backbone.embeddings.word_embeddings.weight"][ids.long()]
    for i in range(n_layer):
        layer = f"backbone.layers.{i}."
        residual = residual + _operator(w, layer + "mixer.", _norm(w, layer + "norm1", residual), shift)
        x = _linear(w, layer + "mlp.fc1", _norm(w, layer + "norm2", residual))
        gelu = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        residual = residual + _linear(w, layer + "mlp.fc2", gelu)
    hidden = _norm(w, "backbone.ln_f", residual)
    return hidden @ w["lm_head.weight"].T, hidden


def reference_filter(w: Mapping[str, Tensor], prefix: str, N: int, shift: float = 0.05) -> Tensor:
    """Long filters (D, N) of the filter that lies under ``prefix``."""
    h = w[prefix + "pos_emb.z"][0, :N].double()
    n = 0
    while prefix + f"implicit_filter.{n + 1}.freq" in w:
        h = h @ w[prefix + f"implicit_filter.{n}.weight"].double().T + w[prefix + f"implicit_filter.{n}.bias"].double()
        h = torch.sin(w[prefix + f"implicit_filter.{n + 1}.freq"].double() * h)
        n += 2
    h = h @ w[prefix + f"implicit_filter.{n}.weight"].double().T
    t = w[prefix + "pos_emb.t"][0, :N].double()
    return (h * (torch.exp(-t * w[prefix + "modulation.deltas"][0].double().abs()) + shift)).T


def _operator(w: Mapping[str, Tensor], prefix: str, x: Tensor, shift: float) -> Tensor:
    N = x.shape[1]
    u = _linear(w, prefix + "in_proj", x)
    taps = w[prefix + "short_filter.weight"][:, 0]
    short = torch.zeros_like(u) + w[prefix + "short_filter.bias"]
    for lag in range(taps.shape[1]):
        short[:, lag:] += u[:, : N - lag] * taps[:, taps.shape[1] - 1 - lag]
    x0, x1, v = short.chunk(3, dim=-1)
    v = v * x1
    k = reference_filter(w, prefix + "filter_fn.", N, shift)
    y = v * w[prefix + "filter_fn.bias"]
    for lag in range(N):
        y[:, lag:] += v[:, : N - lag] * k[:, lag]
    return _linear(w, prefix + "out_proj", y * x0)


def _linear(w: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _norm(w: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    x = x - x.mean(-1, keepdim=True)
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def golden(layout: str, folder: Path) -> Path:
    """The checkpoint of :data:`GOLDEN` in ``hf`` or ``original`` layout; the latter is written into ``folder``."""
    if layout == "hf":
        return GOLDEN
    named = safetensors.torch.load_file(GOLDEN / "model.safetensors")
    tensors = {name.removeprefix("hyena."): tensor for name, tensor in named.items()}
    return write_original(folder / "golden-original", tensors, **original_config(**GOLDEN_SIZES))


def expected() -> dict[str, Tensor]:
    """``input_ids.N``, ``logits.N`` for N = 7, 256, 1024; ``hidden.N``, ``filter.layer0.N`` for the shorter two."""
    found = safetensors.torch.load_file(GOLDEN / "expected.safetensors")
    return {name: tensor.long() if name.startswith("input_ids") else tensor for name, tensor in found.items()}
