"""One url into one file over HTTP: what has arrived is kept and continued.

What has arrived lies in ``NAME.part``; ``NAME.part.json`` beside it says from which url and which version of the file
(ETag or Last-Modified). A continuation asks with ``If-Range`` (RFC 9110, 13.1.5), so that a file which has changed
comes whole. Whether the bytes are right is for :mod:`.download` to say.
"""

import email.utils
import errno
import json
import logging
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from genoconv import __version__, atomic
from genoconv.errors import DownloadError, OutputError, UsageError

if TYPE_CHECKING:
    from requests import Response, Session

log = logging.getLogger(__name__)

Advance = Callable[[float], None]

_CHUNK = 1 << 16
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_TIMEOUT = (20, 60)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_LONGEST_LIST = 1 << 22


@dataclass(frozen=True)
class Patience:
    """How failures that may pass are met.

    Attributes:
        attempts: tries at one url that bring nothing new; every byte gained resets the count.
        first_wait: seconds before the second try; doubled for each further one. ``GENOCONV_RETRY_WAIT`` sets it.
        longest_wait: most seconds ever waited, also where a server's Retry-After asks for more.
    """

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 120.0

    @classmethod
    def from_environment(cls) -> "Patience":
        """The default, with the first wait that the environment names.

        Raises:
            UsageError: ``GENOCONV_RETRY_WAIT`` is no number of seconds.
        """
        text = os.environ.get("GENOCONV_RETRY_WAIT", "1")
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1
        if not 0 <= seconds < float("inf"):
            raise UsageError(f"GENOCONV_RETRY_WAIT={text}: give seconds, such as 0.5")
        return cls(first_wait=seconds)

    def wait(self, tries: int, asked: float | None) -> None:
        """Sleep before try number ``tries`` + 1; a little randomness keeps many machines apart."""
        seconds = self.first_wait * 2 ** (tries - 1) * random.uniform(0.8, 1.2)
        time.sleep(min(self.longest_wait, max(seconds, asked or 0)))


class WrongError(DownloadError):
    """The bytes that came, or are offered, are not those that were promised."""


class _PassingError(Exception):
    """A failure that may be gone at the next try, with the wait that the server asked for."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


@dataclass(frozen=True)
class State:
    """What is known of a part: its url, that file's version for If-Range, its size when whole."""

    url: str = ""
    version: str | None = None
    bytes: int | None = None


class Part:
    """What has arrived of a file.

    Args:
        target: the name that it will have.
        advance: told the bytes that arrive, and in negative numbers those that are given up.
    """

    def __init__(self, target: Path, advance: Advance) -> None:
        self.path = target.with_name(target.name + ".part")
        self._record = target.with_name(target.name + ".part.json")
        self._advance = advance
        self._told = 0

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def state(self) -> State:
        """The record beside it; empty where it is missing or damaged."""
        try:
            return State(**json.loads(self._record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return State()

    def remember(self, state: State) -> None:
        """Write the record."""
        atomic.write_text(self._record, json.dumps(asdict(state)))

    def from_url(self, url: str) -> int:
        """Bytes of it that a request to ``url`` can build on."""
        state, size = self.state, self.size
        return size if state.url == url and state.version and (state.bytes is None or size <= state.bytes) else 0

    def whole(self, url: str) -> bool:
        """Whether all of ``url`` has arrived."""
        state = self.state
        return state.url == url and state.bytes is not None and self.path.exists() and state.bytes == self.size

    def tell(self) -> None:
        """Bring the progress to what is on disk."""
        size = self.size
        self._advance(size - self._told)
        self._told = size

    def append(self, blocks: Iterable[bytes]) -> None:
        """Write blocks to its end, and leave what came before an error on disk."""
        with self.path.open("ab") as stream:
            for block in blocks:
                stream.write(block)
                self._advance(len(block))
                self._told += len(block)

    def discard(self) -> None:
        """Delete it and its record."""
        self.path.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)
        self.tell()

    def commit(self, target: Path) -> None:
        """Give it its final name."""
        atomic.commit(self.path, target)
        self._record.unlink(missing_ok=True)


def transfer(url: str, part: Part, *, expected: int | None, patience: Patience) -> None:
    """Bring a part to its end.

    Args:
        url: http, https or file.
        part: continued where it is of this url and the file there has not changed; replaced otherwise.
        expected: bytes of the whole file, where known.
        patience: with a failing server.

    Raises:
        WrongError: what is offered has another size than ``expected``.
        DownloadError: the server refuses, or fails again and again.
        OutputError: the disk is full or cannot be written. What has arrived stays, for the next try.
    """
    if urlsplit(url).scheme == "file":
        _copy(url, part)
        return
    from requests import RequestException

    tries, furthest = 0, part.from_url(url)
    part.tell()
    with new_session() as session:
        while not part.whole(url):
            try:
                _request(session, url, part, expected=expected)
            except (_PassingError, RequestException) as error:
                if isinstance(error, RequestException) and _is_final(error, started=bool(tries or furthest)):
                    raise DownloadError(_reason(error)) from error
                tries = 1 if part.size > furthest else tries + 1
                furthest = max(furthest, part.size)
                if tries >= patience.attempts:
                    raise DownloadError(f"gave up after {tries} tries: {_reason(error)}") from error
                log.warning("%s: %s; trying again", url, _reason(error))
                patience.wait(tries, error.wait if isinstance(error, _PassingError) else None)


def new_session() -> "Session":
    """A session that introduces itself and wants files as they are stored."""
    from requests import Session

    session = Session()
    session.headers.update({"User-Agent": f"genoconv/{__version__}", "Accept-Encoding": "identity"})
    return session


def read_small(url: str) -> str:
    """The text at a url, of at most 4 MiB.

    Raises:
        DownloadError: it cannot be had.
    """
    from requests import RequestException

    try:
        with new_session() as session, session.get(url, stream=True, timeout=_TIMEOUT) as response:
            _refuse_downgrade(url, response)
            if response.status_code != 200:
                raise DownloadError(f"the server answered {response.status_code} {response.reason}")
            return b"".join(_up_to(response, _LONGEST_LIST)).decode("utf-8", "replace")
    except (RequestException, _PassingError) as error:
        raise DownloadError(_reason(error)) from error


def _up_to(response: "Response", limit: int) -> Iterator[bytes]:
    for block in _blocks(response):
        limit -= len(block)
        if limit < 0:
            raise DownloadError("it is too long to be a list of checksums")
        yield block


def _request(session: "Session", url: str, part: Part, *, expected: int | None) -> None:
    """One request that brings the part to its end, or raises."""
    state, offset = part.state, part.from_url(url)
    headers = {"Range": f"bytes={offset}-", "If-Range": state.version or ""} if offset else {}
    with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        status = response.status_code
        _refuse_downgrade(url, response)
        if status in _TRANSIENT:
            raise _PassingError(f"the server answered {status} {response.reason}", _retry_after(response))
        if status == 416 and offset:
            part.discard()
            raise _PassingError("the server no longer has the rest of the file; starting again")
        if status not in (200, 206):
            raise DownloadError(f"the server answered {status} {response.reason}")
        total, version = _offered(response), _version(response)
        if status == 206 and (_start(response) != offset or (offset and _changed(state, total, version))):
            part.discard()
            raise _PassingError("the server sent a piece of another file or from another place; starting again")
        if expected is not None and total is not None and total != expected:
            raise WrongError(f"the server offers {total:,} bytes where {expected:,} are right")
        try:
            if status == 200 or not offset:
                part.discard()
                part.remember(State(url, version, total))
            part.append(_blocks(response))
            if total is None:
                part.remember(State(url, version, part.size))
        except OSError as error:
            raise disk_error(part.path, error) from error
    if total is not None and part.size != total:
        raise _PassingError(f"the connection ended at {part.size:,} of {total:,} bytes")


def _blocks(response: "Response") -> Iterator[bytes]:
    """The body as it is stored: some servers call a .gz file gzip-encoded, which must not unpack it on the way."""
    from urllib3.exceptions import HTTPError

    try:
        yield from response.raw.stream(_CHUNK, decode_content=False)
    except HTTPError as error:
        raise _PassingError(_reason(error)) from error


def _copy(url: str, part: Part) -> None:
    source = Path(unquote(urlsplit(url).path))
    if not source.is_file():
        raise DownloadError("there is no such file")
    try:
        part.discard()
        with source.open("rb") as stream:
            part.append(iter(lambda: stream.read(_CHUNK), b""))
    except OSError as error:
        if error.filename == str(source):
            raise DownloadError(f"cannot read it: {error.strerror}") from error
        raise disk_error(part.path, error) from error


def _offered(response: "Response") -> int | None:
    """Bytes of the whole file as the server tells them."""
    if response.status_code == 206:
        match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
        return int(match[2]) if match and match[2] != "*" else None
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


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


def _retry_after(response: "Response") -> float | None:
    """Seconds of a Retry-After header, which holds them or a date."""
    value = response.headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _refuse_downgrade(url: str, response: "Response") -> None:
    if url.startswith("https:") and not response.url.startswith("https:"):
        raise DownloadError(f"the server leads from https to {response.url}, where anybody could change the file")


def _is_final(error: Exception, *, started: bool) -> bool:
    """Whether trying again is pointless: a bad certificate or address, or no network at all."""
    from requests.exceptions import ConnectionError, Timeout

    if not isinstance(error, (ConnectionError, Timeout)):
        return True
    text = str(error)
    return "CERTIFICATE_VERIFY_FAILED" in text or ("NameResolutionError" in text and not started)


def _reason(error: BaseException) -> str:
    """The innermost words of a chain of network errors."""
    inner = error
    while True:
        deeper = [e for e in (getattr(inner, "reason", None), *inner.args) if isinstance(e, BaseException)]
        if not deeper:
            break
        inner = deeper[0]
    text = str(inner) or type(inner).__name__
    if type(inner).__name__ == "NameResolutionError":
        return f"{text.rpartition('): ')[2]}; is this machine online? --mirror takes files fetched elsewhere"
    return text.rpartition("): ")[2]


def disk_error(path: Path, error: OSError) -> OutputError:
    """What to say of a write that the disk refused."""
    if isinstance(error, OutputError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        free = shutil.disk_usage(path.parent).free
        return OutputError(
            f"{path.parent}: {error.strerror} ({free / 1e9:.2f} GB free); make room or set GENOCONV_HOME to a larger"
            " disk, then run the command again: it goes on where it stopped"
        )
    return OutputError(f"{path}: cannot write: {error.strerror or error}")
