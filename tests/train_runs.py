"""Training runs small enough for tests: a genome with something to learn, a model of a few thousand parameters."""

import random
from collections.abc import Mapping
from pathlib import Path

import torch
from fasta_files import write_fasta

from genoconv.models import HyenaDNA, load_model
from genoconv.pipelines.resolve import Call
from genoconv.pipelines.train import run as pipeline
from genoconv.pipelines.train.config import configure
from genoconv.pipelines.train.options import TrainConfig

TINY = (
    "model.d_model=16",
    "model.n_layer=1",
    "model.filter_order=16",
    "max_length=64",
    "data.tokens_per_batch=512",
    "data.valid_tokens=2000",
    "data.workers=0",
    "optim.lr=0.01",
    "optim.filter_lr=0.01",
    "optim.warmup_steps=2",
    "run.device=cpu",
    "run.log_every=1",
    "run.calibrate=false",
)


def patterned_bases(length: int, *, seed: int) -> str:
    """Bases of which each mostly decides the next: A -> C -> G -> T -> A three times in four."""
    draws = random.Random(seed)
    base, bases = 0, []
    for _ in range(length):
        base = (base + 1) % 4 if draws.random() < 0.75 else draws.randrange(4)
        bases.append("ACGT"[base])
    return "".join(bases)


def patterned_genome(path: Path, *, length: int = 20_000) -> Path:
    """A FASTA of one contig of :func:`patterned_bases`."""
    return write_fasta(path, {"chr1": patterned_bases(length, seed=1)})


def tiny_config(fasta: Path, *assignments: str, max_steps: int | None = 6) -> TrainConfig:
    """The configuration of a run of seconds; ``assignments`` as of ``--set``."""
    return configuration(*TINY, *assignments, options={"fasta": str(fasta), "run.max_steps": max_steps})


def configuration(
    *assignments: str, file: Path | None = None, options: Mapping[str, object] | None = None
) -> TrainConfig:
    """The configuration of a new run, from a file, options by their keys, and ``--set`` assignments."""
    return configure(Call(TrainConfig, file, options or {}, assignments))


def resumed(folder: Path, *assignments: str) -> TrainConfig:
    """The configuration with which the run in ``folder`` is resumed."""
    return pipeline.resumed(folder, Call(TrainConfig, assignments=assignments))


def resume(folder: Path, *assignments: str) -> int:
    """Resume the run in ``folder`` in this process; its exit code."""
    return pipeline.resume(resumed(folder, *assignments), folder=folder, quiet=True)


def train_tiny(folder: Path, fasta: Path, *assignments: str, max_steps: int | None = 6) -> Path:
    """Run it to its end in this process; returns the model folder."""
    config = tiny_config(fasta, *assignments, max_steps=max_steps)
    assert pipeline.train(config, folder=folder, quiet=True) == 0
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The parameters of a model folder."""
    return load_model(folder).state_dict()


def same_weights(one: Path, other: Path) -> bool:
    """Whether two models hold bit for bit the same numbers."""
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def untrained(config: TrainConfig) -> HyenaDNA:
    """The model with which a run of ``config`` begins."""
    torch.manual_seed(config.run.seed)
    return HyenaDNA(config.sizes())
