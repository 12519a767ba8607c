"""One file from the first source that gives it right: size, checksums and content are checked before it has a name."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from genoconv.digests import file_digest
from genoconv.errors import DataError, DownloadError, UsageError
from genoconv.genome.assemblies.manifest import RemoteFile, name_in_url
from genoconv.genome.assemblies.transfer.http import OfferError, WrongError, transfer
from genoconv.genome.assemblies.transfer.network import Patience, read_small
from genoconv.genome.assemblies.transfer.part import Advance, Part
from genoconv.workfiles import check_private

log = logging.getLogger(__name__)

Progress = Callable[[], AbstractContextManager[Advance]]


@dataclass(frozen=True)
class Fetched:
    """A finished download: its address and SHA-256."""

    url: str
    sha256: str


def download(
    remote: RemoteFile,
    target: Path,
    *,
    sources: tuple[str, ...],
    patience: Patience,
    recorded: str | None = None,
    accept: Callable[[Path], None] = lambda path: None,
    progress: Progress = lambda: nullcontext(lambda amount: None),
) -> Fetched:
    """Fetch a file, trying its sources in order; one that sends damaged bytes is asked once more.

    Args:
        remote: size and checksums, where known.
        target: final path; its folder exists. A file that is there already is checked like one that has just come.
        sources: urls (http, https or file), best first.
        patience: with a failing server.
        recorded: SHA-256 that an earlier download had, to be held where the manifest knows no checksum.
        accept: checks the downloaded file; raises DataError if it is not what is expected.
        progress: opens a bar for one transfer, which receives the bytes that arrive.

    Returns:
        The source and the digest; for a file that was there already, the first address that the manifest has for it.

    Raises:
        DownloadError: no source gave the right bytes; each one's reason is in the message.
        DataError: the right bytes came, and ``accept`` refuses them.
        OutputError: the disk is full or cannot be written. What has arrived stays, for the next try.
    """
    part = Part(target)
    check = partial(_checksum, remote=remote, recorded=recorded)
    check_private(target)
    if target.is_file():
        try:
            digest = check(target)
            _look(target, accept, remote)
            return Fetched(remote.urls[0], digest)
        except WrongError as error:
            log.warning("%s, left by an earlier run: %s; fetching it again", target.name, error)
            target.unlink()

    def attempt(url: str) -> str:
        with progress() as advance:
            part.report_to(advance)
            transfer(url, part, expected=remote.bytes, patience=patience)
            digest = check(part.path)
        _look(part.path, accept, remote)
        return digest

    reasons = []
    for url in sources:
        try:
            digest = _twice(attempt, url, part)
        except DownloadError as error:
            reasons.append(f"{url}: {error}")
            if url != sources[-1]:
                log.warning("%s; trying the next source", reasons[-1])
        else:
            part.commit(target)
            return Fetched(url, digest)
    raise DownloadError(f"{'; '.join(reasons)}. Run the command again, or name another source with --mirror URL|DIR")


def _twice(attempt: Callable[[str], str], url: str, part: Part) -> str:
    """The result of an attempt; corrupt bytes are discarded and downloaded once more, a wrong offer is not."""
    try:
        return attempt(url)
    except OfferError:
        raise
    except WrongError as error:
        part.discard()
        first = str(error)
        log.warning("%s: %s; fetching it once more", url, first)
    try:
        return attempt(url)
    except WrongError as error:
        part.discard()
        if str(error) != first:
            raise
        raise WrongError(f"{first} (two downloads were identical: has the provider replaced the file?)") from error


def _checksum(path: Path, *, remote: RemoteFile, recorded: str | None) -> str:
    """SHA-256 of a file, after checking its size and checksums."""
    size = path.stat().st_size
    if remote.bytes is not None and size != remote.bytes:
        raise WrongError(f"expected {remote.bytes:,} bytes, got {size:,}")
    sha256 = file_digest(path)
    if remote.sha256 is not None and sha256 != remote.sha256:
        raise WrongError(f"damaged: expected sha256 {remote.sha256}, got {sha256}")
    if remote.md5 is not None and (md5 := file_digest(path, algorithm="md5")) != remote.md5:
        raise WrongError(f"damaged: expected md5 {remote.md5}, got {md5}")
    if recorded is not None and not remote.known and sha256 != recorded:
        raise WrongError(
            f"its sha256 is {sha256}, but {recorded} was recorded when it was first fetched; if the provider has"
            " replaced the file permanently, accept it with --record"
        )
    return sha256


def _look(path: Path, accept: Callable[[Path], None], remote: RemoteFile) -> None:
    """Let ``accept`` look at the content; bytes that the manifest pins cannot be wrong, though the manifest can."""
    try:
        accept(path)
    except DataError as error:
        if remote.pinned:
            raise DataError(f"{remote.urls[0]}: {error}; its checksum matches, so the manifest is wrong") from error
        raise WrongError(str(error)) from error


def with_listed_md5(remote: RemoteFile) -> RemoteFile:
    """``remote`` with the MD5 that its provider's list has for it, where the manifest knows no checksum.

    A list that is not available, or lacks the file, is logged and ignored: the file itself is still checked.
    """
    if remote.known or remote.md5_list is None:
        return remote
    try:
        sums = parse_md5_list(read_small(remote.md5_list))
    except DownloadError as error:
        log.warning("%s: %s; continuing without the provider's checksums", remote.md5_list, error)
        return remote
    if remote.name not in sums:
        log.warning("%s does not list %s; continuing without the provider's checksum", remote.md5_list, remote.name)
        return remote
    return remote.model_copy(update={"md5": sums[remote.name]})


def parse_md5_list(text: str) -> dict[str, str]:
    """File name -> MD5 of lines ``md5  name`` (UCSC, GENCODE) and ``md5  ./name`` (NCBI); others are ignored."""
    rows = (line.split(maxsplit=1) for line in text.splitlines())
    pairs = ((row[0].lower(), row[1].strip().removeprefix("*").removeprefix("./")) for row in rows if len(row) == 2)
    return {name: md5 for md5, name in pairs if len(md5) == 32 and set(md5) <= set("0123456789abcdef")}


def mirror_base(mirror: str) -> str:
    """The url below which a user's mirror holds files: of a folder, or as given.

    Raises:
        UsageError: neither a folder that exists nor a http, https or file url.
    """
    scheme = mirror.partition("://")[0] if "://" in mirror else ""
    if scheme in ("http", "https"):
        return mirror.rstrip("/")
    if scheme:
        if scheme != "file":
            raise UsageError(f"--mirror {mirror}: give a folder, or an address that begins with https:// or http://")
        return mirror.rstrip("/")
    if not Path(mirror).is_dir():
        raise UsageError(f"--mirror {mirror}: no such folder (an address begins with https:// or http://)")
    return Path(mirror).resolve().as_uri()


def on_mirror(remote: RemoteFile, base: str) -> str:
    """Address of a file on a mirror: there it lies by its name, below ``base``."""
    return f"{base}/{name_in_url(remote.urls[0])}"
