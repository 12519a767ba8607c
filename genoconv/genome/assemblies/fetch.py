"""From a genome's name to its files: fetched, checked, unpacked, indexed, once.

Everything happens in ``.work`` inside the genome's folder. Files get their final names when all are verified, and the
receipt is written last. A run that ends early leaves ``.work``, and the next one resumes from there.
"""

import logging
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from genoconv import atomic
from genoconv.digests import file_digest
from genoconv.errors import DataError, DownloadError, OutputError
from genoconv.formats import most_unpacked
from genoconv.genome.annotation.genes import read_genes
from genoconv.genome.assemblies import ledger, store
from genoconv.genome.assemblies.demo import write_demo
from genoconv.genome.assemblies.manifest import Manifest, RemoteFile, find_manifest, list_manifests, unknown_genome
from genoconv.genome.assemblies.store import Genome, StoredFile
from genoconv.genome.assemblies.transfer.download import Fetched, download, mirror_base, on_mirror, with_listed_md5
from genoconv.genome.assemblies.transfer.network import Patience
from genoconv.genome.assemblies.transfer.part import Advance, disk_error
from genoconv.genome.assemblies.unpack import inflate
from genoconv.genome.cache import locked, work_folder
from genoconv.genome.fasta.access import Fasta
from genoconv.progress import progress_bar

log = logging.getLogger(__name__)

# Bytes of a FASTA for one of its bases, and for one of its compressed bytes.
_BYTES_A_BASE = 1.02
_USUAL_RATIO = 4
# Where unpacking stops, as a decompression bomb: at twice the bases that the manifest gives, or at a ratio that no
# genome and no annotation reaches (GENCODE: 30).
_MOST_BYTES_A_BASE = 2


@dataclass(frozen=True)
class Sources:
    """How files may be had.

    Attributes:
        mirror: url below which files lie by their names, asked first; None without one.
        offline: whether to stay away from the network.
        record: whether to take what no checksum is known for as it is now, also if it was something else before.
    """

    mirror: str | None
    offline: bool
    record: bool

    def of(self, remote: RemoteFile) -> tuple[str, ...]:
        """Addresses of a file, best first."""
        first = () if self.mirror is None else (on_mirror(remote, self.mirror),)
        return first if self.offline else (*first, *remote.urls)


def resolve_genome(name: str, *, offline: bool = False, quiet: bool = False) -> Genome:
    """The genome called ``name``: as it is here, or fetched now. Raises as :func:`fetch`."""
    return fetch(name, offline=offline, quiet=quiet)


def fetch(
    name: str, *, mirror: str | None = None, offline: bool = False, record: bool = False, quiet: bool = False
) -> Genome:
    """Fetch a genome, unless it is here already. Two processes may ask at once: one works, the other waits.

    Args:
        name: of a manifest, or of a registered genome, which needs no fetching.
        mirror: folder or url that is asked first for files of the manifest's names.
        offline: fetch nothing (a mirror that is a folder is still used).
        record: take files that the manifest has no checksum for as they are now, also if they were others before.
        quiet: no progress bar.

    Raises:
        UsageError: no such genome, no such mirror.
        DataError: a registered genome whose files have changed; a damaged or wrong manifest, a damaged receipt.
        DownloadError: no source gave the right bytes, or ``offline``.
        OutputError: the disk is full or cannot be written.
    """
    present = store.stored(name)
    if present is not None:
        return present
    manifest = find_manifest(name)
    if manifest is None:
        if store.receipt(name) is not None:
            raise DataError(f"the files of {name} have changed or are gone; see genoconv genomes verify {name}")
        raise unknown_genome(name, [*(m.name for m in list_manifests()), *(g.name for g in store.receipts())])
    sources = Sources(None if mirror is None else mirror_base(mirror), offline, record)
    if offline and not manifest.generated and not (sources.mirror or "").startswith("file:"):
        raise DownloadError(
            f"{name} is not stored on this machine, and --offline forbids downloading it; run once without --offline"
        )
    folder = store.folder_of(name)
    with locked(folder, waiting=f"another process is fetching {name}; waiting for it"):
        present = store.stored(name)
        if present is not None:
            return present
        job = _Job(manifest, folder, quiet=quiet)
        try:
            genome = job.generate() if manifest.generated else job.fetch(sources)
        except (DownloadError, OutputError):
            raise
        except OSError as error:
            raise disk_error(Path(error.filename or job.sequence), error) from error
        shutil.rmtree(job.work, ignore_errors=True)
        return genome


class _Job:
    """One genome on its way: where its files are, and what has been found in them."""

    def __init__(self, manifest: Manifest, folder: Path, *, quiet: bool) -> None:
        self.manifest, self.folder, self.quiet = manifest, folder, quiet
        self.work = work_folder(folder / ".work")
        self.sequence = self.work / f"{manifest.name}.fa"
        self.contigs: dict[str, int] = {}
        self.digests: dict[str, str] = {}
        self.genes: int | None = None

    def generate(self) -> Genome:
        """Make the demo."""
        fasta, genes = write_demo(self.work)
        fasta.replace(self.sequence)
        self.look_at_sequence()
        self.look_at_genes(genes)
        made = Fetched("generated by genoconv", file_digest(self.sequence))
        return self.install(made, made, genes)

    def fetch(self, sources: Sources) -> Genome:
        """Fetch the FASTA, then the annotation if there is one."""
        fasta, genes = self.manifest.fasta, self.manifest.annotation
        assert fasta is not None
        self.check_space(fasta)
        sequence = self.get(fasta, sources, self.unpack_sequence, fixed=True)
        if genes is None:
            return self.install(sequence, None, None)
        annotation = self.get(genes, sources, self.look_at_genes, fixed=False)
        return self.install(sequence, annotation, self.work / genes.name)

    def bar(self, doing: str, total: float | None) -> AbstractContextManager[Advance]:
        """A progress bar over bytes."""
        return progress_bar(f"{doing} {self.manifest.name}", total=total, as_bytes=True, quiet=self.quiet)

    def get(self, remote: RemoteFile, sources: Sources, accept: Callable[[Path], None], *, fixed: bool) -> Fetched:
        """Download a file into the work folder and record what it was.

        ``fixed`` is for sequence, which must stay as it was first fetched; annotations are renewed in place by their
        providers, so that a change is only logged.
        """
        url = remote.urls[0]
        recorded = ledger.recorded_checksum(url)
        found = download(
            with_listed_md5(remote) if sources.mirror is None and not sources.offline else remote,
            self.work / remote.name,
            sources=sources.of(remote),
            patience=Patience.from_environment(),
            recorded=recorded if fixed and not sources.record and not remote.known else None,
            accept=accept,
            progress=lambda: self.bar("Fetching", remote.bytes),
        )
        if not remote.known and recorded != found.sha256:
            if recorded is not None:
                log.warning("%s has changed since it was first fetched from here; its new checksum is recorded", url)
            ledger.record_checksum(url, found.sha256)
        return found

    def unpack_sequence(self, packed: Path) -> None:
        """Unpack the FASTA and hold it against the manifest.

        Raises:
            DataError: it is damaged, or not the genome that the manifest describes.
        """
        bases = self.manifest.total
        size = packed.stat().st_size
        limit = _MOST_BYTES_A_BASE * bases + most_unpacked(0) if bases else most_unpacked(size)
        with self.bar("Unpacking", _BYTES_A_BASE * bases if bases else None) as advance:
            inflate(packed, self.sequence, limit=limit, advance=advance)
        assert self.manifest.fasta is not None
        wanted = self.manifest.fasta.unpacked_sha256
        if wanted and (found := file_digest(self.sequence)) != wanted:
            raise DataError(f"unpacked, expected sha256 {wanted}, got {found}")
        self.look_at_sequence()

    def look_at_sequence(self) -> None:
        """Index the FASTA and compare its sequences with the manifest's."""
        manifest, fasta = self.manifest, Fasta(self.sequence)
        self.contigs = fasta.contigs
        for contig, length in manifest.contigs.items():
            if fasta.contigs.get(contig) != length:
                state = f"has {fasta.contigs[contig]:,}" if contig in fasta.contigs else "is missing"
                raise DataError(f"not the genome {manifest.name}: {contig}, of {length:,} bases, {state}")
        lengths = fasta.contigs.values()
        found = (("sequences", len(lengths), manifest.sequences), ("bases", sum(lengths), manifest.total))
        for what, count, right in found:
            if right is not None and count != right:
                raise DataError(f"not the genome {manifest.name}: {what} should be {right:,}, not {count:,}")
        with self.bar("Checking", sum(lengths)) as advance:
            self.digests = store.sequence_digests(fasta, advance=advance)
        for contig, md5 in manifest.md5.items():
            if self.digests[contig] != md5:
                raise DataError(
                    f"not the genome {manifest.name}: expected md5 {md5} of the sequence of {contig},"
                    f" got {self.digests[contig]}"
                )

    def look_at_genes(self, path: Path) -> None:
        """Read the genes and hold them against the FASTA.

        Raises:
            DataError: the file is damaged, has no genes, or none on these sequences.
        """
        with self.bar("Reading genes of", None) as advance:
            inflate(path, None, limit=most_unpacked(path.stat().st_size), advance=advance)
        aliases = self.manifest.aliases
        self.genes = len(read_genes(path, contigs=self.contigs, aliases=aliases, fasta=self.manifest.name))

    def install(self, sequence: Fetched, genes: Fetched | None, annotation: Path | None) -> Genome:
        """Give every file its final name, then write the receipt that makes them a genome."""
        index = self.sequence.with_name(f"{self.sequence.name}.fai")
        moves = {path: self.folder / path.name for path in (self.sequence, index)}
        packed = sequence.sha256 if self.manifest.fasta is not None else None
        where = moves[self.sequence]
        with self.bar("Recording", self.sequence.stat().st_size) as advance:
            files = [
                StoredFile.of(self.sequence, url=sequence.url, download_sha256=packed, where=where, advance=advance)
            ]
        if genes is not None and annotation is not None:
            kind = "gtf" if ".gtf" in annotation.name else "gff3"
            suffix = ".gz" if annotation.suffix == ".gz" else ""
            moves[annotation] = self.folder / f"{self.manifest.name}.annotation.{kind}{suffix}"
            files.append(StoredFile.of(annotation, url=genes.url, where=moves[annotation]))
        (self.folder / store.RECEIPT).unlink(missing_ok=True)
        for source, target in moves.items():
            atomic.commit(source, target)
        sizes = "".join(f"{contig}\t{length}\n" for contig, length in self.contigs.items())
        atomic.write_text(self.folder / f"{self.sequence.name}.sizes", sizes)
        return store.write_receipt(
            Genome(
                name=self.manifest.name,
                files=tuple(files),
                contigs=self.contigs,
                md5=self.digests,
                aliases=self.manifest.aliases,
                genes=self.genes,
            )
        )

    def check_space(self, remote: RemoteFile) -> None:
        """Raise :class:`OutputError` where the disk will not hold what is known of the genome's size."""
        packed, total = remote.bytes, self.manifest.total
        if packed is None and total is None:
            return
        unpacked = total * _BYTES_A_BASE if total else (packed or 0) * _USUAL_RATIO
        arrived = sum(path.stat().st_size for path in self.work.iterdir())
        needed = int(unpacked + (packed or unpacked / _USUAL_RATIO)) - arrived
        free = shutil.disk_usage(self.work).free
        if free < needed:
            raise OutputError(
                f"{self.folder}: {free / 1e9:.2f} GB free, about {needed / 1e9:.2f} GB are needed to fetch and unpack"
                f" {self.manifest.name}; make room or set GENOCONV_HOME to a larger disk"
            )
