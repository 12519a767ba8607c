"""The runs behind ``genoconv genomes`` that are more than one call."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genoconv import atomic
from genoconv.errors import DataError, GenoconvError, Interrupted, UsageError
from genoconv.genome.assemblies import store
from genoconv.genome.assemblies.ledger import recorded_checksum
from genoconv.genome.assemblies.manifest import Manifest, RemoteFile, find_manifest, list_manifests, unknown_genome
from genoconv.genome.cache import locked
from genoconv.pipelines.genomes.options import FetchOptions
from genoconv.progress import progress_bar
from genoconv.wording import count


@dataclass(frozen=True)
class Known:
    """A genome in the list.

    Attributes:
        name, title: of it.
        state: ``-`` (not here), ``here``, ``added`` or ``changed`` since.
        bases: in all sequences; None where unknown.
    """

    name: str
    state: str
    bases: int | None
    title: str

    def __str__(self) -> str:
        return f"{self.name:<12} {self.state:<7} {_size(self.bases):>8}  {self.title}"


def overview() -> Iterator[Known]:
    """Every genome that is known or here.

    Raises:
        DataError: a damaged manifest.
    """
    here = {genome.name: genome for genome in store.receipts()}
    known = {manifest.name: manifest for manifest in list_manifests()}
    for name in sorted({*known, *here}):
        genome, manifest = here.get(name), known.get(name)
        state = "-" if genome is None else "added" if genome.registered else "here"
        if genome is not None and store.stored(name) is None:
            state = "changed"
        bases = sum(genome.contigs.values()) if genome else manifest.total if manifest else None
        yield Known(name, state, bases, manifest.title if manifest else str(here[name].fasta))


def facts(name: str) -> dict[str, Any]:
    """What :func:`describe` says, in plain values; ``manifest`` and ``receipt`` are None where there is none.

    Raises:
        UsageError, DataError: as :func:`describe`.
    """
    manifest, genome = find_manifest(name), store.receipt(name)
    if manifest is None and genome is None:
        raise _unknown(name)
    return {
        "name": name,
        "manifest": None if manifest is None else manifest.model_dump(mode="json"),
        "receipt": None if genome is None else asdict(genome),
    }


def describe(name: str) -> Iterator[str]:
    """Lines about a genome, from its manifest and, where it is here, its receipt.

    Raises:
        UsageError: it is neither known nor here.
        DataError: its manifest or receipt is damaged.
    """
    manifest, genome = find_manifest(name), store.receipt(name)
    if manifest is None and genome is None:
        raise _unknown(name)
    if manifest is not None:
        yield from _manifest(manifest)
    if genome is None:
        yield f"not stored   fetch it with: genoconv genomes fetch {name}"
        return
    yield f"{'added' if genome.registered else 'fetched':<12} {genome.date}, by genoconv {genome.version}"
    yield f"holds        {genome.describe()}"
    for file in genome.files:
        yield f"file         {file.path} ({file.bytes:,} bytes, sha256 {file.sha256})"
    for contig, length in genome.contigs.items():
        yield f"sequence     {contig} {length:,} md5 {genome.md5[contig]}"


def _size(bases: int | None) -> str:
    """Three digits with a unit: ``12.2 Mb``."""
    if not bases:
        return ""
    unit, name = next(pair for pair in ((1e9, "Gb"), (1e6, "Mb"), (1e3, "kb"), (1, "b")) if bases >= pair[0])
    return f"{bases / unit:.3g} {name}"


def _manifest(manifest: Manifest) -> Iterator[str]:
    yield f"{manifest.name}: {manifest.title}"
    yield f"licence      {manifest.licence}"
    yield f"source       {manifest.source}"
    yield f"manifest     {manifest.path}"
    for kind, remote in (("FASTA", manifest.fasta), ("genes", manifest.annotation)):
        yield from _remote(kind, remote)
    if manifest.total is not None:
        count = "" if manifest.sequences is None else f" in {manifest.sequences:,} sequences"
        yield f"bases        {manifest.total:,}{count}"
    for contig, length in manifest.contigs.items():
        yield f"contig       {contig} {length:,}" + (f" md5 {manifest.md5[contig]}" if contig in manifest.md5 else "")
    for alias, contig in manifest.aliases.items():
        yield f"alias        {alias} = {contig}"


def _remote(kind: str, remote: RemoteFile | None) -> Iterator[str]:
    if remote is None:
        return
    for number, url in enumerate(remote.urls):
        yield f"{kind if number == 0 else '  or':<12} {url}"
    for name in ("bytes", "md5", "sha256", "unpacked_sha256", "md5_list"):
        value = getattr(remote, name)
        if value is not None:
            yield f"{'':<12} {name} {value:,}" if isinstance(value, int) else f"{'':<12} {name} {value}"
    if not remote.known:
        recorded = recorded_checksum(remote.urls[0])
        state = f"recorded here: {recorded}" if recorded else "not known; recorded at the first fetch"
        yield f"{'':<12} sha256 {state}"


def verify(name: str, *, quiet: bool = False) -> str:
    """Read all files of a genome again.

    Returns:
        The summary line.

    Raises:
        UsageError: no such genome.
        DataError: it is not here; something is missing or damaged, and everything is named.
    """
    genome = store.receipt(name)
    if genome is None:
        raise _absent(name)
    total = sum(file.bytes for file in genome.files)
    with progress_bar(f"Reading {name}", total=total, as_bytes=True, quiet=quiet) as advance:
        problems = store.damage(genome, advance=advance)
    if problems:
        way_out = "put the files back, or add it again with --force" if genome.registered else _remedy(name)
        raise DataError(f"{'; '.join(problems)}; {way_out}")
    return f"{name}: {count(len(genome.files), 'file')} unchanged since {genome.date}"


def path_of(name: str, *, annotation: bool) -> Path:
    """Path of a genome's FASTA, or of its genes.

    Raises:
        UsageError: no such genome, or one without genes.
        DataError: it is not here, or its files are not as they were.
    """
    genome = store.stored(name)
    if genome is None:
        if store.receipt(name) is None:
            raise _absent(name)
        raise DataError(f"{name} is incomplete or has changed; see: genoconv genomes verify {name}")
    if not annotation:
        return genome.fasta
    if genome.annotation is None:
        raise UsageError(f"{name} has no annotation; add one with: genoconv genomes add NAME --fasta F --annotation G")
    return genome.annotation


def register(name: str, *, fasta: Path, annotation: Path | None, force: bool, quiet: bool = False) -> str:
    """Make a user's own files known by a name, after reading them.

    Returns:
        The summary line.

    Raises:
        UsageError: the name is taken.
        DataError: not DNA FASTA, or genes that do not fit to it.
    """
    if find_manifest(name) is not None:
        raise UsageError(f"{name} is the name of a built-in genome; choose another")
    genome = store.register(name, fasta=fasta, annotation=annotation, force=force, quiet=quiet)
    return f"{name}: {genome.describe()}, at {genome.fasta}"


def fetched(options: FetchOptions) -> str:
    """Fetch a genome, or find that it is here.

    Returns:
        The summary line.

    Raises:
        UsageError, DownloadError, DataError, OutputError: as :func:`.fetch.fetch`.
    """
    from genoconv.genome.assemblies.fetch import fetch

    try:
        genome = fetch(
            options.name,
            mirror=options.mirror,
            offline=options.offline,
            record=options.record,
            quiet=options.quiet,
        )
    except KeyboardInterrupt as stop:
        raise Interrupted("run the command again to continue where it stopped") from stop
    return f"{options.name}: {genome.describe()}, in {genome.fasta.parent}"


def remove(name: str) -> str:
    """Delete what genoconv keeps of a genome, whole, half fetched or damaged; files that were added stay.

    Returns:
        The summary line.

    Raises:
        UsageError: no such genome.
        DataError: it is not here.
        OutputError: it cannot be deleted.
    """
    folder = store.folder_of(name)
    if not folder.is_dir():
        raise _absent(name)
    try:
        genome = store.receipt(name)
    except DataError:
        genome = None
    with locked(folder, waiting=f"{name}: waiting for another process that uses it"):
        size = atomic.remove_folder(folder, first=store.RECEIPT)
    if genome is not None and genome.registered:
        return f"{name}: unregistered; its files are kept, {genome.fasta.parent}"
    return f"{name}: removed, {size / 1e6:,.1f} MB"


def _remedy(name: str) -> str:
    return f"run: genoconv genomes remove {name}; genoconv genomes fetch {name}"


def _absent(name: str) -> GenoconvError:
    if find_manifest(name) is not None:
        return DataError(f"{name} is not stored on this machine; fetch it with: genoconv genomes fetch {name}")
    return _unknown(name)


def _unknown(name: str) -> UsageError:
    known = {manifest.name for manifest in list_manifests()} | {genome.name for genome in store.receipts()}
    return unknown_genome(name, known)
