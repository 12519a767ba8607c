"""From a genome's name to its files: fetched, checked, unpacked, indexed, once.

Everything happens in ``.work`` inside the genome's folder. Files get their final names when all of them are right, and
the receipt is written last. A run that ends early leaves ``.work``, and the next one goes on from there.
"""

import gzip
import logging
import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from genoconv import atomic
from genoconv.errors import DataError, DownloadError, OutputError
from genoconv.genome import store
from genoconv.genome.annotation import read_genes
from genoconv.genome.demo import write_demo
from genoconv.genome.download import Fetched, download, mirror_base, on_mirror, with_listed_md5
from genoconv.genome.fasta import Fasta
from genoconv.genome.manifest import Manifest, RemoteFile, find_manifest, list_manifests, unknown_genome
from genoconv.genome.store import Genome, StoredFile
from genoconv.genome.transfer import Advance, Patience, disk_error
from genoconv.progress import progress_bar

log = logging.getLogger(__name__)

_CHUNK = 1 << 20
# Bytes of a FASTA for one of its bases, and for one of its compressed bytes.
_BYTES_A_BASE = 1.02
_USUAL_RATIO = 4
# Where unpacking stops, as a decompression bomb: at twice the bases that the manifest tells, or at a ratio that no
# genome and no annotation reaches (GENCODE: 30).
_MOST_BYTES_A_BASE = 2
_MOST_RATIO = 100
_ALWAYS_ALLOWED = 1 << 26


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
        DataError: a registered genome whose files have changed; a damaged manifest or receipt.
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
    folder = store.folder_of(name)
    with store.locked(folder, waiting=f"another process is fetching {name}; waiting for it"):
        present = store.stored(name)
        if present is not None:
            return present
        if offline and not manifest.generated and not (sources.mirror or "").startswith("file:"):
            raise DownloadError(f"{name} is not on this machine and --offline forbids fetching it; run without it once")
        job = _Job(manifest, folder)
        try:
            genome = job.generate() if manifest.generated else job.fetch(sources, quiet=quiet)
        except (DownloadError, OutputError):
            raise
        except OSError as error:
            raise disk_error(Path(error.filename or job.work), error) from error
        shutil.rmtree(job.work, ignore_errors=True)
        return genome


class _Job:
    """One genome on its way: where its files are, and what has been found in them."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self.manifest, self.folder = manifest, folder
        self.work = store.made_folder(folder / ".work")
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
        made = Fetched("generated by genoconv", store.checksum(self.sequence, "sha256"))
        return self.install(made, made, genes)

    def fetch(self, sources: Sources, *, quiet: bool) -> Genome:
        """Fetch the FASTA, then the annotation if there is one."""
        fasta, genes = self.manifest.fasta, self.manifest.annotation
        assert fasta is not None
        self.check_space(fasta)
        sizes = [remote.bytes for remote in (fasta, genes) if remote is not None]
        total = sum(size for size in sizes if size) if all(sizes) else None
        with progress_bar(f"Fetching {self.manifest.name}", total=total, as_bytes=True, quiet=quiet) as advance:
            sequence = self.get(fasta, sources, self.unpack_sequence, fixed=True, advance=advance)
            if genes is None:
                return self.install(sequence, None, None)
            annotation = self.get(genes, sources, self.look_at_genes, fixed=False, advance=advance)
        return self.install(sequence, annotation, self.work / genes.name)

    def get(
        self,
        remote: RemoteFile,
        sources: Sources,
        accept: Callable[[Path], None],
        *,
        fixed: bool,
        advance: Advance,
    ) -> Fetched:
        """Download a file into the work folder and record what it was.

        ``fixed`` is for sequence, which must stay as it was first fetched; annotations are renewed in place by their
        providers, so that a change is only told.
        """
        url = remote.urls[0]
        recorded = store.recorded_checksum(url)
        found = download(
            with_listed_md5(remote) if sources.mirror is None and not sources.offline else remote,
            self.work / remote.name,
            sources=sources.of(remote),
            patience=Patience.from_environment(),
            recorded=recorded if fixed and not sources.record and not remote.pinned else None,
            accept=accept,
            advance=advance,
        )
        if not remote.pinned and recorded != found.sha256:
            if recorded is not None:
                log.warning("%s has changed since it was first fetched from here; its new checksum is recorded", url)
            store.record_checksum(url, found.sha256)
        return found

    def unpack_sequence(self, packed: Path) -> None:
        """Unpack the FASTA and hold it against the manifest.

        Raises:
            DataError: it is damaged, or not the genome that the manifest describes.
        """
        bases = self.manifest.total
        size = packed.stat().st_size
        limit = _MOST_BYTES_A_BASE * bases if bases else _MOST_RATIO * size
        _inflate(packed, self.sequence, limit=limit + _ALWAYS_ALLOWED)
        assert self.manifest.fasta is not None
        wanted = self.manifest.fasta.unpacked_sha256
        if wanted and (found := store.checksum(self.sequence, "sha256")) != wanted:
            raise DataError(f"unpacked, its sha256 is {found}; {wanted} is right")
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
        self.digests = fasta.digests()
        for contig, md5 in manifest.md5.items():
            if self.digests[contig] != md5:
                raise DataError(
                    f"not the genome {manifest.name}: the sequence of {contig} has the md5 {self.digests[contig]};"
                    f" {md5} is right"
                )

    def look_at_genes(self, path: Path) -> None:
        """Read the genes and hold them against the FASTA.

        Raises:
            DataError: the file is damaged, has no genes, or none on these sequences.
        """
        _inflate(path, None, limit=_MOST_RATIO * path.stat().st_size + _ALWAYS_ALLOWED)
        aliases = self.manifest.aliases
        self.genes = len(read_genes(path, contigs=self.contigs, aliases=aliases, fasta=self.manifest.name))

    def install(self, sequence: Fetched, genes: Fetched | None, annotation: Path | None) -> Genome:
        """Give every file its final name, then write the receipt that makes them a genome."""
        index = self.sequence.with_name(f"{self.sequence.name}.fai")
        moves = {path: self.folder / path.name for path in (self.sequence, index)}
        packed = sequence.sha256 if self.manifest.fasta is not None else None
        files = [
            StoredFile.of(self.sequence, url=sequence.url, download_sha256=packed, where=moves[self.sequence]),
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


def _inflate(packed: Path, target: Path | None, *, limit: int) -> None:
    """Undo gzip where there is any, into ``target`` or, for None, only to see that it can be done.

    Raises:
        DataError: damaged or cut data, or more than ``limit`` bytes of it.
        OSError: the disk refused.
    """
    with packed.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    written = 0
    try:
        with (
            gzip.open(packed) if zipped else packed.open("rb") as source,
            Path(target or os.devnull).open("wb") as sink,
        ):
            while block := source.read(_CHUNK):
                written += len(block)
                if written > limit:
                    raise DataError(f"unpacks to more than {limit:,} bytes, far more than such a file holds")
                sink.write(block)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"the gzip data is damaged or cut short ({error})") from error
