"""Stretches of sequence that are read with a model, and runs of them that are read at once."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from genoconv.tokens import Tokens

_RUN_SPANS = 4096


class Span(NamedTuple):
    """A stretch of sequence that becomes one row, or one row per base.

    Attributes:
        name, contig: what it is called, and where it lies.
        start, end: its bases on the contig, 0-based half-open.
        strand: ``+``, ``-`` or ``.``; ``-`` is read as its reverse complement.
        tokens: (end - start,) uint8, those of the forward strand in any case.
    """

    name: str
    contig: str
    start: int
    end: int
    strand: str
    tokens: Tokens


def chunked(spans: Iterable[Span], *, tokens: int) -> Iterator[list[Span]]:
    """Group spans into runs of about ``tokens`` bases; never more spans are drawn than the run has.

    The cuts depend on the spans alone, so that a run that is done again has the same ones.
    """
    run: list[Span] = []
    size = 0
    for span in spans:
        run.append(span)
        size += len(span.tokens)
        if size >= tokens or len(run) == _RUN_SPANS:
            yield run
            run, size = [], 0
    if run:
        yield run
