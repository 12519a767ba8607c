"""Published HyenaDNA checkpoints become genoconv models, and go back with every bit they came with.

What a checkpoint holds twice or holds without need is not part of our model: positional features that follow from the
length, the frequencies that all activations of a layer share, a head that is the embedding. To give a checkpoint back
bit for bit, what cannot be made again with certainty is kept beside the model (``published.safetensors``), and what
was there, and how, is written into the provenance.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from genoconv.digests import file_digest
from genoconv.errors import ModelError
from genoconv.models import checkpoint, weights
from genoconv.models.config import ModelConfig
from genoconv.models.heads import HEAD_PREFIX
from genoconv.models.published import layouts
from genoconv.models.published.layouts import Layout
from genoconv.models.published.tensors import (
    EMBEDDING,
    TensorReader,
    filter_name,
    published_positions,
    published_shapes,
)
from genoconv.models.published.unpickle import load_checkpoint
from genoconv.models.registry import CONFIG_NAME

KEPT_NAME = "published.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint as read and checked.

    Attributes:
        config: its sizes.
        layout: the form it came in.
        tensors: what genoconv's model stores, float32.
        kept: what the model cannot give back (:meth:`.TensorReader.kept`).
        record: how the file held it all, for the provenance.
        notes: what the user should know.
    """

    config: ModelConfig
    layout: Layout
    tensors: dict[str, Tensor]
    kept: dict[str, Tensor]
    record: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def read_published(folder: Path, *, modulation_shift: float | None = None) -> Checkpoint:
    """Read and check a checkpoint in either published layout.

    Args:
        folder: holds ``config.json`` and the weights.
        modulation_shift: floor under the filters' decay; None is what the weights were published with.

    Raises:
        ModelError: no such checkpoint, or settings or tensors that do not fit; every problem is named, one per line.
    """
    config_path = folder / "config.json"
    if not config_path.is_file():
        where = "has no config.json" if folder.is_dir() else "is not a folder"
        raise ModelError(f"{folder}: {where}; a published HyenaDNA checkpoint is config.json beside its weights file")
    settings = checkpoint.read_json(config_path)
    layout = layouts.layout_of(settings)
    if layout is None:
        is_ours = settings.get("format") == checkpoint.FORMAT
        hint = "a genoconv model already, use it as it is" if is_ours else "neither layout of HyenaDNA"
        raise ModelError(f"{config_path}: {hint}; see `genoconv models import --help`")
    try:
        config = layouts.read_settings(settings, layout, modulation_shift=modulation_shift)
    except ModelError as error:
        raise ModelError("\n".join(f"{config_path}: {line}" for line in str(error).split("\n"))) from error
    path, raw, beside = _read_weights(folder, layout)
    named = {key: (layout.own_name(key) or key) for key in raw if not _is_metric(key)}
    ignored = sorted(set(raw) - set(named))
    tensors = {name: raw[key] for key, name in named.items()}
    if len(tensors) < len(named):
        raise ModelError(f"{path}: some tensors occur twice, with and without .layer in their keys")
    reader = TensorReader(
        config, layout, tensors, tie=bool(settings.get("tie_word_embeddings", layout is layouts.ORIGINAL))
    )
    reader.check()
    if reader.problems:
        raise ModelError("\n".join(f"{path}: {problem}" for problem in reader.problems))
    record = {
        "layout": layout.name,
        "config": settings,
        "weights_file": path.name,
        "absent": sorted(set(published_shapes(config)) - set(tensors)),
        "wrapped": layouts.wrapped_parts(raw),
        "dtypes": {name: _dtype_name(t) for name, t in tensors.items() if t.dtype != torch.float32},
        "ignored": ignored,
        "checkpoint": {name: value for name, value in beside.items() if isinstance(value, int | float | str)},
        "dropped": sorted(name for name, value in beside.items() if not isinstance(value, int | float | str)),
    }
    if ignored:
        reader.notes.append(f"not part of the model and not kept: {', '.join(ignored)}")
    return Checkpoint(reader.config, layout, reader.own(), reader.kept(), record, reader.notes)


class _Record(BaseModel):
    """What :func:`read_published` has written into the provenance of an imported model."""

    model_config = ConfigDict(strict=True, extra="forbid")

    layout: Literal["hyenadna-hf", "hyenadna-original"]
    config: dict[str, Any]
    weights_file: Literal["model.safetensors", "pytorch_model.bin", "weights.ckpt"]
    absent: list[str] = []
    wrapped: list[Literal["mixer", "mlp"]] = []
    dtypes: dict[str, Literal["float16", "bfloat16", "float64"]] = {}
    ignored: list[str] = []
    checkpoint: dict[str, int | float | str] = {}
    dropped: list[str] = []
    kept_sha256: str | None = None


def published_record(folder: Path) -> dict[str, Any]:
    """How the checkpoint held it all that a model folder was imported from; empty for any other model.

    Raises:
        ModelError: not a model folder, or its provenance was edited into something else.
    """
    record = checkpoint.read_config(folder)["provenance"].get("published")
    if not record:
        return {}
    try:
        return _Record.model_validate(record).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, ("provenance.published", *first["loc"])))
        message = f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}; import the checkpoint again"
        raise ModelError(f"{folder / CONFIG_NAME}: {message}") from None


def restore_published(folder: Path, layout: Layout) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """A model folder in a published layout: config.json, tensors, and what else its checkpoint held.

    A model imported from that layout gives the very configuration and tensors back; any other a new configuration.

    Raises:
        ModelError: no model folder, or a model that the layout cannot express; one line a reason.
    """
    source = published_record(folder)
    model = checkpoint.load_model(folder)  # validates the folder
    # The published code scales filters to the longest input, so that is what an input may have at most there.
    config = replace(model.config, max_length=model.config.taps, filter_length=0)
    own = weights.read_tensors(folder / checkpoint.WEIGHTS_NAME)
    # A fine-tuned model gives its backbone.
    full = {name: own.get(name) for name in model.state_dict() if not name.startswith(HEAD_PREFIX)}
    for name in [name for name, tensor in full.items() if tensor is None]:  # stored under its first name
        first = name.rsplit(".", 2)[0] + ".1.freq" if name.endswith(".freq") else EMBEDDING
        full[name] = own[first]
    kept = {}
    if digest := source.get("kept_sha256"):
        kept_path = folder / KEPT_NAME
        if not kept_path.is_file() or file_digest(kept_path) != digest:
            raise ModelError(f"{kept_path}: missing or altered; import the checkpoint again before exporting it")
        kept = weights.read_tensors(kept_path)
    for part, computed in zip("zt", published_positions(config), strict=True):
        for i in range(config.n_layer):
            name = f"{filter_name(i)}pos_emb.{part}"
            if full.get(name) is None:
                full[name] = kept.get(f"layers.{i}.pos_emb.{part}", kept.get(f"pos_emb.{part}", computed))
    same_layout = source.get("layout") == layout.name
    settings = dict(source["config"]) if same_layout else layouts.write_settings(config, layout)
    absent = set(source.get("absent", ())) if same_layout else set()
    wrapped = source.get("wrapped", []) if same_layout else []
    tensors = {}
    for name, tensor in full.items():
        assert tensor is not None
        if name not in absent:
            dtype = getattr(torch, source.get("dtypes", {}).get(name, _dtype_name(tensor)))
            exact = kept.get(f"exact.{name}", tensor) if same_layout else tensor
            tensors[layouts.wrap(layout.published_name(name), wrapped)] = exact.to(dtype).contiguous()
    return settings, tensors, dict(source.get("checkpoint", {}))


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _is_metric(key: str) -> bool:
    """Counters of the training loop, which its checkpoints keep beside the model."""
    return key.startswith(("train_torchmetrics.", "val_torchmetrics.", "test_torchmetrics."))


def _read_weights(folder: Path, layout: Layout) -> tuple[Path, dict[str, Tensor], dict[str, Any]]:
    """The weights file of a checkpoint, its tensors, and what a training checkpoint holds beside them."""
    path = next((folder / name for name in layout.weights if (folder / name).is_file()), None)
    if path is None:
        shards = sorted(folder.glob("*.index.json"))
        hint = f"; it is in shards ({shards[0].name}), save it as one file" if shards else ""
        raise ModelError(f"{folder}: {layout.name} layout, but {' or '.join(layout.weights)} is missing{hint}")
    if path.suffix == ".safetensors":
        return path, weights.read_tensors(path), {}
    content = load_checkpoint(path)
    state = content.get("state_dict", content)
    if not isinstance(state, dict):
        raise ModelError(f"{path}: 'state_dict' is a {type(state).__name__}, not a dictionary of tensors")
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ModelError(f"{path}: holds no tensors")
    beside = {str(k): v for k, v in content.items() if content is not state and k != "state_dict"}
    return path, tensors, beside
