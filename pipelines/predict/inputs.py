"""What ``genoconv predict`` reads, as rows in order: records of any source, or windows over the records of a FASTA."""

import hashlib
from collections.abc import Iterator
from itertools import pairwise

from genoconv.errors import DataError, UsageError
from genoconv.genome.fasta.records import read_records
from genoconv.pipelines.predict.options import PredictOptions
from genoconv.pipelines.records.bed_records import BedRecords
from genoconv.pipelines.records.record import Wanted
from genoconv.pipelines.records.sources import open_source
from genoconv.tasks.spans import Span
from genoconv.tokens import encode, reverse_complement

STDIN = "standard input"


class Rows:
    """The spans of a call, each one row of the output; read from the start by :meth:`spans`.

    Attributes:
        name: of the input, for messages.
        records: read so far.
        contigs: name -> length in bases of those read so far.
        bases: of the spans so far.
    """

    def __init__(self, options: PredictOptions) -> None:
        self.options = options
        self.name = STDIN if str(options.source) == "-" else str(options.source)
        self.records = self.bases = 0
        self.contigs: dict[str, int] = {}
        self._digest = hashlib.sha256()
        self._source = None
        if options.window is None:
            self._source = open_source(Wanted(path=options.source, fasta=options.fasta, need_label=False))
        elif options.fasta is not None:
            raise UsageError(
                "--window cuts the records of a FASTA into windows, and a BED file has its own intervals; drop --window"
            )

    def refuse_overlaps(self) -> None:
        """Refuse intervals that no track can hold, before any is read with the model.

        Raises:
            DataError: two overlap; the place is named.
        """
        if not isinstance(self._source, BedRecords):
            return
        for before, after in pairwise(sorted((row.contig, row.start, row.end) for row in self._source.intervals())):
            if before[0] == after[0] and before[2] > after[1]:
                place = f"{after[0]}:{after[1] + 1}"
                raise DataError(
                    f"{self.name}: intervals overlap at {place}, and a track has one value per base; write .tsv or"
                    " .parquet"
                )

    def spans(self) -> Iterator[Span]:
        """Rows in the order of the input; a span's place is on the forward strand, its tokens are in reading direction.

        Raises:
            DataError: a record that cannot be read; file and line are named.
        """
        for span in self._whole() if self._source is not None else self._windows():
            self.bases += len(span.tokens)
            self._digest.update(f"{span.name}\t{span.start}\t{span.strand}\n".encode())
            self._digest.update(span.tokens.tobytes())
            yield span

    def digest(self) -> str:
        """SHA-256 of the rows read so far."""
        return self._digest.hexdigest()

    def _whole(self) -> Iterator[Span]:
        assert self._source is not None
        lengths = self._source.lengths() if isinstance(self._source, BedRecords) else {}
        for record in self._source.records():
            self.records += 1
            known = lengths.get(record.contig, record.end)
            self.contigs[record.contig] = max(self.contigs.get(record.contig, 0), known)
            tokens = reverse_complement(record.tokens) if record.strand == "-" else record.tokens
            yield Span(record.name, record.contig, record.start, record.end, record.strand, tokens)

    def _windows(self) -> Iterator[Span]:
        window, stride = self.options.window or 0, self.options.stride or self.options.window or 0
        for record in read_records(self.options.source):
            self.records += 1
            tokens = encode(record.sequence)
            self.contigs[record.name] = len(tokens)
            for start in range(0, max(1, len(tokens) - max(window - stride, 0)), stride):
                part = tokens[start : start + window]
                if len(part):
                    yield Span(record.name, record.name, start, start + len(part), "+", part)
