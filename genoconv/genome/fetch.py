"""From a genome's name to its files: fetched, unpacked, indexed and checked, once."""

import gzip
import logging
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from genoconv import atomic
from genoconv.errors import DataError, DownloadError, OutputError
from genoconv.genome import store
from genoconv.genome.demo import write_demo
from genoconv.genome.download import Patience, disk_error, download, mirrored
from genoconv.genome.fasta import Fasta
from genoconv.genome.manifest import Manifest, RemoteFile, load_manifest
from genoconv.genome.store import Genome, StoredFile
from genoconv.progress import Advance, progress_bar

log = logging.getLogger(__name__)

_UNPACKED_TIMES = 3.5
_CHUNK = 1 << 20


def resolve_genome(name: str, *, offline: bool = False, quiet: bool = False) -> Genome:
    """The genome called ``name``: as it is here, or fetched now.

    Raises:
        UsageError: no such genome; the nearest name is suggested.
        DownloadError: it is not here and could not be fetched, or ``offline``.
    """
    return store.stored(name) or fetch(name, offline=offline, quiet=quiet)


def fetch(name: str, *, mirror: str | None = None, offline: bool = False, quiet: bool = False) -> Genome:
    """Fetch a genome, unless it is here already. Two processes may ask at once: one works, the other waits.

    Args:
        name: of a manifest.
        mirror: folder or url that is asked first for files of the manifest's names.
        offline: fetch nothing (a mirror that is a folder is still used).
        quiet: no progress bar.

    Raises:
        UsageError: no such genome.
        DownloadError: no source gave the right bytes, or ``offline``.
        DataError: what came is not the genome that the manifest describes.
        OutputError: the disk is full or cannot be written.
    """
    manifest = load_manifest(name)
    folder = store.folder_of(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make this folder: {error.strerror}; set GENOCONV_HOME") from error
    with _lock(folder):
        present = store.stored(name)
        if present is not None:
            return present
        if manifest.fasta is None:
            return _generate(name, folder)
        if offline and (mirror is None or mirror.startswith(("http:", "https:"))):
            raise DownloadError(f"{name} is not on this machine and --offline forbids fetching it; run without it once")
        work = folder / ".work"
        work.mkdir(exist_ok=True)
        _check_space(manifest.fasta, work)
        with progress_bar(f"Fetching {name}", total=_total(manifest), as_bytes=True, quiet=quiet) as advance:
            genome = _fetch(manifest, folder, work, mirror=mirror, offline=offline, advance=advance)
        shutil.rmtree(work, ignore_errors=True)
        return genome


def _fetch(
    manifest: Manifest, folder: Path, work: Path, *, mirror: str | None, offline: bool, advance: Advance
) -> Genome:
    assert manifest.fasta is not None
    patience = Patience.from_environment()

    def get(remote: RemoteFile, *, strict: bool) -> tuple[Path, str, str]:
        """Path, SHA-256 and url of a downloaded file."""
        sources = mirrored(remote, mirror)
        if offline:
            sources = RemoteFile(sources.urls[:1], remote.bytes, remote.md5, remote.sha256)
        url, target = remote.urls[0], work / remote.name
        recorded = store.recorded_checksum(url)
        held = recorded if strict else None
        digest = download(sources, target, patience=patience, expected_sha256=held, advance=advance)
        if recorded is not None and recorded != digest:
            log.warning("%s has changed since it was first fetched from here (its provider re-annotates in place)", url)
        if recorded != digest and remote.sha256 is None:
            store.record_checksum(url, digest)
        return target, digest, url

    packed, digest, url = get(manifest.fasta, strict=True)
    fasta_path = work / f"{manifest.name}.fa"
    _unpack(packed, fasta_path, url=url)
    wanted = manifest.fasta.unpacked_sha256
    files = [StoredFile.of(fasta_path, url=url, download_sha256=digest, where=folder / fasta_path.name)]
    if wanted and files[0].sha256 != wanted:
        raise DataError(f"{url}: unpacked, its sha256 is {files[0].sha256}; {wanted} is right")
    fasta = Fasta(fasta_path)
    _check_contigs(manifest, fasta)
    moves = [(fasta_path, folder / fasta_path.name)]
    if manifest.annotation is not None:
        source, digest, url = get(manifest.annotation, strict=False)
        kind = "gtf" if ".gtf" in source.name else "gff3"
        target = folder / f"{manifest.name}.annotation.{kind}{'.gz' if source.suffix == '.gz' else ''}"
        files.append(StoredFile.of(source, url=url, where=target))
        moves.append((source, target))
    return _install(manifest.name, folder, files, moves)


def _install(name: str, folder: Path, files: list[StoredFile], moves: list[tuple[Path, Path]]) -> Genome:
    """Give every file its final name, then write the receipt that makes them a genome."""
    (folder / store.RECEIPT).unlink(missing_ok=True)
    for source, target in moves:
        atomic.commit(source, target)
    fasta = Fasta(moves[0][1])
    sizes = "".join(f"{contig}\t{length}\n" for contig, length in fasta.contigs.items())
    atomic.write_text(moves[0][1].with_name(f"{moves[0][1].name}.sizes"), sizes)
    return store.write_receipt(name, files, fasta=fasta)


def _generate(name: str, folder: Path) -> Genome:
    with atomic.atomic_dir(folder / ".generated") as work:
        write_demo(work)
    made = sorted((folder / ".generated").iterdir(), key=lambda path: path.suffix != ".fa")
    suffixes = (".fa", ".annotation.gff3")
    moves = [(path, folder / f"{name}{suffix}") for path, suffix in zip(made, suffixes, strict=True)]
    files = [StoredFile.of(path, url="generated by genoconv", where=target) for path, target in moves]
    genome = _install(name, folder, files, moves)
    (folder / ".generated").rmdir()
    return genome


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        log.info("another process is fetching %s; waiting for it", folder.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _unpack(packed: Path, target: Path, *, url: str) -> None:
    try:
        with packed.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(packed) if zipped else packed.open("rb") as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, _CHUNK)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        packed.unlink()
        raise DataError(f"{url}: what came is damaged gzip data ({error}); run the command again") from error
    except OSError as error:
        target.unlink(missing_ok=True)
        raise disk_error(target, error) from error


def _check_contigs(manifest: Manifest, fasta: Fasta) -> None:
    """Raise :class:`DataError` unless the FASTA has the manifest's sequences."""
    for contig, length in manifest.contigs.items():
        if fasta.contigs.get(contig) != length:
            found = f"{fasta.contigs[contig]:,} bases" if contig in fasta.contigs else "no such sequence"
            raise DataError(f"{manifest.name}: {contig} should have {length:,} bases, the FASTA that came has {found}")
    for contig, md5 in manifest.md5.items():
        if (digest := fasta.digest(contig)) != md5:
            raise DataError(f"{manifest.name}: {contig} has the sequence digest {digest}; {md5} is right")


def _check_space(remote: RemoteFile, folder: Path) -> None:
    if remote.bytes is None:
        return
    needed = int(remote.bytes * (1 + _UNPACKED_TIMES))
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"{folder}: {free / 1e9:.1f} GB free, about {needed / 1e9:.1f} GB are needed to fetch and unpack; make room or"
            " set GENOCONV_HOME to a larger disk"
        )


def _total(manifest: Manifest) -> int | None:
    sizes = [remote.bytes for remote in (manifest.fasta, manifest.annotation) if remote is not None]
    return sum(size for size in sizes if size) if all(sizes) else None
