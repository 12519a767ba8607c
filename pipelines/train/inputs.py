"""What a training run learns from: a genome found, its windows made, the held-out ones chosen."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genoconv.errors import DataError, UsageError
from genoconv.genome.annotation.genes import read_genes
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.splits import SplitPlan
from genoconv.genome.windows.training import WindowPlan, Windows, make_windows
from genoconv.pipelines.train.config import TrainConfig
from genoconv.progress import progress_bar

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """A genome and its windows.

    Attributes:
        name: of the genome, or of the FASTA.
        fasta: opened.
        genes: whether windows are genes, which have a strand of their own, or tiles.
        windows: all of them, with their splits, and what was left out.
        train: those to learn from.
        valid: as many of the held-out ones as are measured, spread over all of them.
        annotation: where genes came from.
    """

    name: str
    fasta: Fasta
    genes: bool
    windows: Windows
    train: "pd.DataFrame"
    valid: "pd.DataFrame"
    annotation: Path | None

    def describe(self) -> dict[str, Any]:
        """For ``genome.json``: which sequence, to the base, and how it was divided."""
        frame = self.windows.frame
        lengths = frame["end"] - frame["start"]
        table = frame.to_csv(index=False, sep="\t", lineterminator="\n").encode()
        return {
            "name": self.name,
            "fasta": self.fasta.path.name,
            "annotation": None if self.annotation is None else self.annotation.name,
            "contigs": {
                contig: {"length": length, "md5": self.fasta.digest(contig)}
                for contig, length in self.fasta.contigs.items()
            },
            "windows": "genes" if self.genes else "tiles",
            "split": {
                name: {
                    "windows": int((frame["split"] == name).sum()),
                    "bases": int(lengths[frame["split"] == name].sum()),
                    "contigs": sorted(set(frame.loc[frame["split"] == name, "contig"])),
                }
                for name in ("train", "valid", "test")
            },
            "windows_sha256": hashlib.sha256(table).hexdigest(),
        }


def gather(config: TrainConfig, *, max_length: int, offline: bool, quiet: bool) -> Inputs:
    """Find the sequence, make windows of at most ``max_length`` bases, choose the held-out ones.

    Raises:
        UsageError: a genome without the genes that are asked for; contigs or fractions that cannot be.
        DataError: a damaged file, or nothing left to learn from or to measure on.
        DownloadError: the genome could not be fetched.
    """
    name, path, annotation, aliases = _source(config, offline=offline, quiet=quiet)
    fasta = Fasta(path)
    genes = None if annotation is None else _genes(annotation, fasta, aliases, biotypes=config.windows.biotypes)
    wanted = config.windows
    plan = WindowPlan(
        max_length=max_length,
        flank=wanted.flank if genes is not None else 0,
        long_genes=wanted.long_genes,
        step=wanted.step if genes is None else None,
        min_length=min(wanted.min_length, max_length // 2),  # a long gene is cut into parts of more than half
        max_unknown=wanted.max_unknown,
        split=SplitPlan(
            by=wanted.split_by,
            valid=wanted.valid,
            test=wanted.test,
            valid_fraction=wanted.valid_fraction,
            test_fraction=wanted.test_fraction,
            seed=config.run.seed,
        ),
    )
    with progress_bar("Looking at windows", unit="bases", quiet=quiet) as advance:
        windows = make_windows(fasta, plan, genes=genes, advance=advance)
    train, held_out = (windows.frame[windows.frame["split"] == split] for split in ("train", "valid"))
    for split, frame in (("training", train), ("validation", held_out)):
        if frame.empty:
            raise DataError(f"{path}: no windows for {split}: the genome is too small; lower --max-length")
    measured = spread(held_out, bases=config.data.valid_tokens)
    return Inputs(name, fasta, genes is not None, windows, train, measured, annotation)


def _source(config: TrainConfig, *, offline: bool, quiet: bool) -> tuple[str, Path, Path | None, Mapping[str, str]]:
    """Name, FASTA, where genes are wanted annotation, and the further names of a known genome's contigs."""
    if config.fasta is not None:
        return config.fasta.name, config.fasta, config.annotation, {}
    assert config.genome is not None
    from genoconv.genome.assemblies.fetch import resolve_genome

    found = resolve_genome(config.genome, offline=offline, quiet=quiet)
    annotation = config.annotation or (found.annotation if config.genes else None)
    if config.genes and annotation is None:
        raise UsageError(f"genome {config.genome} has no annotation; add --annotation FILE, or drop --genes for tiles")
    return config.genome, found.fasta, annotation, found.aliases


def _genes(annotation: Path, fasta: Fasta, aliases: Mapping[str, str], *, biotypes: tuple[str, ...]) -> "pd.DataFrame":
    genes = read_genes(annotation, contigs=fasta.contigs, aliases=aliases, fasta=fasta.path)
    if genes.empty:
        raise DataError(f"{annotation}: none of its genes lies whole on a contig of {fasta.path}")
    if not biotypes:
        return genes
    kept = genes[genes["biotype"].isin(biotypes)]
    if kept.empty:
        have = ", ".join(name or "(none)" for name in genes["biotype"].value_counts().index[:8])
        raise DataError(f"{annotation}: no gene has biotype {' or '.join(biotypes)}; its genes have {have}")
    return kept


def spread(frame: "pd.DataFrame", *, bases: int) -> "pd.DataFrame":
    """Rows at equal distances through the table, about ``bases`` in all."""
    lengths = (frame["end"] - frame["start"]).to_numpy()
    count = max(1, min(len(frame), round(len(frame) * bases / lengths.sum())))
    return frame.iloc[np.linspace(0, len(frame) - 1, count).round().astype(int)]
