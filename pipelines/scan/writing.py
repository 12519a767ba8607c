"""The output of ``genoconv scan`` on its way from the spool to its files, while later positions are computed."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from itertools import chain
from threading import Lock
from typing import Any

from genoconv.pipelines.calibrated import ranked
from genoconv.pipelines.scan.formats import format_of, passes, write
from genoconv.pipelines.scan.options import ScanOptions
from genoconv.pipelines.scan.spans import Span
from genoconv.pipelines.scan.spool import Spool, placed
from genoconv.progress import Advance, progress_bar
from genoconv.tasks.calibration import Table
from genoconv.tracks.blocks import Block
from genoconv.variants.reference import Reference


class Writing:
    """What is to be written.

    Args:
        options: of the run.
        spans: its positions, in order.
        reference: the genome.
        spool: where their values are, or will be.
        facts: what the output says about how it came about.
        table: the model's calibration, where scores get ranks.
    """

    def __init__(
        self,
        options: ScanOptions,
        spans: Sequence[Span],
        *,
        reference: Reference,
        spool: Spool,
        facts: Mapping[str, Any],
        table: Table | None,
    ) -> None:
        self.options = options
        self.positions = sum(span.end - span.start for span in spans)
        self._places = placed(spans)
        self._reference = reference
        self._spool = spool
        self._facts = facts
        self._table = table
        self._lock = Lock()
        self._done = 0
        self._report: Advance | None = None

    def blocks(self, contig: str | None = None, /) -> Iterator[Block]:
        """All blocks, or those of one contig; waits for those that are not there yet."""
        places = self._places.values() if contig is None else [self._places[contig]]
        reference = self._reference if format_of(self.options.output).bases else None
        for block in self._spool.blocks(list(chain.from_iterable(places)), reference):
            yield block if self._table is None else ranked(block, self._table, self._reference)
            self._advance(len(block.values))

    def __call__(self) -> None:
        """Write the files; they have their names when this returns."""
        contigs = {contig: self._reference.contigs[contig] for contig in self._places}
        write(self.options.output, self.blocks, contigs=contigs, positions=self.positions, facts=self._facts)

    def _advance(self, amount: int) -> None:
        with self._lock:
            self._done += amount
            if self._report is not None:
                self._report(amount)

    def show(self, running: Future[None]) -> None:
        """Show how far it is, until it is done."""
        total = self.positions * passes(self.options.output, self.positions, contigs=len(self._places))
        with progress_bar("Writing", total=total, unit="positions", quiet=self.options.quiet) as advance:
            with self._lock:
                advance(self._done)
                self._report = advance
            wait([running])
