"""How far scores move with the arithmetic: bfloat16 against float32, in one batch and in others.

The yardstick is the standard deviation of the scores themselves: what moves less than a twentieth of it ranks the
variants alike. ``docs/score-variants.md`` states these bounds.
"""

import numpy as np
import pytest
import torch
from published_checkpoints import GOLDEN
from toy_scoring import record, scorer, write_fasta

from genoconv.models.published.conversion import read_published
from genoconv.models.weights import build

CONTIG = "".join(np.random.default_rng(9).choice(list("ACGT"), 1500))
WIDTH = 256

GPU = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU; torch sees none here"),
    ],
)


def variants(step: int) -> list:
    """SNVs of every place of the grid, among them insertions and deletions, two or three at a place."""
    records = []
    for start in range(400, 1000, step):
        ref = CONTIG[start]
        records.append(record("c", start, ref, *[base for base in "ACGT" if base != ref][:2]))
        if start % 4 == 0:
            records.append(record("c", start, ref, ref + "GAT"))
            records.append(record("c", start, CONTIG[start : start + 3], ref))
    return records


def scores(path, model, records, *, batch_size=None) -> np.ndarray:
    device = next(model.parameters()).device
    settings = {"widths": (WIDTH,), "grid": (16,), "max_length": 1024}
    found = scorer(path, model=model, device=device, batch_size=batch_size, **settings).score(records)
    return np.array([window.llr for alleles in found for allele in alleles for window in allele])


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_bfloat16_moves_scores_little(tmp_path, device):
    path = write_fasta(tmp_path / "c.fa", {"c": CONTIG})
    read = read_published(GOLDEN)
    records = variants(75 if device == "cpu" else 15)  # a CPU takes its time over bfloat16
    true = scores(path, build(read.config, read.tensors).eval(), records)
    spread = true.std()
    assert spread > 0.5
    model = build(read.config, read.tensors).eval().to(device, torch.bfloat16)
    found = scores(path, model, records)
    assert 1e-4 < np.abs(found - true).max() < 0.2 * spread
    assert np.sqrt(np.mean((found - true) ** 2)) < 0.05 * spread
    backwards = scores(path, model, records[::-1], batch_size=3)
    order = np.argsort([n for n, one in reversed(list(enumerate(records))) for _ in one.alts], kind="stable")
    others = backwards[order]
    assert np.abs(others - found).max() < 0.2 * spread
    assert np.sqrt(np.mean((others - found) ** 2)) < 0.05 * spread


@pytest.mark.parametrize("device", [GPU])
def test_float32_is_the_same_on_a_gpu(tmp_path, device):
    path = write_fasta(tmp_path / "c.fa", {"c": CONTIG})
    read = read_published(GOLDEN)
    records = variants(15)
    true = scores(path, build(read.config, read.tensors).eval(), records)
    model = build(read.config, read.tensors).eval().to(device)
    found = scores(path, model, records)
    np.testing.assert_allclose(found, true, atol=2e-3)
    np.testing.assert_allclose(
        scores(path, model, records[:9], batch_size=1), found[: sum(len(r.alts) for r in records[:9])], atol=2e-4
    )
