"""One url into one file over HTTP: what has arrived is kept and continued.

A continuation asks with ``If-Range`` (RFC 9110, 13.1.5), so that a file which has changed comes whole; and since not
every server heeds it, a piece is appended only where its place, the file's version and its size are those of the part.
Checksums are the business of :mod:`.download`.
"""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from genoconv.errors import DownloadError
from genoconv.genome.assemblies.transfer.network import (
    TIMEOUT,
    PassingError,
    Patience,
    answer,
    blocks,
    invalid_redirect,
    is_final,
    new_session,
    reason,
    refuse_downgrade,
    retry_after,
)
from genoconv.genome.assemblies.transfer.part import Part, State, disk_error

if TYPE_CHECKING:
    from requests import Response, Session

log = logging.getLogger(__name__)

_CHUNK = 1 << 16
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)(?![0-9])")


class WrongError(DownloadError):
    """The bytes that came are not those that were promised."""


class OfferError(WrongError):
    """The bytes that are offered are not those that were promised; none came."""


def transfer(url: str, part: Part, *, expected: int | None, patience: Patience) -> None:
    """Bring a part to its end.

    Args:
        url: http, https or file.
        part: continued where it is of this url and the file there has not changed; replaced otherwise.
        expected: bytes of the whole file, where known.
        patience: with a failing server.

    Raises:
        OfferError: what is offered has another size than ``expected``.
        DownloadError: the server refuses, or fails again and again.
        OutputError: the disk is full or cannot be written. What has arrived stays, for the next try.
    """
    if urlsplit(url).scheme == "file":
        _copy(url, part)
        return
    from requests import RequestException

    tries, furthest = 0, part.from_url(url)
    with new_session() as session:
        while not part.whole(url):
            try:
                _request(session, url, part, expected=expected)
            except (PassingError, RequestException) as error:
                if isinstance(error, RequestException) and is_final(error, started=bool(tries or furthest)):
                    raise DownloadError(reason(error)) from error
                tries = 1 if part.size > furthest else tries + 1
                furthest = max(furthest, part.size)
                if tries >= patience.attempts:
                    raise DownloadError(f"gave up after {tries} tries: {reason(error)}") from error
                log.warning("%s: %s; trying again", url, reason(error))
                patience.wait(tries, error.wait if isinstance(error, PassingError) else None)
            except ValueError as error:
                raise invalid_redirect(error) from error


def _request(session: "Session", url: str, part: Part, *, expected: int | None) -> None:
    """One request that brings the part to its end, or raises."""
    state, offset = part.state, part.from_url(url)
    headers = {"Range": f"bytes={offset}-", "If-Range": state.version or ""} if offset else {}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        status = response.status_code
        refuse_downgrade(url, response)
        if status in _TRANSIENT:
            raise PassingError(f"the server answered {answer(response)}", retry_after(response))
        if status == 416 and offset:
            part.discard()
            raise PassingError("the server no longer has the rest of the file; starting again")
        if status not in (200, 206):
            raise DownloadError(f"the server answered {answer(response)}")
        total, version = _offered(response), _version(response)
        if status == 206 and (_start(response) != offset or (offset and _changed(state, total, version))):
            part.discard()
            raise PassingError("the server sent a piece of another file or from another place; starting again")
        if expected is not None and total is not None and total != expected:
            raise OfferError(f"the server offers {total:,} bytes, expected {expected:,}")
        try:
            if status == 200 or not offset:
                part.discard()
                part.remember(State(url, version, total))
            part.append(blocks(response))
            if total is None:
                part.remember(State(url, version, part.size))
        except OSError as error:
            raise disk_error(part.path, error) from error
    if total is not None and part.size != total:
        raise PassingError(f"the connection ended at {part.size:,} of {total:,} bytes")


def _copy(url: str, part: Part) -> None:
    source = Path(unquote(urlsplit(url).path))
    if not source.is_file():
        raise DownloadError("does not exist")
    try:
        part.discard()
        with source.open("rb") as stream:
            part.append(iter(lambda: stream.read(_CHUNK), b""))
    except OSError as error:
        if error.filename == str(source):
            raise DownloadError(f"cannot read it: {error.strerror}") from error
        raise disk_error(part.path, error) from error


def _offered(response: "Response") -> int | None:
    """Bytes of the whole file as the server reports it."""
    if response.status_code == 206:
        match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
        return int(match[2]) if match and match[2] != "*" else None
    length = response.headers.get("Content-Length", "")
    return int(length) if re.fullmatch("[0-9]{1,18}", length) else None


def _start(response: "Response") -> int | None:
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _changed(state: State, total: int | None, version: str | None) -> bool:
    """Whether a piece belongs to another file than the part: not every server heeds If-Range."""
    other_size = None not in (total, state.bytes) and total != state.bytes
    return other_size or (version is not None and version != state.version)


def _version(response: "Response") -> str | None:
    """What If-Range may name: a strong ETag, else Last-Modified."""
    etag: str | None = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    modified: str | None = response.headers.get("Last-Modified")
    return modified
