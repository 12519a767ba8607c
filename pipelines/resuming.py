"""Long runs that end early: what is finished is kept, and the same call with ``--resume`` continues from there."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from genoconv.errors import Interrupted, UsageError
from genoconv.progress import Advance
from genoconv.tokens import Tokens

if TYPE_CHECKING:
    from genoconv.tasks.spans import Span

log = logging.getLogger(__name__)


class Named(Protocol):
    """A stretch of sequence with a name, such as :class:`.spans.Span`."""

    @property
    def name(self) -> str: ...

    @property
    def tokens(self) -> Tokens: ...


Some = TypeVar("Some", bound=Named)
Run = TypeVar("Run")
Mark = TypeVar("Mark")
Marked: TypeAlias = "tuple[Sequence[Span], str | int]"
"""Spans, and the digest of the input up to their end, or how it will be found."""


@contextmanager
def resumable(output: Path, *, kept: str, finished: Callable[[], int]) -> Iterator[None]:
    """Say how to resume a run that ends early, whether it computes or writes.

    Args:
        output: of the run, for the message.
        kept: what is finished piece by piece: ``rows``.
        finished: how many of them there are; if none, nothing is said.
    """
    again = f"finished {kept} are kept; to continue after them, repeat the command with --resume"
    try:
        yield
    except BaseException as stop:
        if finished():
            if isinstance(stop, KeyboardInterrupt):
                raise Interrupted(again) from stop
            log.warning("%s: %s", output, again)
        raise


def marked(pieces: Iterable[Run], digest: Callable[[], Mark]) -> Iterator[tuple[Run, Mark]]:
    """Pieces with the digest of the input up to their end, taken before more is read."""
    for spans in pieces:
        yield spans, digest()


def pass_over(
    pieces: Iterator[tuple[Sequence[Some], str]], finished: Sequence[str], *, name: str, advance: Advance
) -> int:
    """Read again, and no more, the pieces that an interrupted run finished; returns their bases.

    Args:
        pieces: of this run, from the first on.
        finished: digests of the interrupted run.
        name: of the input, for messages.
        advance: called with the bases of each piece.

    Raises:
        UsageError: the input is not what the interrupted run read.
    """
    total = 0
    for mark in finished:
        found = next(pieces, None)
        if found is None:
            raise UsageError(
                f"--resume: {name} ends before the point that the interrupted run had reached; use the same input"
            )
        spans, digest = found
        if mark != digest:
            raise UsageError(
                f"--resume: {name} differs from what the interrupted run read (up to {spans[-1].name}); use the same"
                " input, or drop --resume to start again"
            )
        bases = sum(len(span.tokens) for span in spans)
        total += bases
        advance(bases)
    return total
