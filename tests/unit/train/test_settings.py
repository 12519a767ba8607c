"""Settings that only show in what is learned: each is followed to where it acts, and acts there."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from fasta_files import write_fasta
from torch import nn
from train_runs import patterned_bases, same_weights, train_tiny, weights

from genoconv.gpu import targets
from genoconv.models import preset
from genoconv.models.checkpoint import read_config
from genoconv.pipelines.train import memory
from genoconv.train.batch import Batch
from genoconv.train.machine import Machine
from genoconv.train.metrics import read_rows
from genoconv.train.module import Learner
from genoconv.train.objectives.next_base import NextBase
from genoconv.train.parts import parts_of
from genoconv.train.settings import DataSettings, RunSettings


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Batch]]:
    """All batches that are learned from."""
    seen: list[Batch] = []
    original = Learner.training_step

    def watched(self: Learner, batch: Batch, batch_idx: int) -> Any:
        seen.append(batch)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Learner, "training_step", watched)
    return seen


def test_soft_mask_keep_reaches_the_loss(tmp_path: Path, batches: list[Batch]) -> None:
    bases = patterned_bases(20_000, seed=1)
    # The first half of every 32 bases is masked.
    masked = "".join(base.lower() if i % 32 < 16 else base for i, base in enumerate(bases))
    fasta = write_fasta(tmp_path / "masked.fa", {"chr1": masked})
    plain = write_fasta(tmp_path / "plain.fa", {"chr1": bases})
    kept = ("data.soft_mask=keep", "data.soft_mask_weight=0.25", "data.reverse_complement=false")
    runs = {
        "keep": train_tiny(tmp_path / "keep", fasta, *kept, max_steps=2),
        "keep, nothing masked": train_tiny(tmp_path / "nothing", plain, *kept, max_steps=2),
        "fold": train_tiny(tmp_path / "fold", fasta, *kept[1:], max_steps=2),
    }
    for batch in batches[:2]:
        assert batch.weights.shape == batch.ids.shape
        assert batch.weights[:, :16].unique().tolist() == [0.25]
        assert batch.weights[:, 16:32].unique().tolist() == [1.0]
    assert all(batch.weights.unique().tolist() == [1.0] for batch in batches[2:4])
    assert all(not batch.weights.numel() for batch in batches[4:])
    assert same_weights(runs["keep, nothing masked"], runs["fold"])
    assert not same_weights(runs["keep"], runs["fold"])


@pytest.mark.parametrize(("wanted", "expected"), [("auto", True), ("true", True), ("false", False)])
def test_activation_checkpointing_auto_goes_by_the_longest_window(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, expected: bool
) -> None:
    modes: list[bool] = []
    original = Learner.training_step

    def watched(self: Learner, batch: Batch, batch_idx: int) -> Any:
        modes.append(bool(self.model.checkpointing))
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Learner, "training_step", watched)
    assert memory._ON_A_CPU_FROM == 65_536
    setting = f"run.activation_checkpointing={wanted}"
    monkeypatch.setattr(memory, "_ON_A_CPU_FROM", 64)  # of windows of 64
    train_tiny(tmp_path / "from", fasta, setting, max_steps=1)
    monkeypatch.setattr(memory, "_ON_A_CPU_FROM", 65)
    train_tiny(tmp_path / "below", fasta, setting, max_steps=1)
    assert modes == [expected, wanted == "true"]


@pytest.mark.parametrize(
    ("free", "windows", "recompute", "at_once"),
    [
        (48, 1, False, None),
        (43, 1, True, None),
        (140, 2, False, None),
        (140, 8, False, 2),
        (48, 4, False, 1),
        (43, 4, True, 2),
        (12, 4, True, 1),
    ],
)
def test_a_batch_is_computed_as_the_memory_of_a_gpu_allows(
    monkeypatch: pytest.MonkeyPatch, free: int, windows: int, recompute: bool, at_once: int | None
) -> None:
    """A window of medium-450k takes 40.5 GiB on an H200: benchmarks/results/train_step-cuda.md."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free * 2**30, 140 * 2**30))
    monkeypatch.setattr(targets, "local_card", lambda index: targets.card_of("sm_90"))
    machine = SimpleNamespace(accelerator="cuda", device=torch.device("cuda", 0), precision="bf16")
    data = DataSettings(tokens_per_batch=2**15 if windows == 1 else windows * 450_000)  # one window is longer

    def fit(**settings: Any) -> memory.Fit:
        run = RunSettings(**settings)
        return memory.fit(run, data, sizes=preset("medium-450k"), longest=450_000, machine=cast(Machine, machine))

    found = fit()
    assert (found.recompute, found.at_once) == (recompute, at_once and at_once * 450_000)
    assert f"{free}.0 GiB are free" in str(found.reason)
    assert fit(tokens_at_once=1000).at_once == 1000
    assert fit(activation_checkpointing=False).recompute is False
    assert fit(activation_checkpointing=True).recompute is True


def test_parts_of_a_batch_are_whole_windows() -> None:
    ids = torch.arange(10, dtype=torch.uint8)[None]
    packed = Batch(ids, ids.float(), 10, torch.empty(0), cu_seqlens=(0, 2, 5, 9, 10))
    found = parts_of(packed, at_once=5)
    assert [part.cu_seqlens for part in found] == [(0, 2, 5), (0, 4, 5)]
    assert [part.ids.tolist() for part in found] == [[[0, 1, 2, 3, 4]], [[5, 6, 7, 8, 9]]]
    assert [part.weights.shape for part in found] == [(1, 5), (1, 5)]
    assert [part.cu_seqlens for part in parts_of(packed, at_once=3)] == [(0, 2), (0, 3), (0, 4), (0, 1)]
    padded = Batch(ids.expand(5, -1), torch.empty(0), 50, torch.arange(5)[:, None])
    assert [part.targets.flatten().tolist() for part in parts_of(padded, at_once=29)] == [[0, 1], [2, 3], [4]]
    assert len(parts_of(padded, at_once=50)) == 1


@pytest.mark.parametrize("at_once", [64, 200])
def test_batches_in_parts_teach_what_whole_batches_do(
    fasta: Path, tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    original = NextBase.sums

    def watched(self: NextBase, model: nn.Module, batch: Batch) -> torch.Tensor:
        if torch.is_grad_enabled():
            rows.append(len(batch.ids))
        return original(self, model, batch)

    monkeypatch.setattr(NextBase, "sums", watched)
    plain = ("model.embed_dropout=0", "data.accumulate=2")
    whole = weights(train_tiny(tmp_path / "whole", fasta, *plain, max_steps=3))
    assert max(rows) == 8
    rows.clear()
    parts = weights(train_tiny(tmp_path / "parts", fasta, *plain, f"run.tokens_at_once={at_once}", max_steps=3))
    assert max(rows) == at_once // 64
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=2e-5)


def test_gradients_are_clipped_to_the_norm_that_is_asked_for(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: list[float] = []
    original = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, closure: Any = None) -> Any:
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients]))))
        return original(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    train_tiny(tmp_path / "free", fasta, "optim.clip=1e9", max_steps=2)
    free = list(norms)
    norms.clear()
    assert min(free) > 0.05
    train_tiny(tmp_path / "clipped", fasta, "optim.clip=0.01", max_steps=2)
    assert norms == pytest.approx([0.01, 0.01], rel=1e-3)


@pytest.mark.parametrize("flips", [True, False])
def test_markov_models_see_the_strands_that_the_model_sees(
    tmp_path: Path, flips: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held-out sequence that is the reverse complement of the training sequence is known to models of both strands."""
    from genoconv.tokens import encode, reverse_complement

    # A -> C -> T -> G -> A, which the other strand reads as C -> A -> G -> T -> C.
    swap = str.maketrans("GT", "TG")
    bases = patterned_bases(10_000, seed=1).translate(swap)
    tokens = reverse_complement(encode(patterned_bases(10_000, seed=2).translate(swap)))
    other = "".join("ACGT"[token - 7] for token in tokens)
    fasta = write_fasta(tmp_path / "g.fa", {"train": bases, "valid": other})
    setting = f"data.reverse_complement={str(flips).lower()}"
    folder = train_tiny(tmp_path / "run", fasta, setting, "windows.valid=valid", max_steps=1)
    done = read_config(folder)["provenance"]
    first_order = done["markov_perplexities"][1]
    assert (first_order < 3.9) is flips, first_order
    assert (first_order > 5) is not flips, first_order
    assert read_rows(folder / "metrics.csv")[-1].split == "valid"
