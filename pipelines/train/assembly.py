"""One source of a run: its sequence found, its windows made or read."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genoconv.errors import UsageError
from genoconv.genome.annotation.genes import genes_on
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.fasta.digests import md5s_of
from genoconv.genome.windows.chosen import read_windows
from genoconv.genome.windows.training import WindowPlan, Windows, make_windows
from genoconv.pipelines.references import GenomeFiles, genome_files
from genoconv.pipelines.train.identity import mask_digest, sequences_digest
from genoconv.pipelines.train.options import TrainConfig
from genoconv.pipelines.train.regions import Regions, find_regions
from genoconv.pipelines.train.sources import Source
from genoconv.progress import progress_bar
from genoconv.wording import count

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Assembly:
    """A genome and its windows.

    Attributes:
        name: of the source.
        title: what a reader knows it by: the name of the genome, or of the FASTA file.
        fasta: opened.
        annotation: where genes came from; None for tiles.
        window_file: where windows came from that were not made here.
        plan: how windows were made.
        windows: all of them, with their splits, and what was left out.
        weight: how often a base is read, relative to one of weight 1.
        masked_weight: weight of soft-masked bases in the loss; None reads no mask.
        regions: which base is in which region; None where there are none.
    """

    name: str
    title: str
    fasta: Fasta
    annotation: Path | None
    window_file: Path | None
    plan: WindowPlan
    windows: Windows
    weight: float = 1.0
    masked_weight: float | None = None
    regions: Regions | None = None

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

    def notes(self) -> list[str]:
        """What was cut and what was left out, a phrase each."""
        return self.windows.notes(self.plan)

    def describe(self) -> dict[str, Any]:
        """For ``genome.json``: which sequence, to the base, and how it was divided; its soft mask where it matters."""
        table = self.windows.frame.to_csv(index=False, sep="\t", lineterminator="\n").encode()
        md5s = md5s_of(self.fasta, self.fasta.contigs)
        contigs = {contig: {"length": self.fasta.contigs[contig], "md5": md5} for contig, md5 in md5s.items()}
        if self.masked_weight is not None:
            for contig, record in contigs.items():
                record["soft_mask_md5"] = mask_digest(self.fasta, contig)
        return {
            **({} if self.regions is None else self.regions.describe()),
            "name": self.title,
            "fasta": self.fasta.path.name,
            "annotation": None if self.annotation is None else self.annotation.name,
            "contigs": contigs,
            "sequences_sha256": sequences_digest(md5s),
            "window_file": None if self.window_file is None else self.window_file.name,
            "windows": self.kind,
            "split": {name: self.counts(name) for name in ("train", "valid", "test")},
            "left_out": self.notes(),
            "windows_sha256": hashlib.sha256(table).hexdigest(),
        }

    def counts(self, split: str) -> dict[str, Any]:
        """Windows, bases and contigs of one split, and genes where windows are genes."""
        frame = self.split(split)
        counts: dict[str, Any] = {"windows": len(frame), "bases": int((frame["end"] - frame["start"]).sum())}
        if self.genes:
            counts |= {"genes": self.windows.genes.get(split, 0), "cut_genes": self.windows.cut.get(split, 0)}
        return counts | {"contigs": sorted(set(frame["contig"]))}

    def summary(self, split: str) -> str:
        """The windows of one split in words: ``861 windows of 461 genes (297 of them cut)``."""
        counts = self.counts(split)
        unit = "tile" if self.kind == "tiles" else "window"
        windows = count(counts["windows"], unit)
        if not self.genes:
            return windows
        genes = count(counts["genes"], "gene")
        cut = f" ({counts['cut_genes']:,} of them cut into parts)" if counts["cut_genes"] else ", whole"
        return f"{windows} of {genes}{cut}"


def find(
    source: Source, config: TrainConfig, *, max_length: int, offline: bool, quiet: bool, where: str = ""
) -> Assembly:
    """Find the sequence of a named source and make windows of at most ``max_length`` bases on it.

    ``where`` begins messages about its regions.

    Raises:
        UsageError: a genome without the genes that are asked for; invalid contigs or fractions.
        DataError: a damaged file.
        DownloadError: the genome could not be fetched.
    """
    rules = (*source.regions, *config.windows.regions)
    path, features, aliases = _files(source, offline=offline, quiet=quiet)
    fasta = Fasta(path)
    annotation = None if source.genes is False or source.window_file is not None else features
    if source.annotation is None and not source.genes:
        annotation = None  # a named genome has one of its own
    genes = None
    if annotation is not None:
        genes = genes_on(fasta, annotation, aliases=aliases, biotypes=config.windows.biotypes)
    plan = _plan(source, config, max_length=max_length, genes=genes is not None)
    if source.window_file is not None:
        windows = read_windows(source.window_file, fasta, max_length=max_length, aliases=aliases)
    else:
        with progress_bar("Looking at windows", unit="bases", quiet=quiet) as advance:
            windows = make_windows(fasta, plan, genes=genes, advance=advance)
    kept = config.data.soft_mask_weight if config.data.soft_mask == "keep" else None
    return Assembly(
        name=source.usual_name,
        title=source.genome or path.name,
        fasta=fasta,
        annotation=annotation,
        window_file=source.window_file,
        plan=plan,
        windows=windows,
        weight=source.weight,
        masked_weight=kept if source.soft_mask_weight is None else source.soft_mask_weight,
        regions=find_regions(rules, fasta, annotation=features, aliases=aliases, where=where),
    )


def _plan(source: Source, config: TrainConfig, *, max_length: int, genes: bool) -> WindowPlan:
    wanted = config.windows
    shortest = min(wanted.min_length, max_length // 2)  # a long gene is cut into parts of more than half
    changes: dict[str, Any] = {"min_length": shortest, **({"step": None} if genes else {"flank": 0})}
    if source.valid or source.test:
        changes |= {"valid": source.valid, "test": source.test}
    return wanted.model_copy(update=changes).plan(max_length=max_length, seed=config.run.seed)


def _files(source: Source, *, offline: bool, quiet: bool) -> GenomeFiles:
    files = genome_files(source.fasta, source.genome, annotation=source.annotation, offline=offline, quiet=quiet)
    if source.genome is not None and source.genes and files.annotation is None:
        raise UsageError(f"genome {source.genome} has no annotation; add --annotation FILE, or drop --genes for tiles")
    return files
