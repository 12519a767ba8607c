"""What ``genoconv embed`` reads, and the intervals of a BED file; records and windows over them: :mod:`.windows`."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from genoconv.contigs import match_contigs
from genoconv.digests import file_digest
from genoconv.errors import DataError, UsageError
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.fasta.digests import digest_of
from genoconv.genome.windows.intervals import bed_rows
from genoconv.pipelines.provenance import file_name
from genoconv.progress import Advance
from genoconv.tasks.spans import Span, Spans, chunked
from genoconv.tokens import A, T
from genoconv.wording import listed


@dataclass(slots=True)
class Odd:
    """How many of one odd kind there were, and the first of them."""

    count: int = 0
    first: str = ""

    def add(self, name: str) -> None:
        self.first = self.first or name
        self.count += 1


@dataclass(slots=True)
class Counts:
    """What a pass over an input met.

    Attributes:
        records: records, or intervals of a BED file.
        spans: what is read of them.
        bases: bases of the spans, overlaps counted as often as they are read.
        longer: spans longer than the model takes; ``pieces``, in how many they are read.
        empty: records without a base.
        unknown: spans without A, C, G or T.
    """

    records: int = 0
    spans: int = 0
    bases: int = 0
    longer: int = 0
    pieces: int = 0
    empty: Odd = field(default_factory=Odd)
    unknown: Odd = field(default_factory=Odd)

    def add_spans(self, count: int, length: int, pieces: int) -> None:
        """So many spans of one length, which are read in that many pieces each."""
        self.spans += count
        self.bases += count * length
        if pieces > 1:
            self.longer += count
            self.pieces += count * pieces


def one_piece(length: int) -> int:
    """Of a span, before it is known how long those are that the model reads."""
    return 1


Mark: TypeAlias = str | int
"""How far an input has been read, for :meth:`Source.digest`; plain, so that a process of ``--devices`` may have it."""


class Source(Protocol):
    """Spans in the input's order.

    Attributes:
        name: for messages and metadata.
        pieces: in how many pieces the model reads a span of that many bases; set before they are counted.
        counts: of the latest pass over the spans.
        origin: what the survey knows of the input: key -> digest, also for the journal.
    """

    name: str
    pieces: Callable[[int], int]
    counts: Counts
    origin: dict[str, str]

    @property
    def once(self) -> bool:
        """Whether it can be read only once, as a pipe."""

    def survey(self, advance: Advance) -> bool:
        """Look at all of the input, also while others read its spans; False, at once, where it can be read only once.

        ``advance`` receives bases; what it raises ends the survey.
        """

    def counted(self) -> Counts:
        """What the survey met; it does not look for spans without A, C, G or T."""

    def runs(self, *, tokens: int) -> Iterator[Spans]:
        """Read the input from its start, in the runs of :func:`.chunked`."""

    def mark(self) -> Mark:
        """How far it has been read."""

    def digest(self, mark: Mark | None = None) -> str:
        """:class:`SequencesDigest` of what had been read at ``mark``, or by now; at the end, of the genome.

        After the survey; marks come in their order.
        """

    def changed(self) -> bool:
        """Whether the survey and the pass over the spans may have read different things; after both."""


class BedSpans:
    """Intervals of a BED file on a FASTA, each in the direction of its strand; a :class:`Source`.

    Raises:
        DataError: an invalid row, a row on a contig that the FASTA does not have, or beyond its end; the line is named.
    """

    once = False

    def __init__(self, path: Path, bed: Path) -> None:
        if str(path) == "-" or str(bed) == "-":
            raise UsageError(
                "--bed cannot be used with a pipe, which has no random access; write the sequence to a file first"
            )
        self.fasta = Fasta(path)
        self.bed = bed
        self.pieces: Callable[[int], int] = one_piece
        self.name = file_name(path)
        self.counts = Counts()
        self.names = self._contigs()
        self.origin: dict[str, str] = {}
        self._digest = ""
        self._lengths: Counter[int] = Counter()

    def _contigs(self) -> dict[str, str]:
        """Contig name of the BED -> of the FASTA, after a look at every row."""
        furthest: dict[str, tuple[int, int]] = {}
        for line, (contig, _, end, *_) in bed_rows(self.bed):
            furthest[contig] = max(furthest.get(contig, (0, 0)), (end, -line))
        names = match_contigs(dict.fromkeys(furthest), self.fasta.contigs, each=True)
        for contig, (end, line) in furthest.items():
            where = f"{self.bed}: line {-line}: "
            if contig not in names:
                known = listed(self.fasta.contigs)
                raise DataError(f"{where}no contig {contig!r} in {self.fasta.path}; it has {known}")
            if end > self.fasta.contigs[names[contig]]:
                length = self.fasta.contigs[names[contig]]
                raise DataError(f"{where}the interval ends at {end:,}, but {contig} has only {length:,} bases")
        return names

    def survey(self, advance: Advance) -> bool:
        self._lengths = Counter(end - start for _, (_, start, end, *_) in bed_rows(self.bed))
        self._digest = digest_of(self.fasta, self.names.values(), advance=advance)
        self.origin = {"input": self._digest, "intervals": file_digest(self.bed)}
        return True

    def counted(self) -> Counts:
        counts = Counts(records=self._lengths.total())
        for length, count in self._lengths.items():
            counts.add_spans(count, length, self.pieces(length))
        return counts

    def runs(self, *, tokens: int) -> Iterator[Spans]:
        return map(Spans.of, chunked(self.spans(), tokens=tokens))

    def spans(self) -> Iterator[Span]:
        """The intervals in the order of the file."""
        self.counts = Counts()
        for _, (contig, start, end, strand, name, _) in bed_rows(self.bed):
            tokens = self.fasta.tokens(self.names[contig], start, end)
            name = name or f"{contig}:{start + 1}-{end}"
            self.counts.records += 1
            self.counts.add_spans(1, end - start, self.pieces(end - start))
            if not np.any((tokens >= A) & (tokens <= T)):
                self.counts.unknown.add(name)
            yield Span(name, contig, start, end, strand, tokens)

    def mark(self) -> Mark:
        return 0

    def digest(self, mark: Mark | None = None) -> str:
        return self._digest

    def changed(self) -> bool:
        return False
