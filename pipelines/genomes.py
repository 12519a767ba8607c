"""The runs behind ``genoconv genomes`` that are more than one call."""

from collections.abc import Iterator
from pathlib import Path

from genoconv.errors import DataError, UsageError
from genoconv.genome import store
from genoconv.genome.annotation import read_genes
from genoconv.genome.manifest import RemoteFile, list_manifests, load_manifest, manifest_folders, unknown_genome
from genoconv.genome.store import Genome


def describe(name: str) -> Iterator[str]:
    """Lines about a genome, from its manifest and, where it is here, its receipt.

    Raises:
        UsageError: it is neither known nor here.
    """
    genome = store.stored(name)
    if any((folder / f"{name}.toml").is_file() for folder in manifest_folders()) or genome is None:
        manifest = load_manifest(name)
        yield f"{name}: {manifest.title}"
        yield f"licence      {manifest.licence}"
        yield f"source       {manifest.source}"
        for kind, remote in (("sequence", manifest.fasta), ("genes", manifest.annotation)):
            yield from _remote(kind, remote)
        for contig, length in manifest.contigs.items():
            yield f"contig       {contig} {length:,}"
    if genome is None:
        yield f"not here; fetch it with: genoconv genomes fetch {name}"
        return
    yield f"{'added' if genome.registered else 'fetched'}      {genome.date}, by genoconv {genome.version}"
    for file in genome.files:
        yield f"file         {file.path} ({file.bytes:,} bytes, sha256 {file.sha256})"
    for contig, length in genome.contigs.items():
        yield f"sequence     {contig} {length:,} md5 {genome.md5[contig]}"


def _remote(kind: str, remote: RemoteFile | None) -> Iterator[str]:
    if remote is None:
        return
    for url in remote.urls:
        yield f"{kind:<12} {url}"
    for name in ("bytes", "md5", "sha256", "unpacked_sha256"):
        value = getattr(remote, name)
        if value is not None:
            yield f"{'':<12} {name} {value:,}" if isinstance(value, int) else f"{'':<12} {name} {value}"


def verify(name: str) -> str:
    """Read all files of a genome again.

    Returns:
        The summary line.

    Raises:
        UsageError: it is not here.
        DataError: something is missing or damaged; everything is named.
    """
    genome = _here(name, complete=False)
    problems = store.damage(genome)
    if problems:
        way_out = "put the files back or add it again" if genome.registered else f"genoconv genomes fetch {name}"
        raise DataError(f"{'; '.join(problems)}; {way_out}")
    return f"{name}: {len(genome.files)} files as they were on {genome.date}"


def path_of(name: str, *, annotation: bool) -> Path:
    """Path of a genome's FASTA, or of its genes.

    Raises:
        UsageError: it is not here, or has no genes.
    """
    genome = _here(name, complete=True)
    if not annotation:
        return genome.fasta
    if genome.annotation is None:
        raise UsageError(f"{name} has no annotation; add one with: genoconv genomes add NAME --fasta F --annotation G")
    return genome.annotation


def register(name: str, *, fasta: Path, annotation: Path | None, force: bool) -> str:
    """Make a user's own files known by a name, after reading them.

    Returns:
        The summary line.

    Raises:
        UsageError: the name is taken.
        DataError: not DNA FASTA, or genes that do not fit to it.
    """
    if any(manifest.name == name for manifest in list_manifests()):
        raise UsageError(f"{name} is the name of a genome that genoconv knows; choose another")
    genome = store.register(name, fasta=fasta, annotation=annotation, force=force)
    bases = sum(genome.contigs.values())
    genes = (
        "" if annotation is None else f", {len(read_genes(annotation, contigs=genome.contigs, fasta=fasta)):,} genes"
    )
    return f"{name}: {len(genome.contigs):,} sequences, {bases:,} bases{genes}, at {genome.fasta}"


def _here(name: str, *, complete: bool) -> Genome:
    genome = store.stored(name) if complete else next((g for g in store.receipts() if g.name == name), None)
    if genome is None:
        known = [manifest.name for manifest in list_manifests()]
        if name in known:
            raise UsageError(f"{name} is not here (or incomplete); fetch it with: genoconv genomes fetch {name}")
        raise UsageError(unknown_genome(name, known))
    return genome
