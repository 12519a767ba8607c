"""What becomes of the scores of a piece: records of the VCF, rows of the table, counts, and a line of the journal.

All of it is made where the scores are computed, so that with several processes little is left to the one that writes.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genoconv.errors import ModelError
from genoconv.pipelines.score.fields import Fields
from genoconv.pipelines.score.summary import Summary, overall
from genoconv.tasks.journal import encoded
from genoconv.tasks.score import Score, VariantScorer
from genoconv.tokens import decode
from genoconv.variants.alleles import Status
from genoconv.variants.records import Record
from genoconv.variants.writer import RecordText

log = logging.getLogger(__name__)

_MISMATCHES_NAMED = 5

Scores = list[list[list[Score]]]
"""Of each record, in it of each ALT, in it of each window."""


class Result(NamedTuple):
    """What a piece leaves.

    Attributes:
        journal: its line there.
        vcf: records with their scores; empty where no VCF is wanted.
        table: rows, likewise.
        summary: of these records.
        mismatches: which of them have an allele whose REF is not what the FASTA has there.
    """

    journal: bytes
    vcf: bytes
    table: str
    summary: Summary
    mismatches: list[int]


@dataclass(frozen=True)
class Formatting:
    """How results look; can be pickled.

    Attributes:
        fields: what is written of a score.
        header, replaced, kind: of the VCF, as of :class:`.RecordText`; no ``kind`` where none is wanted.
        table: whether a table is wanted.
    """

    fields: Fields
    header: tuple[str, ...]
    replaced: frozenset[str]
    kind: str | None
    table: bool

    def maker(self) -> Callable[[Sequence[Record], Scores], Result]:
        """What makes a result of records and their scores."""
        text = None if self.kind is None else RecordText(self.header, kind=self.kind, replaced=self.replaced)

        def make(records: Sequence[Record], scores: Scores) -> Result:
            summary = Summary()
            summary.add(scores)
            vcf = b"" if text is None else b"".join(map(text, records, map(self.fields.info, records, scores)))
            rows = map(self.fields.table_rows, records, scores) if self.table else ()
            table = "".join([f"{row}\n" for some in rows for row in some])
            return Result(encoded(scores), vcf, table, summary, _mismatches(scores, summary))

        return make


def _mismatches(scores: Scores, summary: Summary) -> list[int]:
    if not summary.alleles[Status.REF_MISMATCH]:
        return []
    of_each = ([overall(windows) for windows in alleles] for alleles in scores)
    return [number for number, statuses in enumerate(of_each) if Status.REF_MISMATCH in statuses]


def check_finite(records: Sequence[Record], scores: Scores, *, model: Path, precision: str) -> None:
    """Raise :class:`ModelError` where a score is not a finite number; it names the first."""
    every = [(score.llr, score.delta) for record in scores for allele in record for score in allele]
    values = [llr for llr, _ in every if llr is not None]
    values += [value for _, delta in every if delta is not None for value in delta]
    if np.isfinite(np.array(values, np.float64)).all():
        return
    if len(records) > 1:
        for record, alleles in zip(records, scores, strict=True):
            check_finite([record], [alleles], model=model, precision=precision)
    raise ModelError(
        f"{model}: its scores are not finite (first at {records[0].contig}:{records[0].start + 1:,}); its "
        f"weights are out of range for --precision {precision}, or it was damaged in training"
    )


class Mismatches:
    """Reports the first records whose REF is not what the FASTA has there, and what it has."""

    def __init__(self, scorer: VariantScorer) -> None:
        self._left = _MISMATCHES_NAMED
        self._scorer = scorer

    def report(self, records: Sequence[Record]) -> None:
        """Some of these."""
        for record in records[: self._left]:
            self._report(record)
        self._left -= min(self._left, len(records))

    def _report(self, record: Record) -> None:
        target = self._scorer.names[record.contig]
        place = f"{record.contig}:{record.start + 1}"
        length = self._scorer.reference.contigs[target]
        if not 0 <= record.start < length:
            log.warning("%s: not scored: outside the contig, which has %s bases", place, f"{length:,}")
            return
        there = decode(self._scorer.reference.tokens(target, record.start, min(record.end, record.start + 30)))
        log.warning("%s: not scored: REF is %s, but the FASTA has %s", place, record.ref[:30], there)
