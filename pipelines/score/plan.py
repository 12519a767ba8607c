"""From the options of ``genoconv score-variants`` to what decides a score."""

import logging
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING

from genoconv.errors import UsageError
from genoconv.pipelines.references import GenomeFiles
from genoconv.pipelines.score.inputs import longest_allele, longest_window, window_widths
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.tasks.comparison import Reduce
from genoconv.tasks.planning import Settings, Strand
from genoconv.variants.alleles import trimmed
from genoconv.variants.chunks import grid_place
from genoconv.variants.records import Record
from genoconv.variants.reference import Reference

if TYPE_CHECKING:
    from genoconv.models.config import ModelConfig
    from genoconv.variants.genes import GeneIndex

log = logging.getLogger(__name__)

# A piece is what is scored, journalled and sharded as one: records enough for full batches, few enough that a kill
# costs little, and at least so many pieces that shards come out even.
_PIECE_TOKENS = 1 << 22
_PIECE_RECORDS = (16, 1024)
_PIECES = 64


def gene_index(options: ScoreOptions, genome: GenomeFiles, reference: Reference) -> "GeneIndex | None":
    """The genes for ``--context gene``; None for windows on the grid.

    Raises:
        UsageError: options that do not go together.
        DataError: an annotation that cannot be used.
    """
    if options.context != "gene":
        if options.annotation is not None:
            raise UsageError("--annotation is for --context gene")
        return None
    if genome.annotation is None:
        raise UsageError("--context gene needs genes: add --annotation GENES.gtf (or .gff3)")
    if options.windows or options.grid:
        raise UsageError("--context gene: the window is the gene body; leave out --window and --grid")
    from genoconv.genome.annotation.genes import read_genes
    from genoconv.variants.genes import GeneIndex

    genes = read_genes(genome.annotation, contigs=reference.contigs, aliases=genome.aliases, fasta=genome.fasta)
    return GeneIndex(genes, contigs=reference.contigs)


def score_settings(options: ScoreOptions, *, genes: "GeneIndex | None", sizes: "ModelConfig") -> Settings:
    """What decides a score besides model, genome and allele; warns where windows are longer than those in training.

    Raises:
        UsageError: an invalid window, grid or allele length.
    """
    max_length = longest_window(sizes)
    widths = () if genes else window_widths(options.windows, grid=options.grid, sizes=sizes)
    longest = min(genes.longest, max_length) if genes else max(width for width, _ in widths)
    if longest > sizes.max_bases:
        log.warning("%s", sizes.beyond(longest))
    return Settings(
        widths=tuple(width for width, _ in widths) or (0,),
        grid=tuple(grid for _, grid in widths) or (1,),
        max_length=max_length,
        reduce=Reduce(options.reduce),
        strand=Strand(options.strand or ("forward" if genes else "both")),
        max_indel=longest_allele(options.max_indel, widths),
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
