"""What ``genoconv embed`` reads, and the intervals of a BED file; records and windows over them: :mod:`.windows`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

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


class Source(Protocol):
    """Spans in the input's order.

    Attributes:
        name: for messages and metadata.
        counts: of the latest pass, survey or spans.
        origin: what is known of the input before it is read: key -> digest, also for the journal.
    """

    name: str
    counts: Counts
    origin: dict[str, str]

    def survey(self, advance: Advance) -> Counts | None:
        """Look at all of the input, so that its faults are found first; None where it can be read only once."""

    def runs(self, *, tokens: int) -> Iterator[Spans]:
        """Read the input from its start, in the runs of :func:`.chunked`."""

    def digest(self) -> str:
        """:class:`SequencesDigest` of what has been read so far; at the end, of the genome."""


class BedSpans:
    """Intervals of a BED file on a FASTA, each in the direction of its strand; a :class:`Source`.

    Raises:
        DataError: an invalid row, a row on a contig that the FASTA does not have, or beyond its end; the line is named.
    """

    def __init__(self, path: Path, bed: Path, *, pieces: Callable[[int], int]) -> None:
        if str(path) == "-" or str(bed) == "-":
            raise UsageError(
                "--bed cannot be used with a pipe, which has no random access; write the sequence to a file first"
            )
        self.fasta = Fasta(path)
        self.bed = bed
        self.pieces = pieces
        self.name = file_name(path)
        self.counts = Counts()
        self.names = self._contigs()
        self.origin: dict[str, str] = {}
        self._digest = ""

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

    def survey(self, advance: Advance) -> Counts | None:
        self.counts = Counts()
        for _, (_, start, end, *_) in bed_rows(self.bed):
            self.counts.records += 1
            self.counts.add_spans(1, end - start, self.pieces(end - start))
        self._digest = digest_of(self.fasta, self.names.values(), advance=advance)
        self.origin = {"input": self._digest, "intervals": file_digest(self.bed)}
        return self.counts

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

    def digest(self) -> str:
        return self._digest
