"""A model whose likelihoods can be worked out by hand: a fixed table of 3-mers in place of the network."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from genoconv import tokens
from genoconv.genome.fasta.access import Fasta
from genoconv.tasks.likelihood import CausalLikelihood
from genoconv.tasks.planning import Settings, suffix_start
from genoconv.tasks.score import VariantScorer
from genoconv.variants.records import Record
from genoconv.variants.reference import Reference

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def rc(text: str) -> str:
    return text.translate(COMPLEMENT)[::-1]


class KmerModel(nn.Module):
    """P(next base | the two before it), from a random table; PAD stands before the first base."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.table = nn.Parameter(torch.randn(12, 12, 16, generator=generator))
        self.prepared: list[tuple[int, ...]] = []
        self.rows = 0

    def prepare(self, *lengths: int) -> None:
        self.prepared.append(lengths)

    def forward(self, ids: Tensor) -> Tensor:
        self.rows += len(ids)
        before = nn.functional.pad(ids[:, :-1], (1, 0), value=tokens.PAD)
        return self.table[before, ids]

    def log_p(self, text: str) -> list[float]:
        """ln P of each base of ``text`` in plain Python; 0 for the first and for N."""
        ids = [int(i) for i in tokens.encode(text)]
        values = [0.0] * len(ids)
        for i in range(1, len(ids)):
            row = self.table[ids[i - 2] if i > 1 else tokens.PAD][ids[i - 1]].tolist()
            if text[i] in "ACGT":
                bases = row[tokens.A : tokens.T + 1]
                values[i] = row[ids[i]] - math.log(sum(math.exp(b) for b in bases))
        return values


def write_fasta(path: Path, contigs: dict[str, str]) -> Path:
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in contigs.items()))
    return path


def record(contig: str, start: int, ref: str, *alts: str) -> Record:
    line = f"{contig}\t{start + 1}\t.\t{ref}\t{','.join(alts) or '.'}\t.\t.\t."
    return Record(contig, start, ref, alts, line)


def scorer(
    fasta: Path,
    *,
    model: nn.Module | None = None,
    device: torch.device | str = "cpu",
    batch_size: int | None = None,
    **settings,
) -> VariantScorer:
    settings = {"widths": (64,), "grid": (4,), "max_length": 10_000, "max_indel": 16, **settings}
    reference = Reference(Fasta(fasta))
    starts = {w: suffix_start(w, g) for w, g in zip(settings["widths"], settings["grid"], strict=True) if w}
    likelihood = CausalLikelihood(model or KmerModel(), device=device, starts=starts, batch_size=batch_size)
    names = {name: name for name in reference.contigs}
    return VariantScorer(likelihood, reference=reference, names=names, settings=Settings(**settings))
