"""Settings that only show in what is learned: each is followed to where it acts, and acts there."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from fasta_files import write_fasta
from train_runs import patterned_bases, patterned_genome, same_weights, train_tiny

from genoconv.gpu import targets
from genoconv.models import preset
from genoconv.models.checkpoint import read_config
from genoconv.pipelines.train import memory
from genoconv.train.batch import Batch
from genoconv.train.machine import Machine
from genoconv.train.metrics import read_rows
from genoconv.train.module import Learner
from genoconv.train.settings import DataSettings, RunSettings


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than these runs; test_train_report.py draws."""
    monkeypatch.setattr("genoconv.pipelines.train.report.write_plot", lambda *_, **__: True)


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return patterned_genome(tmp_path / "genome.fa")


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


@pytest.mark.parametrize(("free", "expected"), [(43, True), (48, False)])
def test_activation_checkpointing_auto_goes_by_the_memory_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch, free: int, expected: bool
) -> None:
    """A step of medium-450k takes 40.5 GiB on an H200: benchmarks/results/train_step-cuda.md."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free * 2**30, 140 * 2**30))
    monkeypatch.setattr(targets, "local_card", lambda index: targets.card_of("sm_90"))
    machine = SimpleNamespace(accelerator="cuda", device=torch.device("cuda", 0), precision="bf16")
    data = DataSettings(tokens_per_batch=2**15)  # one window at a time
    found = memory.recompute(
        RunSettings(), data, sizes=preset("medium-450k"), longest=450_000, machine=cast(Machine, machine)
    )
    assert found.wanted is expected
    assert f"{free}.0 GiB are free" in str(found.reason)
    four = memory.recompute(
        RunSettings(),
        data.model_copy(update={"tokens_per_batch": 4 * 450_000}),
        sizes=preset("medium-450k"),
        longest=450_000,
        machine=cast(Machine, machine),
    )
    assert four.wanted


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
