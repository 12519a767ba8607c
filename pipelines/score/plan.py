"""From the options of ``genoconv score-variants`` to what decides a score."""

import logging
import sys
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genoconv.errors import UsageError
from genoconv.pipelines.score.inputs import longest_allele, window_widths
from genoconv.tasks.score import Reduce, Settings, Strand
from genoconv.variants.alleles import trimmed
from genoconv.variants.chunks import grid_place
from genoconv.variants.reader import Record
from genoconv.variants.reference import Reference

if TYPE_CHECKING:
    from genoconv.models.config import ModelConfig
    from genoconv.variants.genes import GeneIndex

log = logging.getLogger(__name__)

# A piece is what is scored, journalled and sharded as one: records enough for full batches, few enough that a kill
# costs little, and at least so many pieces that shards come out even.
_PIECE_TOKENS = 1 << 22
_PIECE_RECORDS = (16, 1024)
_PIECES = 128


@dataclass(frozen=True, slots=True)
class ScoreRun:
    """One call of ``genoconv score-variants``: the command's options by the same names.

    ``output`` and ``tsv`` are None where they are not wanted; ``Path("-")`` is standard output. ``windows`` empty
    and ``strand`` None stand for the defaults that depend on the model and on ``context``. ``shard`` is (which,
    of how many), counted from 1.
    """

    vcf: Path
    fasta: Path
    model: Path
    output: Path | None = Path("-")
    output_type: str | None = None
    tsv: Path | None = None
    windows: tuple[int, ...] = ()
    grid: int | None = None
    reduce: str = "sum"
    strand: str | None = None
    context: str = "window"
    annotation: Path | None = None
    max_indel: int | None = None
    regions: tuple[str, ...] = ()
    regions_file: Path | None = None
    pass_only: bool = False
    ref_mismatch: str = "stop"
    explain: bool = False
    info_prefix: str = "GCONV"
    shard: tuple[int, int] | None = None
    batch_size: int | None = None
    device: str = "auto"
    precision: str = "auto"
    resume: bool = False
    force: bool = False
    index: bool = True
    quiet: bool = False


def gene_index(run: ScoreRun, reference: Reference) -> "GeneIndex | None":
    """The genes for ``--context gene``; None for windows on the grid.

    Raises:
        UsageError: options that do not go together.
        DataError: an annotation that cannot be used.
    """
    if run.context != "gene":
        if run.annotation is not None:
            raise UsageError("--annotation is for --context gene")
        return None
    if run.annotation is None:
        raise UsageError("--context gene needs the genes: give --annotation GENES.gtf (or .gff3)")
    if run.windows or run.grid:
        raise UsageError("--context gene: the window is the gene body; leave out --window and --grid")
    from genoconv.genome.annotation.genes import read_genes
    from genoconv.variants.genes import GeneIndex

    genes = read_genes(run.annotation, contigs=reference.contigs, fasta=run.fasta)
    return GeneIndex(genes, contigs=reference.contigs)


def score_settings(run: ScoreRun, *, genes: "GeneIndex | None", sizes: "ModelConfig") -> Settings:
    """What decides a score besides model, genome and allele; warns where windows are longer than those in training.

    Raises:
        UsageError: a window, grid or allele length that cannot be.
    """
    trained = sizes.max_bases
    max_length = sys.maxsize if sizes.input_limit is None else trained
    widths = () if genes else window_widths(run.windows, grid=run.grid, max_length=max_length, trained=trained)
    longest = min(genes.longest, max_length) if genes else max(width for width, _ in widths)
    if longest > trained:
        log.warning("%s", sizes.beyond(longest))
    return Settings(
        widths=tuple(width for width, _ in widths) or (0,),
        grid=tuple(grid for _, grid in widths) or (1,),
        max_length=max_length,
        reduce=Reduce(run.reduce),
        strand=Strand(run.strand or ("forward" if genes else "both")),
        max_indel=longest_allele(run.max_indel, widths),
        gene=genes,
    )


def piece_size(settings: Settings, *, genes: "GeneIndex | None", total: int) -> int:
    """Records per piece, for ``total`` in all; it must not depend on the shard, for the bytes depend on the pieces."""
    longest = min(genes.longest, settings.max_length) if genes else max(settings.widths)
    least, most = _PIECE_RECORDS
    return max(least, min(most, _PIECE_TOKENS // max(longest, 1), total // _PIECES))


def place(settings: Settings, *, genes: "GeneIndex | None", names: Mapping[str, str]) -> Callable[[Record], Hashable]:
    """For :func:`genoconv.variants.chunks.chunks`: what two records share that are scored in one window."""
    if genes is None:
        return grid_place(max(settings.grid))

    def gene_of(record: Record) -> Hashable:
        body = genes(names.get(record.contig, ""), trimmed(record.start, record.ref, ""))
        return record.contig, None if body is None else body.id

    return gene_of
