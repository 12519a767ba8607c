"""One file over HTTP, whole and right or not at all; an interrupted download goes on where it stopped.

What has arrived lies in ``NAME.part``; ``NAME.part.json`` beside it says from which url and which version of the file
(ETag or Last-Modified). A continuation asks with ``If-Range``, so that a file which has changed starts again. Size and
checksums are compared before the part gets its final name.
"""

import errno
import hashlib
import json
import logging
import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from genoconv import __version__, atomic
from genoconv.errors import DownloadError, OutputError
from genoconv.genome.manifest import RemoteFile

log = logging.getLogger(__name__)

_CHUNK = 1 << 20
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_TIMEOUT = (20, 60)


@dataclass(frozen=True)
class Patience:
    """How failures that may pass are met.

    Attributes:
        attempts: tries at one url without a byte gained; every byte gained resets the count.
        first_wait: seconds before the second try; doubled for each further one. ``GENOCONV_RETRY_WAIT`` sets it.
        longest_wait: most seconds ever waited, also where a server's Retry-After asks for more.
    """

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 120.0

    @classmethod
    def from_environment(cls) -> "Patience":
        """The default, with the first wait that the environment names."""
        return cls(first_wait=float(os.environ.get("GENOCONV_RETRY_WAIT", "1")))

    def wait(self, tries: int, asked: float | None) -> None:
        """Sleep before try number ``tries`` + 1; a little randomness keeps many machines apart."""
        seconds = self.first_wait * 2 ** (tries - 1) * random.uniform(0.8, 1.2)
        time.sleep(min(self.longest_wait, max(seconds, asked or 0)))


class _PassingError(Exception):
    """A failure that may be gone at the next try, with the wait that the server asked for."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


def download(
    remote: RemoteFile,
    target: Path,
    *,
    patience: Patience,
    expected_sha256: str | None = None,
    advance: Callable[[float], None] | None = None,
) -> str:
    """Fetch ``remote`` to ``target``, trying its urls in order.

    Args:
        remote: urls (http, https or file), and size and checksums where known.
        target: final path; its folder exists.
        patience: with a failing server.
        expected_sha256: recorded at an earlier download, where the manifest has none.
        advance: told the bytes that arrived.

    Returns:
        SHA-256 of the file, hexadecimal.

    Raises:
        DownloadError: no url gave the right bytes; each one's reason is in the message.
        OutputError: the disk is full or cannot be written. What has arrived stays, for the next try.
    """
    part = target.with_name(target.name + ".part")
    reasons = []
    for url in remote.urls:
        try:
            _transfer(url, part, remote=remote, patience=patience, advance=advance or (lambda amount: None))
            digest = _verified(part, remote, expected_sha256)
        except _WrongError as error:
            _discard(part)
            reasons.append(f"{url}: {error}")
        except DownloadError as error:
            reasons.append(f"{url}: {error}")
        except OutputError:
            raise
        except OSError as error:
            raise disk_error(part, error) from error
        else:
            atomic.commit(part, target)
            _state_path(part).unlink(missing_ok=True)
            return digest
        if url != remote.urls[-1]:
            log.warning("%s; trying the next mirror", reasons[-1])
    raise DownloadError("; ".join(reasons))


class _WrongError(DownloadError):
    """The bytes that came are not those that were promised."""


def _transfer(
    url: str, part: Path, *, remote: RemoteFile, patience: Patience, advance: Callable[[float], None]
) -> None:
    parts = urlsplit(url)
    if parts.scheme == "file":
        source = Path(unquote(parts.path))
        if not source.is_file():
            raise DownloadError("there is no such file")
        _discard(part)
        shutil.copyfile(source, part)
        advance(part.stat().st_size)
        return
    import requests

    tries = 0
    advance(_size(part))
    with requests.Session() as session:
        session.headers.update({"User-Agent": f"genoconv/{__version__}", "Accept-Encoding": "identity"})
        while True:
            before = _size(part)
            try:
                _request(session, url, part, remote=remote, advance=advance)
            except (
                _PassingError,
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ) as e:
                tries = 1 if _size(part) > before else tries + 1
                if tries >= patience.attempts:
                    raise DownloadError(f"gave up after {tries} tries: {_reason(e)}; run the command again") from e
                log.warning("%s: %s; trying again", url, _reason(e))
                patience.wait(tries, e.wait if isinstance(e, _PassingError) else None)
            except requests.RequestException as error:
                raise DownloadError(_reason(error)) from error
            else:
                return


def _request(session: Any, url: str, part: Path, *, remote: RemoteFile, advance: Callable[[float], None]) -> None:
    """One request that brings the part to its end, or raises."""
    state = _read_state(part)
    offset = _size(part) if state.get("url") == url and state.get("version") else 0
    headers = {"Range": f"bytes={offset}-", "If-Range": state["version"]} if offset else {}
    with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        status = response.status_code
        if status in _TRANSIENT:
            raise _PassingError(f"the server answered {status} {response.reason}", _retry_after(response))
        if status == 416:
            _discard(part)
            raise _PassingError("the server has no such range; starting again")
        if status not in (200, 206):
            raise DownloadError(f"the server answered {status} {response.reason}")
        if status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            _discard(part)
            raise _PassingError(f"the server sent the range {response.headers.get('Content-Range')!r}; starting again")
        start = offset if status == 206 else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        if remote.bytes is not None and total is not None and total != remote.bytes:
            raise _WrongError(f"the server offers {total:,} bytes where {remote.bytes:,} are right")
        version = _version(response)
        if status == 200 or version != state.get("version"):
            atomic.write_text(_state_path(part), json.dumps({"url": url, "version": version, "bytes": total}))
        with part.open("ab" if start else "wb") as stream:
            for block in response.iter_content(_CHUNK):
                stream.write(block)
                advance(len(block))
    if total is not None and _size(part) < total:
        raise _PassingError(f"the connection ended at {_size(part):,} of {total:,} bytes")


def _verified(part: Path, remote: RemoteFile, recorded: str | None) -> str:
    """SHA-256 of a part whose size and checksums are right."""
    size = _size(part)
    if remote.bytes is not None and size != remote.bytes:
        raise _WrongError(f"{size:,} bytes came where {remote.bytes:,} are right")
    digests = {"md5": remote.md5, "sha256": remote.sha256 or recorded}
    found = {}
    for name in ("md5", "sha256"):
        if digests[name] or name == "sha256":
            with part.open("rb") as stream:
                found[name] = hashlib.file_digest(stream, name).hexdigest()
    for name, value in found.items():
        if digests[name] and value != digests[name]:
            raise _WrongError(f"damaged: its {name} is {value}, {digests[name]} is right")
    return found["sha256"]


def mirrored(remote: RemoteFile, mirror: str | None) -> RemoteFile:
    """``remote`` with a mirror's address for it in front: a folder, or a url below which the file lies by its name."""
    if mirror is None:
        return remote
    if "://" not in mirror:
        mirror = Path(mirror).resolve().as_uri()
    urls: Sequence[str] = (f"{mirror.rstrip('/')}/{remote.name}", *remote.urls)
    return RemoteFile(tuple(urls), remote.bytes, remote.md5, remote.sha256, remote.unpacked_sha256)


def _version(response: Any) -> str | None:
    """What If-Range may name: a strong ETag, else Last-Modified."""
    etag: str | None = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    modified: str | None = response.headers.get("Last-Modified")
    return modified


def _retry_after(response: Any) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None


def _state_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_state(part: Path) -> dict[str, Any]:
    try:
        state = json.loads(_state_path(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _state_path(part).unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _reason(error: BaseException) -> str:
    """The innermost words of a chain of network errors."""
    text = str(error.args[0] if error.args else error) or type(error).__name__
    return text.rsplit("Error(", 1)[-1].strip("()'\" ") if "Error(" in text else text


def disk_error(part: Path, error: OSError) -> OutputError:
    """What to say of a write that the disk refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        free = shutil.disk_usage(part.parent).free
        return OutputError(
            f"{part.parent}: {error.strerror} ({free / 1e9:.2f} GB free); make room or set GENOCONV_HOME to a larger"
            " disk, then run the command again: it goes on where it stopped"
        )
    return OutputError(f"{part}: cannot write: {error.strerror or error}")
