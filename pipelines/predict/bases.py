"""Predictions for every base of the records that ``genoconv predict`` reads, with a head without pooling."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from genoconv.errors import ModelError, UsageError
from genoconv.models.heads import HeadConfig
from genoconv.pipelines.predict.inputs import Rows
from genoconv.pipelines.predict.options import PredictOptions
from genoconv.pipelines.resuming import marked, pass_over
from genoconv.pipelines.spool import Row, Spool
from genoconv.progress import Advance
from genoconv.tasks.bases import BaseOutputs, Stretch
from genoconv.tasks.batching import portions
from genoconv.tasks.spans import Span
from genoconv.tokens import A, T, Tokens


@dataclass(frozen=True, slots=True)
class _Part:
    """Some bases of a record.

    Attributes:
        row: where they lie.
        stretch: the bases, in the direction of reading, with their record.
    """

    row: Row
    stretch: Stretch

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def tokens(self) -> Tokens:
        return self.stretch.tokens[self.stretch.first : self.stretch.last]


def check_options(options: PredictOptions, head: HeadConfig) -> None:
    """Refuse what does not go with a head that predicts every base.

    Raises:
        UsageError: windows, or another reading of the strands than the model can do.
    """
    if options.window is not None:
        raise UsageError("this model predicts every base of whole records; drop --window")
    if options.strand == "forward" and head.sides > 1:
        raise UsageError("--strand forward: this model was trained to read both strands of every base")
    if options.strand == "both" and head.stranded and not head.both_strands:
        raise UsageError("--strand both: the predictions of this model are specific to the strand that is read")


def compute_bases(options: PredictOptions, rows: Rows, outputs: BaseOutputs, spool: Spool, *, advance: Advance) -> None:
    """Append predictions for all bases to the spool, in the order of the forward strand; NaN where there is no base."""
    pieces = marked(_pieces(rows.spans(), most=options.chunk), rows.digest)
    pass_over(pieces, spool.finished, name=rows.name, advance=advance)
    for parts, digest in pieces:
        found = outputs.predictions([part.stretch for part in parts], advance=advance)
        for part, values in zip(parts, found, strict=True):
            letters = (part.tokens >= A) & (part.tokens <= T)
            if not np.isfinite(values[letters]).all():
                raise not_finite(options, first=part.name)
            values[~letters] = np.nan
        forward = [
            values[::-1] if part.row.strand == "-" else values for part, values in zip(parts, found, strict=True)
        ]
        spool.append(forward, [part.row for part in parts], mark=digest)


def _pieces(spans: Iterable[Span], *, most: int) -> Iterator[list[_Part]]:
    """Whole records, and parts of long ones, about ``most`` bases at a time."""
    for portion in portions(spans, size=lambda span: len(span.tokens), most=most):
        yield [_part(*part) for part in portion]


def _part(span: Span, first: int, last: int) -> _Part:
    """Bases ``first`` to ``last`` of a record, in the direction of reading."""
    start, end = (span.end - last, span.end - first) if span.strand == "-" else (span.start + first, span.start + last)
    return _Part(Row(cell(span.name), cell(span.contig), start, end, span.strand), Stretch(span.tokens, first, last))


def cell(text: str) -> str:
    """Text as it can stand in a cell of a table."""
    return text.replace("\t", " ").replace("\n", " ")


def not_finite(options: PredictOptions, *, first: str) -> ModelError:
    """That predictions are not finite, from the record ``first`` on."""
    return ModelError(
        f"{options.model}: its predictions are not finite (first for {first}); its weights are out of range for"
        f" --precision {options.precision}, or it was damaged in training"
    )
