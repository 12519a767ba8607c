"""What the tests of ``genoconv embed`` share: a small model, plain arithmetic to compare with, reading back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genoconv.models import HyenaDNA, ModelConfig, save_model
from genoconv.tokens import PAD, encode

COMPLEMENT = str.maketrans("ACGTacgt", "TGCAtgca")


def small_model(*, max_length: int = 100, d_model: int = 8, filter_length: int = 0) -> HyenaDNA:
    """Two blocks of random weights, large enough that every base matters."""
    torch.manual_seed(7)
    model = HyenaDNA(
        ModelConfig(d_model=d_model, n_layer=2, max_length=max_length, filter_length=filter_length, filter_order=8)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    return model.eval()


def model_folder(folder: Path, **sizes: int) -> Path:
    save_model(small_model(**sizes), folder, provenance={"source": "random weights for tests"})
    return folder


def rc(sequence: str) -> str:
    return sequence.translate(COMPLEMENT)[::-1]


@torch.inference_mode()
def states(model: HyenaDNA, sequence: str, layer: int | None = None) -> np.ndarray:
    """States of one sequence, (bases, width) float64: alone, without padding, without prepared filters."""
    ids = torch.from_numpy(encode(sequence)).long()[None]
    return model.hidden(ids, layer=layer)[0].double().numpy()


def read_npz(path: Path) -> dict[str, Any]:
    """An ``.npz`` of embeddings, its metadata parsed."""
    with np.load(path, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    assert set(found) == {"embeddings", "names", "contigs", "starts", "ends", "strand", "metadata"}
    assert len({len(values) for name, values in found.items() if name != "metadata"}) == 1
    return found | {"metadata": json.loads(found["metadata"].item())}


def places(found: dict[str, Any]) -> list[tuple[str, int, int, str]]:
    columns = (found[name].tolist() for name in ("names", "starts", "ends", "strand"))
    return list(zip(*columns, strict=True))


def bases(length: int, *, seed: int = 1) -> str:
    """Random sequence."""
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def padded(*sequences: str) -> torch.Tensor:
    """Tokens (B, N) of sequences, padded on the right."""
    rows = np.full((len(sequences), max(map(len, sequences))), PAD, np.uint8)
    for row, sequence in zip(rows, sequences, strict=True):
        row[: len(sequence)] = encode(sequence)
    return torch.from_numpy(rows).long()
