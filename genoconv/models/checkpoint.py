"""Model folders: ``model.safetensors`` and ``config.json``, written whole and checked whole when read.

The weights are stored once each (a tied head is not stored), in the precision the model has. ``config.json`` holds
the format version, the sizes, the vocabulary, where the model comes from, and the digest of the weights file, so that
two halves of different models are never taken for one.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from genoconv import __version__, atomic, tokens
from genoconv.digests import file_digest
from genoconv.errors import ModelError, UsageError
from genoconv.models.config import ModelConfig
from genoconv.models.devices import resolve_device
from genoconv.models.heads import HeadConfig, Predictor, head_record
from genoconv.models.hyena import HyenaDNA
from genoconv.models.registry import CONFIG_NAME, model_folder
from genoconv.models.weights import (
    FLOATING,
    build,
    compare_tensors,
    expected_shapes,
    read_tensors,
    tensors_to_save,
    write_tensors,
)
from genoconv.wording import count, shell

WEIGHTS_NAME = "model.safetensors"
FORMAT = "genoconv-model"
FORMAT_VERSION = 1
# What network the sizes describe, and what its last layer predicts; folders without these keys are of this kind.
ARCHITECTURE = "hyenadna"
HEAD = {"kind": "next_base"}

_LARGEST_JSON = 1 << 24
_SPECIAL = ("[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]")
UNIT = "nucleotide"
VOCABULARY = {token: i for i, token in enumerate((*_SPECIAL, *"ACGTN"))}


def save_model(model: HyenaDNA, folder: Path | str, *, provenance: Mapping[str, Any] | None = None) -> None:
    """Write ``model`` to ``folder``, which is created if missing; an existing model is replaced.

    Args:
        model: on any device and of any floating-point type; it is stored bit for bit.
        folder: other files in it are kept.
        provenance: JSON values that describe the origin of the weights, or None; shown by ``genoconv models show``.

    Raises:
        UsageError: ``provenance`` cannot be written as JSON.
        ModelError: tensors that are one in this model have different values.
        OutputError: the folder cannot be written.
    """
    folder = Path(folder)
    origin = _json_values(provenance)
    tensors = tensors_to_save(model, model.head.config if isinstance(model, Predictor) else None)
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / WEIGHTS_NAME
    write_tensors(weights, {name: tensor.detach().cpu() for name, tensor in tensors.items()})
    record = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "genoconv_version": __version__,
        "architecture": ARCHITECTURE,
        "head": head_record(model) or HEAD,
        "model": model.config.to_dict(),
        "tokenizer": {"unit": UNIT, "vocabulary": VOCABULARY},
        "weights": {"file": WEIGHTS_NAME, "sha256": file_digest(weights)},
        "provenance": origin,
    }
    atomic.write_text(folder / CONFIG_NAME, json.dumps(record, indent=2) + "\n")


def _json_values(provenance: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        values = dict(provenance or {})
        json.dumps(values, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"provenance cannot be written as JSON: {error}") from None
    return values


def load_model(model: Path | str, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> HyenaDNA:
    """Load a model written by ``genoconv train``, ``genoconv models import`` or :func:`save_model`.

    Args:
        model: a model folder, or a name from ``genoconv models list``.
        device: device to load the model on; "auto" uses a GPU if there is one.
        dtype: floating-point type of the weights; None means float32. The filters always stay in float32.

    Returns:
        The model in evaluation mode; a :class:`.Predictor`, which has ``predict(ids)``, if the model was fine-tuned.

    Raises:
        ModelError: no such model, or the folder is not a model folder, incomplete or altered.
        UsageError: ``device`` is not available, or ``dtype`` is not a floating-point type of torch.
    """
    target = resolve_device(device)
    if dtype is not None and dtype not in FLOATING:
        known = ", ".join(map(str, FLOATING))
        raise UsageError(f"dtype is {dtype!r}; it must be one of {known}")
    folder = model_folder(model)
    record = read_config(folder)
    weights = folder / WEIGHTS_NAME
    config = _sizes(record, folder / CONFIG_NAME)
    head = read_head(folder, record)
    tensors = read_tensors(weights)
    if file_digest(weights) != record["weights"]["sha256"]:
        raise ModelError(f"{weights}: altered, or not the weights that {CONFIG_NAME} describes; copy the folder again")
    problems = compare_tensors(tensors, expected_shapes(config, head))
    if problems:
        more = f"; {count(len(problems) - 1, 'more tensor')} like that" if len(problems) > 1 else ""
        raise ModelError(f"{weights}: {problems[0]}{more}")
    return build(config, tensors, head).to(target, dtype or torch.float32).eval()


def model_files(model: Path | str) -> list[Path]:
    """The files that make a folder a model, and what is known of it, there or not: what no output may replace.

    Raises:
        ModelError: no such model.
    """
    return [model_folder(model) / name for name in (CONFIG_NAME, WEIGHTS_NAME, "genome.json", "calibration.npz")]


def read_config(model: Path | str) -> dict[str, Any]:
    """``config.json`` of a model, checked to be one of ours and to name its parts.

    Raises:
        ModelError: it is missing, something else, or of a newer format; says what the folder holds instead.
    """
    folder = model_folder(model)
    path = folder / CONFIG_NAME
    if not folder.is_dir():
        what = "is a file; a model is a folder" if folder.exists() else "is a link to nothing"
        raise ModelError(f"{folder}: {what}; create one with `genoconv train -o DIR` or `genoconv models import`")
    if not path.is_file():
        raise ModelError(f"{folder}: not a model folder: it has no {CONFIG_NAME}{_hint(folder)}")
    record = read_json(path)
    if record.get("format") != FORMAT:
        raise ModelError(f"{path}: not written by genoconv{_hint(folder, record)}")
    if record.get("format_version") != FORMAT_VERSION:
        found = record.get("format_version")
        raise ModelError(
            f"{path}: format version {found!r}, but this genoconv reads version {FORMAT_VERSION}; update genoconv"
        )
    if record.setdefault("architecture", ARCHITECTURE) != ARCHITECTURE:
        found = ascii(record["architecture"])[:80]
        raise ModelError(f"{path}: architecture {found}, but this genoconv reads {ARCHITECTURE!a}; update genoconv")
    record.setdefault("head", HEAD)
    read_head(folder, record)
    wrong = [name for name in ("model", "tokenizer", "weights", "provenance") if type(record.get(name)) is not dict]
    if wrong:
        raise ModelError("\n".join(f"{path}: {name!r} is missing or not an object" for name in wrong))
    digest = record["weights"].get("sha256")
    if not (isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest)):
        raise ModelError(f"{path}: weights.sha256 is missing or not a SHA-256; copy the folder again")
    if record["tokenizer"].get("vocabulary") != VOCABULARY or record["tokenizer"].get("unit") != UNIT:
        raise ModelError(f"{path}: its vocabulary is not genoconv's ({tokens.VOCAB_SIZE} nucleotide tokens)")
    if not (folder / WEIGHTS_NAME).is_file():
        raise ModelError(f"{folder}: incomplete, {WEIGHTS_NAME} is missing; copy the folder again")
    return record


def model_config(model: Path | str) -> ModelConfig:
    """The sizes of a model, without its weights.

    Raises:
        ModelError: no such model, or its ``config.json`` cannot be used.
    """
    folder = model_folder(model)
    return _sizes(read_config(folder), folder / CONFIG_NAME)


def read_head(model: Path | str, record: Mapping[str, Any] | None = None) -> HeadConfig | None:
    """The head that a model has beside its backbone; None where it predicts the next base alone.

    Args:
        model: its folder or its name.
        record: its ``config.json``, if that was read before.

    Raises:
        ModelError: no such model, or a head that this version does not know.
    """
    folder = model_folder(model)
    record = read_config(folder) if record is None else record
    if record["head"] == HEAD:
        return None
    try:
        return HeadConfig.from_record(record["head"])
    except ModelError as error:
        path, found = folder / CONFIG_NAME, ascii(record["head"])[:80]
        raise ModelError(f"{path}: head {found}, but this genoconv reads {HEAD!a} or its own ({error})") from None


def model_digest(model: Path | str) -> str:
    """SHA-256, hexadecimal, of what decides a model's output: sizes, vocabulary and weights; not its provenance.

    Raises:
        ModelError: no such model, or not a model folder.
    """
    folder = model_folder(model)
    record = read_config(folder)
    parts = ("model", "tokenizer") if record["head"] == HEAD else ("model", "tokenizer", "head")
    decisive = json.dumps({part: record[part] for part in parts}, sort_keys=True)
    return hashlib.sha256(f"{decisive}\n{file_digest(folder / WEIGHTS_NAME)}".encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """An object from a JSON file.

    Raises:
        ModelError: no JSON, or no object.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST_JSON + 1)
        if len(content) > _LARGEST_JSON:
            raise ModelError(f"{path}: more than {_LARGEST_JSON:,} bytes, too large for the configuration of a model")
        record = json.loads(content.decode(), parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ModelError(f"{path}: not JSON: nested too deeply") from None
    except ValueError as error:
        if isinstance(error, ModelError):
            raise
        what = str(error).partition("; use sys.")[0]
        raise ModelError(f"{path}: not JSON: {what}") from error
    if not isinstance(record, dict):
        raise ModelError(f"{path}: expected a JSON object, got {type(record).__name__}")
    return record


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a number that JSON has")
    return value


def _sizes(record: Mapping[str, Any], path: Path) -> ModelConfig:
    try:
        return ModelConfig.from_dict(record["model"])
    except ModelError as error:
        raise ModelError("\n".join(f"{path}: model.{line}" for line in str(error).split("\n"))) from error


def _hint(folder: Path, record: Mapping[str, Any] | None = None) -> str:
    """What a folder looks like that is not a model folder, and the command that helps."""
    published = record is not None and (record.get("model_type") == "hyenadna" or "layer" in record)
    if published or (folder / "weights.ckpt").is_file():
        way = shell("genoconv", "models", "import", folder, "-o", "DIR")
        return f"; it looks like a published HyenaDNA checkpoint: `{way}`"
    if (folder / "checkpoints").is_dir():
        command = "finetune" if (folder / "data.json").is_file() else "train"
        resume = shell("genoconv", command, "--resume", folder)
        return f"; its training was not finished: `{resume}` continues from its checkpoints"
    return "; create a model folder with `genoconv train -o DIR` or `genoconv models import`"
