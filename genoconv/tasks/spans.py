"""Stretches of sequence that are read with a model, one by one or many in arrays, and runs that are read at once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, overload

import numpy as np
import numpy.typing as npt

from genoconv.tokens import Tokens

RUN_SPANS = 4096
"""The most spans of a run."""

Numbers = npt.NDArray[np.int64]


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


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Names and places of S spans, in arrays.

    Attributes:
        texts: names and contigs, each once.
        name, contig: numbers in ``texts``, (S,).
        start, end: bases on the contig, 0-based half-open, (S,).
        strand: ``+``, ``-`` or ``.``, (S,) of one byte.
    """

    texts: Sequence[str]
    name: Numbers
    contig: Numbers
    start: Numbers
    end: Numbers
    strand: npt.NDArray[np.bytes_]

    @classmethod
    def of(cls, rows: Sequence[tuple[Any, ...]]) -> Self:
        """Those of rows that begin with name, contig, start, end and strand."""
        texts: dict[str, int] = {}
        name, contig, start, end = (np.empty(len(rows), np.int64) for _ in range(4))
        strand = np.empty(len(rows), "S1")
        for number, row in enumerate(rows):
            name[number] = texts.setdefault(row[0], len(texts))
            contig[number] = texts.setdefault(row[1], len(texts))
            start[number], end[number], strand[number] = row[2:5]
        return cls(list(texts), name, contig, start, end, strand)

    def __len__(self) -> int:
        return len(self.start)

    def each_base(self) -> "Places":
        """Those of every base of each, in the direction of its strand."""
        lengths = self.end - self.start
        total = int(lengths.sum())
        nth = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        start = np.where(
            np.repeat(self.strand == b"-", lengths),
            np.repeat(self.end - 1, lengths) - nth,
            np.repeat(self.start, lengths) + nth,
        )
        name, contig = np.repeat(self.name, lengths), np.repeat(self.contig, lengths)
        return Places(self.texts, name, contig, start, start + 1, np.repeat(self.strand, lengths))


@dataclass(frozen=True, slots=True, eq=False)
class Spans(Sequence[Span]):
    """S spans in arrays: many cost little more than one.

    Attributes:
        places: their names and places.
        tokens: bases of all, those of overlapping windows perhaps once.
        first: where in ``tokens`` the bases of each begin, (S,).
        lengths: how many each has, (S,).
    """

    places: Places
    tokens: Tokens
    first: Numbers
    lengths: Numbers

    @classmethod
    def of(cls, spans: Sequence[Span]) -> "Spans":
        if isinstance(spans, Spans):
            return spans
        parts = [span.tokens for span in spans]
        lengths = np.array([len(part) for part in parts], np.int64)
        tokens = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, np.uint8)
        return cls(Places.of(spans), tokens, np.cumsum(lengths) - lengths, lengths)

    def __len__(self) -> int:
        return len(self.first)

    @overload
    def __getitem__(self, number: int) -> Span: ...
    @overload
    def __getitem__(self, number: slice) -> list[Span]: ...
    def __getitem__(self, number: int | slice) -> Span | list[Span]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        places, first = self.places, int(self.first[number])
        return Span(
            places.texts[places.name[number]],
            places.texts[places.contig[number]],
            int(places.start[number]),
            int(places.end[number]),
            places.strand[number].decode(),
            self.tokens[first : first + int(self.lengths[number])],
        )


def chunked(spans: Iterable[Span], *, tokens: int) -> Iterator[list[Span]]:
    """Group spans into runs of about ``tokens`` bases; never more spans are drawn than the run has.

    The cuts depend on the spans alone, so that a run that is done again has the same ones.
    """
    run: list[Span] = []
    size = 0
    for span in spans:
        run.append(span)
        size += len(span.tokens)
        if size >= tokens or len(run) == RUN_SPANS:
            yield run
            run, size = [], 0
    if run:
        yield run
