"""What a training run learns from: a genome found, its windows made, the held-out ones chosen."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genoconv.errors import DataError, UsageError
from genoconv.genome.annotation.genes import genes_on
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.chosen import read_windows
from genoconv.genome.windows.training import WindowPlan, Windows, make_windows
from genoconv.pipelines.train.identity import mask_digest, sequences_digest
from genoconv.pipelines.train.options import TrainConfig
from genoconv.progress import progress_bar
from genoconv.wording import count

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Inputs:
    """A genome and its windows.

    Attributes:
        name: of the genome, or of the FASTA.
        fasta: opened.
        annotation: where genes came from; None for tiles.
        window_file: where windows came from that were not made here.
        plan: how windows were made.
        windows: all of them, with their splits, and what was left out.
    """

    name: str
    fasta: Fasta
    annotation: Path | None
    window_file: Path | None
    plan: WindowPlan
    windows: Windows

    @property
    def genes(self) -> bool:
        """Whether windows were made of genes."""
        return self.annotation is not None

    @property
    def stranded(self) -> bool:
        """Whether windows have a strand of their own, as genes have and tiles do not."""
        return self.genes or bool((self.windows.frame["strand"] == "-").any())

    @property
    def kind(self) -> str:
        """``genes``, ``tiles``, or ``file``."""
        return "file" if self.window_file is not None else "genes" if self.genes else "tiles"

    def split(self, name: str) -> "pd.DataFrame":
        """The windows of one split: contig, start, end (0-based half-open), strand, name."""
        frame = self.windows.frame
        return frame[frame["split"] == name]

    def describe(self, *, soft_mask: bool = False) -> dict[str, Any]:
        """For ``genome.json``: which sequence, to the base, and how it was divided.

        ``soft_mask`` distinguishes sequences that differ only in lower case, where that matters to training.
        """
        table = self.windows.frame.to_csv(index=False, sep="\t", lineterminator="\n").encode()
        contigs = {
            contig: {"length": length, "md5": self.fasta.digest(contig)}
            for contig, length in self.fasta.contigs.items()
        }
        if soft_mask:
            for contig, record in contigs.items():
                record["soft_mask_md5"] = mask_digest(self.fasta, contig)
        return {
            "name": self.name,
            "fasta": self.fasta.path.name,
            "annotation": None if self.annotation is None else self.annotation.name,
            "contigs": contigs,
            "sequences_sha256": sequences_digest({name: str(record["md5"]) for name, record in contigs.items()}),
            "window_file": None if self.window_file is None else self.window_file.name,
            "windows": self.kind,
            "split": {name: self._counts(name) for name in ("train", "valid", "test")},
            "left_out": self.windows.notes(self.plan),
            "windows_sha256": hashlib.sha256(table).hexdigest(),
        }

    def _counts(self, split: str) -> dict[str, Any]:
        frame = self.split(split)
        counts: dict[str, Any] = {"windows": len(frame), "bases": int((frame["end"] - frame["start"]).sum())}
        if self.genes:
            counts |= {"genes": self.windows.genes.get(split, 0), "cut_genes": self.windows.cut.get(split, 0)}
        return counts | {"contigs": sorted(set(frame["contig"]))}

    def summary(self, split: str) -> str:
        """The windows of one split in words: ``861 windows of 461 genes (297 of them cut)``."""
        counts = self._counts(split)
        unit = "tile" if self.kind == "tiles" else "window"
        windows = count(counts["windows"], unit)
        if not self.genes:
            return windows
        genes = count(counts["genes"], "gene")
        cut = f" ({counts['cut_genes']:,} of them cut into parts)" if counts["cut_genes"] else ", whole"
        return f"{windows} of {genes}{cut}"


def gather(config: TrainConfig, *, max_length: int, offline: bool, quiet: bool) -> Inputs:
    """Find the sequence and make windows of at most ``max_length`` bases on it.

    Raises:
        UsageError: a genome without the genes that are asked for; contigs or fractions that cannot be.
        DataError: a damaged file, or nothing left to learn from or to measure on.
        DownloadError: the genome could not be fetched.
    """
    name, path, annotation, aliases = _source(config, offline=offline, quiet=quiet)
    fasta = Fasta(path)
    genes = None
    if annotation is not None:
        genes = genes_on(fasta, annotation, aliases=aliases, biotypes=config.windows.biotypes)
    plan = _plan(config, max_length=max_length, genes=genes is not None)
    chosen = config.window_file
    if chosen is not None:
        windows = read_windows(chosen, fasta, max_length=max_length, aliases=aliases)
    else:
        with progress_bar("Looking at windows", unit="bases", quiet=quiet) as advance:
            windows = make_windows(fasta, plan, genes=genes, advance=advance)
    inputs = Inputs(name, fasta, annotation, chosen, plan, windows)
    for split, what in (("train", "training"), ("valid", "validation")):
        if inputs.split(split).empty:
            left_out = "; ".join(["", *windows.notes(plan)])
            if chosen is not None:
                raise DataError(f"{chosen}: no windows for {what}: no row has the split {split}")
            raise DataError(f"{path}: no windows for {what}: the genome is too small; lower --max-length{left_out}")
    return inputs


def _plan(config: TrainConfig, *, max_length: int, genes: bool) -> WindowPlan:
    wanted = config.windows
    shortest = min(wanted.min_length, max_length // 2)  # a long gene is cut into parts of more than half
    unused: dict[str, int | None] = {"step": None} if genes else {"flank": 0}
    wanted = wanted.model_copy(update={"min_length": shortest, **unused})
    return wanted.plan(max_length=max_length, seed=config.run.seed)


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
