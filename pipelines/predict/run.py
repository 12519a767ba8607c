"""The whole of ``genoconv predict``: from sequences and a fine-tuned model to a file of predictions."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genoconv import __version__
from genoconv.atomic import refuse_inputs
from genoconv.errors import ModelError, UsageError
from genoconv.models.checkpoint import model_files
from genoconv.models.heads import Predictor
from genoconv.pipelines.loading import load, with_precision
from genoconv.pipelines.options import recorded_command
from genoconv.pipelines.predict.base_formats import write_bases
from genoconv.pipelines.predict.bases import cell, check_options, compute_bases, not_finite
from genoconv.pipelines.predict.formats import check_output, files_of, write
from genoconv.pipelines.predict.inputs import Rows
from genoconv.pipelines.predict.options import PredictOptions
from genoconv.pipelines.provenance import file_name
from genoconv.pipelines.resuming import marked, pass_over
from genoconv.pipelines.spool import Row, Spool
from genoconv.progress import Advance, progress_bar
from genoconv.tasks.bases import BaseOutputs
from genoconv.tasks.journal import refuse_finished_pieces
from genoconv.tasks.predict import PooledVectors, predictions
from genoconv.tasks.spans import Span, chunked
from genoconv.wording import count
from genoconv.workfiles import claimed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """What a run did: rows, those of an interrupted run among them, records, bases, and seconds of computing."""

    output: Path
    files: tuple[Path, ...]
    records: int
    rows: int
    resumed: int
    bases: int
    seconds: float

    def figures(self) -> dict[str, float | None]:
        """What ``--json`` says of the run."""
        return {
            "records": self.records,
            "rows": self.rows,
            "rows_resumed": self.resumed,
            "bases": self.bases,
            "predicting_seconds": round(self.seconds, 3),
        }

    def __str__(self) -> str:
        again = f" ({self.resumed:,} from the interrupted run)" if self.resumed else ""
        read = f"{count(self.records, 'record')}, {count(self.rows, 'row')}{again}"
        return f"{self.output}: {read}, {count(self.bases, 'base')}"


def predict(options: PredictOptions) -> Summary:
    """Do it all; ``docs/predict.md`` says what is computed.

    Raises:
        UsageError: options that exclude each other.
        DataError: an input that cannot be used.
        ModelError: not a fine-tuned model.
        OutputError: an output exists already or cannot be written.
    """
    if options.stride is not None and options.window is None:
        raise UsageError("--stride needs --window, the length of the windows")
    if options.stride is not None and options.window is not None and options.stride > options.window:
        log.info("--stride exceeds --window: bases between windows are not read")
    head = _head(options)
    if head.per_base:
        check_options(options, head)
    check_output(options.output, head.columns, force=options.force)
    files = tuple(dict.fromkeys(files_of(options.output, head.columns).values()))
    inputs = {"INPUT": options.source, "--fasta": options.fasta}
    inputs |= {f"--model ({path.name})": path for path in model_files(options.model)}
    refuse_inputs(files, inputs=inputs)
    rows = Rows(options)
    if options.output.suffix == ".bw":
        rows.refuse_overlaps()
    with claimed(options.output):
        refuse_finished_pieces(options.output, resume=options.resume, force=options.force)
        options = with_precision(options)
        model = load(options)
        assert isinstance(model, Predictor)
        return _spooled(options, rows, model, files)


def _head(options: PredictOptions) -> Any:
    from genoconv.models.checkpoint import read_head

    head = read_head(options.model)
    if head is None:
        raise ModelError(
            f"{options.model}: this model predicts only the next base; add a head with `genoconv finetune`"
        )
    return head


def _spooled(options: PredictOptions, rows: Rows, model: Predictor, files: tuple[Path, ...]) -> Summary:
    """Compute the rows into the spool, and the output from the spool; an interrupted run leaves its spool."""
    facts = _facts(options, model)
    columns = model.head.config.columns
    described = {**facts, "device": options.device, "batch size": options.batch_size}
    per_base = model.head.config.per_base
    spooled = Spool(
        options.output, width=len(columns), dtype="float32", run=described, resume=options.resume, per_base=per_base
    )
    with spooled as spool, spool.resumable():
        summary = _compute(options, rows, model, spool, files)
        if per_base:
            write_bases(options.output, spool, columns=columns, metadata=facts, contigs=rows.contigs)
        else:
            middle = _middle(options)
            write(options.output, spool, columns=columns, metadata=facts, contigs=rows.contigs, middle=middle)
    return summary


def _middle(options: PredictOptions) -> tuple[int, int] | None:
    """The middle of overlapping windows, which do not overlap; None where windows do not."""
    window, stride = options.window or 0, options.stride or 0
    first = (window - stride) // 2
    return (first, first + stride) if 0 < stride < window else None


def _facts(options: PredictOptions, model: Predictor) -> dict[str, Any]:
    """What the output says of itself, and what a resumed run must agree with."""
    from genoconv.models import model_digest

    head = model.head.config
    both = head.both_strands if options.strand is None else options.strand == "both"
    return {
        "genoconv": __version__,
        "model": {"name": file_name(options.model), "sha256": model_digest(options.model)},
        "task": head.kind,
        **({"each": "base"} if head.per_base else {}),
        "strand": "both" if both else "forward",
        "window": options.window,
        "stride": options.stride or options.window,
        "precision": options.precision,
        "coordinates": "0-based, half-open",
        "command": recorded_command("predict", options),
    }


def _compute(options: PredictOptions, rows: Rows, model: Predictor, spool: Spool, files: tuple[Path, ...]) -> Summary:
    both = None if options.strand is None else options.strand == "both"
    resumed = spool.rows
    began = time.monotonic()
    with progress_bar("Predicting", unit="bases", quiet=options.quiet) as advance:
        if model.head.config.per_base:
            outputs = BaseOutputs(model, both_strands=both, batch_size=options.batch_size)
            compute_bases(options, rows, outputs, spool, advance=advance)
        else:
            _compute_rows(
                options, rows, PooledVectors(model, both_strands=both, batch_size=options.batch_size), spool, advance
            )
    return Summary(options.output, files, rows.records, spool.rows, resumed, rows.bases, time.monotonic() - began)


def _compute_rows(options: PredictOptions, rows: Rows, vectors: PooledVectors, spool: Spool, advance: Advance) -> None:
    pieces = marked(chunked(rows.spans(), tokens=options.chunk), rows.digest)
    pass_over(pieces, spool.finished, name=rows.name, advance=advance)
    for spans, digest in pieces:
        found = predictions(vectors.model, vectors([_forward(span) for span in spans], advance=advance))
        _check_finite(options, spans, found)
        spool.append([found], list(_places(spans)), mark=digest)


def _forward(span: Span) -> Span:
    """A span whose tokens are in reading direction already."""
    return Span(span.name, span.contig, 0, len(span.tokens), "+", span.tokens)


def _places(spans: list[Span]) -> Iterator[Row]:
    for span in spans:
        yield Row(cell(span.name), cell(span.contig), span.start, span.end, span.strand)


def _check_finite(options: PredictOptions, spans: list[Span], found: npt.NDArray[np.float32]) -> None:
    odd = np.flatnonzero(~np.isfinite(found).all(1))
    for number in odd.tolist():
        if len(spans[number].tokens):
            raise not_finite(options, first=spans[number].name)
