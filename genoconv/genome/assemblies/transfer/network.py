"""Talking to servers: how to introduce oneself, what passes and what stays, when to try again."""

import email.utils
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genoconv import __version__
from genoconv.errors import DownloadError, UsageError
from genoconv.wording import printable

if TYPE_CHECKING:
    from requests import Response, Session

TIMEOUT = (20, 60)
"""Seconds to connect, and between two pieces of an answer."""

_CHUNK = 1 << 16
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


class PassingError(Exception):
    """A failure that may be gone at the next try, with the wait that the server asked for."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


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
        with new_session() as session, session.get(url, stream=True, timeout=TIMEOUT) as response:
            refuse_downgrade(url, response)
            if response.status_code != 200:
                raise DownloadError(f"the server answered {answer(response)}")
            return b"".join(_up_to(response, _LONGEST_LIST)).decode("utf-8", "replace")
    except (RequestException, PassingError) as error:
        raise DownloadError(reason(error)) from error
    except ValueError as error:
        raise invalid_redirect(error) from error


def _up_to(response: "Response", limit: int) -> Iterator[bytes]:
    for block in blocks(response):
        limit -= len(block)
        if limit < 0:
            raise DownloadError("it is too long to be a list of checksums")
        yield block


def blocks(response: "Response") -> Iterator[bytes]:
    """The body as it is stored: some servers call a .gz file gzip-encoded, which must not unpack it on the way."""
    from urllib3.exceptions import HTTPError

    try:
        yield from response.raw.stream(_CHUNK, decode_content=False)
    except HTTPError as error:
        raise PassingError(reason(error)) from error


def retry_after(response: "Response") -> float | None:
    """Seconds of a Retry-After header, which holds them or a date."""
    value = response.headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def refuse_downgrade(url: str, response: "Response") -> None:
    """Raise :class:`DownloadError` where a redirect led from https to an address that anybody could answer for."""
    for hop in (*response.history, response):
        if url.startswith("https:") and not hop.url.startswith("https:"):
            where = printable(hop.url)
            raise DownloadError(f"the server redirects from https to {where}, which is not secure")


def answer(response: "Response") -> str:
    """Status and reason of an answer; servers may send anything as the latter."""
    return f"{response.status_code} {printable(response.reason or '')[:100]}"


def invalid_redirect(error: ValueError) -> DownloadError:
    """The error for a redirect to an invalid URL: parsers raise a ValueError of one kind or another."""
    return DownloadError(f"the server redirects to an invalid address ({reason(error)})")


def is_final(error: Exception, *, started: bool) -> bool:
    """Whether a retry is pointless: a bad certificate or address, or no network at all."""
    from requests.exceptions import ConnectionError, Timeout

    if not isinstance(error, (ConnectionError, Timeout)):
        return True
    text = str(error)
    return "CERTIFICATE_VERIFY_FAILED" in text or ("NameResolutionError" in text and not started)


def reason(error: BaseException) -> str:
    """The innermost words of a chain of network errors."""
    inner = error
    while True:
        deeper = [e for e in (getattr(inner, "reason", None), *inner.args) if isinstance(e, BaseException)]
        if not deeper:
            break
        inner = deeper[0]
    text = printable(str(inner))[:300] or type(inner).__name__
    if type(inner).__name__ == "NameResolutionError":
        return f"{text.rpartition('): ')[2]}; is this machine online? --mirror takes files fetched elsewhere"
    return text.rpartition("): ")[2]
