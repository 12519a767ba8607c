"""Published checkpoints in and out, and what a model folder is."""

import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from genoconv import __version__, atomic, paths
from genoconv.digests import file_digest
from genoconv.errors import ModelError, OutputError, UsageError
from genoconv.models import checkpoint, registry, weights
from genoconv.models.config import PRESETS, ModelConfig
from genoconv.models.published import conversion as published
from genoconv.models.published import hub, layouts
from genoconv.wording import did_you_mean, printable
from genoconv.workfiles import claimed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Imported:
    """What an import made, in numbers for the closing line."""

    folder: Path
    config: ModelConfig
    parameters: int
    layout: str
    digest: str
    notes: list[str]


def import_model(
    source: str,
    output: Path | None = None,
    *,
    revision: str | None = None,
    modulation_shift: float | None = None,
    force: bool = False,
) -> Imported:
    """Turn a published checkpoint into a model folder.

    Args:
        source: a folder in either published layout, a published size ("tiny-1k"), or a repository on the hub.
        output: the model folder to make; None stores it under the name of ``source``, by which ``-m`` finds it.
        revision: commit, branch or tag, where ``source`` is on the hub.
        modulation_shift: see :func:`genoconv.models.published.conversion.read_published`.
        force: replace an ``output`` that is a model folder.

    Raises:
        GenoconvError: the source cannot be had, read or trusted, or the output not written.
    """
    folder = Path(source)
    if output is None:
        output = registry.stored_folder(source)
        output.parent.mkdir(parents=True, exist_ok=True)
    _refuse_output(output, force=force, inputs={"SRC": folder})
    origin: dict[str, Any] = {"path": str(folder.absolute())}
    if not folder.exists():
        known = hub.PUBLISHED.get(source)
        fetched = hub.download(known.repository if known else source, revision=revision)
        folder = fetched.folder
        origin = {"repository": fetched.repository, "revision": fetched.revision}
    elif revision is not None:
        raise ModelError(f"{source} is a folder; --revision is only for repositories on the hub")
    read = published.read_published(folder, modulation_shift=modulation_shift)
    used = ("config.json", read.record["weights_file"])
    origin["files"] = {name: {"sha256": file_digest(folder / name)} for name in used}
    origin["left_behind"] = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in used)
    model = weights.build(read.config, read.tensors)
    with claimed(output), atomic.atomic_dir(output) as temporary:
        if read.kept:
            weights.write_tensors(temporary / published.KEPT_NAME, read.kept)
            read.record["kept_sha256"] = file_digest(temporary / published.KEPT_NAME)
        provenance = {
            "kind": "imported",
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "source": origin,
            "published": read.record,
        }
        checkpoint.save_model(model, temporary, provenance=provenance)
    parameters = sum(p.numel() for p in model.parameters())
    return Imported(output, read.config, parameters, read.layout.name, checkpoint.model_digest(output), read.notes)


def layout_named(name: str) -> layouts.Layout:
    """The published layout that ``--format`` calls so."""
    return layouts.LAYOUTS[name]


def export_model(folder: Path, output: Path, *, layout: layouts.Layout, force: bool = False) -> list[str]:
    """Write a model folder in a published layout.

    Returns:
        What of the source checkpoint is not made again, for a person to read.

    Raises:
        GenoconvError: no model folder, a model that the layout cannot express, or an output that cannot be written.
    """
    folder = registry.model_folder(folder)
    _refuse_output(output, force=force, inputs={"MODEL": folder})
    settings, tensors, scalars = published.restore_published(folder, layout)
    source = checkpoint.read_config(folder)["provenance"]
    with claimed(output), atomic.atomic_dir(output) as temporary:
        (temporary / "config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        imported = published.published_record(folder)
        name = imported["weights_file"] if imported.get("layout") == layout.name else layout.weights[0]
        if name.endswith(".safetensors"):
            weights.write_tensors(temporary / name, {key: tensor.clone() for key, tensor in tensors.items()})
        else:
            content: dict[str, Any] = {**scalars, "state_dict": tensors}
            # In memory first: torch explains no full disk, and takes no path that is not UTF-8.
            buffer = io.BytesIO()
            torch.save(tensors if layout is layouts.HF else content, buffer)
            (temporary / name).write_bytes(buffer.getbuffer())
        published.read_published(temporary)  # refuse to write what we could not import
    origin = source.get("source")
    left = origin.get("left_behind") if imported and isinstance(origin, dict) else None
    notes = [f"files of the source that are not exported: {', '.join(map(str, left))}"] if left else []
    if imported.get("ignored"):
        notes.append(f"tensors of the source that do not belong to the model: {', '.join(imported['ignored'])}")
    if imported.get("dropped"):
        notes.append(f"entries of the source's checkpoint that are not exported: {', '.join(imported['dropped'])}")
    return notes


def describe_model(folder: Path) -> dict[str, Any]:
    """What a model folder is: plain values, for JSON.

    Raises:
        ModelError: no model folder, or one that would not load.
    """
    folder = registry.model_folder(folder)
    record = checkpoint.read_config(folder)
    model = checkpoint.load_model(folder)
    file = folder / checkpoint.WEIGHTS_NAME
    return {
        "folder": str(folder),
        "preset": preset_name(model.config),
        "model": model.config.to_dict(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "max_length": model.config.max_length,
        "head": record["head"],
        "tokenizer": record["tokenizer"],
        "weights_bytes": file.stat().st_size,
        "weights_sha256": record["weights"]["sha256"],
        "model_digest": checkpoint.model_digest(folder),
        "genoconv_version": record.get("genoconv_version", __version__),
        "provenance": record["provenance"],
        "calibration": _calibration(folder),
    }


def _calibration(folder: Path) -> dict[str, Any] | None:
    from genoconv.tasks.calibration import Calibration

    found = Calibration.load(folder)
    if found is None:
        return None
    genome = found.facts.get("genome") or {}
    return {"genome": genome.get("name"), **{key: found.facts.get(key) for key in ("window", "positions", "variants")}}


def list_models() -> list[dict[str, Any]]:
    """The models that have a name: where they are, sizes, number of parameters, and what was published under it.

    A stored model whose ``config.json`` cannot be used is left out, with a warning.
    """
    rows = []
    for model in registry.known_models().values():
        try:
            config = PRESETS[model.name] if model.folder is None else checkpoint.model_config(model.folder)
        except ModelError as error:
            log.warning("%s", error)
            continue
        published = model.published
        rows.append(
            {
                "name": model.name,
                "kind": model.kind,
                "folder": None if model.folder is None else str(model.folder),
                "d_model": config.d_model,
                "n_layer": config.n_layer,
                "max_length": config.max_length,
                "parameters": sum(p.numel() for p in weights.bare_model(config, device="meta").parameters()),
                "repository": None if published is None else published.repository,
                "revision": None if published is None else published.revision,
            }
        )
    return rows


def remove_model(name: str) -> str:
    """Delete a stored model, whole or damaged.

    Returns:
        The summary line.

    Raises:
        UsageError: no stored model has that name, whatever folder has.
        OutputError: it cannot be deleted.
    """
    known = registry.known_models()
    found = known.get(name)
    stored = paths.models_dir() / name
    if not name or Path(name).name != name or name == ".." or not stored.is_dir():
        here = {model.name for model in known.values() if model.kind == "stored"}
        if found is not None and found.kind != "stored":
            where = "is included with genoconv" if found.kind == "shipped" else "is not on this machine"
            raise UsageError(f"{name}: the model {where}; only models that were imported without -o can be removed")
        near = did_you_mean(name, here) or " (`genoconv models list`)"
        raise UsageError(
            f"{printable(name)}: no stored model has that name{near}; delete any other model folder yourself"
        )
    if stored.is_symlink():
        raise UsageError(f"{stored}: a link that was not created by genoconv; remove it yourself")
    with claimed(stored):
        size = atomic.remove_folder(stored, first=registry.CONFIG_NAME)
    return f"{name}: removed, {size / 1e6:,.1f} MB"


def preset_name(config: ModelConfig) -> str | None:
    """The preset with the shape of ``config``, if one has it."""
    shape = ("d_model", "n_layer", "d_inner", "max_length", "filter_order", "emb_dim")
    return next(
        (name for name, preset in PRESETS.items() if all(getattr(preset, s) == getattr(config, s) for s in shape)), None
    )


def _refuse_output(output: Path, *, force: bool, inputs: Mapping[str, Path | None]) -> None:
    """An output folder may be new, or with ``force`` one that holds a model; nothing else is ever replaced."""
    atomic.refuse_inputs([output], inputs=inputs)
    atomic.refuse_existing(output, force=force)
    if output.exists() and not (output / "config.json").is_file():
        raise OutputError(f"{output} exists and is not a model folder; it will not be replaced, so choose another name")
