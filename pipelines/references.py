"""The files of a genome that a run reads: a FASTA that was given, or a genome that genoconv knows by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class GenomeFiles(NamedTuple):
    """A genome on disk.

    Attributes:
        fasta: its sequence.
        annotation: its genes, where there are any.
        aliases: further names of its contigs -> the names in the FASTA.
    """

    fasta: Path
    annotation: Path | None
    aliases: Mapping[str, str]


def genome_files(
    fasta: Path | None, genome: str | None, *, annotation: Path | None = None, offline: bool, quiet: bool
) -> GenomeFiles:
    """The files of ``fasta``, or else of ``genome``, which is fetched if it is not here.

    Args:
        fasta: a file; None where the genome has a name.
        genome: name of a genome.
        annotation: takes the place of the annotation that belongs to the genome.
        offline: never use the network.
        quiet: no progress bars.

    Raises:
        UsageError: no such genome.
        DownloadError: it could not be fetched.
    """
    if genome is None:
        assert fasta is not None
        return GenomeFiles(fasta, annotation, {})
    from genoconv.genome.assemblies.fetch import resolve_genome

    found = resolve_genome(genome, offline=offline, quiet=quiet)
    return GenomeFiles(found.fasta, annotation or found.annotation, found.aliases)
