"""The whole of ``genoconv embed``: from a FASTA and a model to a file of vectors."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from genoconv import __version__
from genoconv.atomic import refuse_inputs
from genoconv.errors import DataError, ModelError, UsageError
from genoconv.pipelines.embed.columns import Metadata
from genoconv.pipelines.embed.forecasts import SHORT, forecast, speed_of
from genoconv.pipelines.embed.formats import Writer, files_of, writer_for
from genoconv.pipelines.embed.inputs import BedSpans, Source
from genoconv.pipelines.embed.loading import embedder_of
from genoconv.pipelines.embed.options import EmbedOptions
from genoconv.pipelines.embed.report import Summary, report_longer, report_unusual
from genoconv.pipelines.embed.survey import Survey
from genoconv.pipelines.embed.windows import FastaSpans
from genoconv.pipelines.forecast import Forecast, at_rate
from genoconv.pipelines.loading import with_precision
from genoconv.pipelines.options import recorded_command
from genoconv.pipelines.pieces import StoppedError, alongside
from genoconv.pipelines.provenance import file_name
from genoconv.pipelines.references import genome_files
from genoconv.pipelines.resuming import Marked, marked, pass_over
from genoconv.pipelines.shared_options import CHUNK_BASES
from genoconv.pipelines.spool import Spool
from genoconv.pipelines.workers import chosen_devices, computed
from genoconv.progress import Advance, progress_bar
from genoconv.tasks.embed import Embedder
from genoconv.tasks.journal import refuse_finished_pieces
from genoconv.tasks.pooling import Pool, Vectors
from genoconv.tasks.spans import Places, Span, Spans
from genoconv.workfiles import claimed

log = logging.getLogger(__name__)

# To have a GPU read takes the host as long, however few bases they are; more at once leave it idle at the ends.
_GPU_CHUNK_BASES = 1 << 21


def embed(options: EmbedOptions) -> Summary | Forecast:
    """Do it all; ``docs/embed.md`` says what is computed.

    Raises:
        UsageError: options that exclude each other.
        DataError: an input that cannot be used.
        ModelError: the model folder cannot be used.
        OutputError: an output exists already or cannot be written.
    """
    _check(options)
    write = writer_for(options.output, force=options.force)
    fasta = genome_files(options.fasta, options.genome, offline=options.offline, quiet=options.quiet).fasta
    _refuse_inputs(options, fasta)
    with ExitStack() as stack:

        def surveyed(source: Source) -> Survey:
            return stack.enter_context(Survey(source, quiet=options.quiet))

        survey = None
        if options.bed is None:  # its faults are looked for while the model loads
            survey = surveyed(FastaSpans(fasta, window=options.window, stride=options.stride))
        options = with_precision(options)
        stack.enter_context(claimed(options.output))
        refuse_finished_pieces(options.output, resume=options.resume, force=options.force)
        embedder = embedder_of(options, _devices(options)[0])
        if options.bed is not None:
            survey = surveyed(BedSpans(fasta, options.bed))
        assert survey is not None
        survey.source.pieces = embedder.pieces
        if options.dry_run:
            return forecast(survey, embedder, devices=_devices(options))
        return _Run(options, survey, embedder, write)()


class _Run:
    """Computes the rows into the spool, and meanwhile the output from it; an interrupted run leaves its spool.

    The survey may still be running when computing begins. Until it is over nothing that is computed counts as finished.
    """

    def __init__(self, options: EmbedOptions, survey: Survey, embedder: Embedder, write: Writer) -> None:
        self.options = options
        self.survey = survey
        self.source = survey.source
        self.embedder = embedder
        self.write = write
        self.facts = _facts(options, embedder)
        self.total: int | None = None  # bases
        self.rate: float | None = None  # in a second, on one device; None where nobody asks
        self.learned = False
        self.known: Future[None] = Future()  # what the writer has to know before it begins
        self.finished: Future[Metadata] = Future()

    def __call__(self) -> Summary:
        options, source = self.options, self.source
        if options.resume or source.once:  # what was left is believed only if the input is the same
            self.survey.result()
        elif not options.quiet and self.survey.reaches(SHORT):
            self.rate = speed_of(self.embedder, source)
        run = self._described() if options.resume else None
        with (
            Spool(options.output, width=self.embedder.width, dtype=options.dtype, run=run, resume=options.resume)
            as self.spool,
            self.spool.resumable(),
            alongside(self._write_all, stop=self._stop) as writing,
        ):  # fmt: skip
            summary = self._embed_all(writing)
            found = self.survey.result()
            self._learn()
            self.spool.flush()
            if found is None:
                report_longer(source.counts, self.embedder)
            elif source.changed() or self.spool.rows != self.spool.expected:
                raise DataError(f"{source.name}: the file changed while it was being read; run the command again")
            report_unusual(source, options)
            with progress_bar("Writing", unit="files", quiet=options.quiet):
                self.finished.set_result({**self.facts, "genome": {"name": source.name, "sha256": source.digest()}})
                if found is None:
                    self.known.set_result(None)
                wait([writing])
        return summary

    def _described(self) -> dict[str, Any]:
        options = self.options
        return {**self.facts, **self.source.origin, "device": options.device, "batch size": options.batch_size}

    def _write_all(self) -> None:
        self.known.result()
        self.write(self.options.output, self.spool, self.finished.result)

    def _stop(self) -> None:
        self.spool.stop()
        for future in (self.known, self.finished):
            if not future.done():
                future.set_exception(StoppedError())

    def _learn(self) -> None:
        """Pass on what the survey has found, or raise it, as soon as it is over.

        Called before anything is computed, with every batch and at the end, never by two threads at a time.
        """
        if self.learned or not self.survey.done():
            return
        found = self.survey.result()
        self.learned = True
        if found is not None:
            report_longer(found, self.embedder)
            if self.rate is not None and found.bases >= SHORT:
                devices = _devices(self.options)
                log.info("%s", at_rate(self.rate, amount=found.bases, unit="bases", devices=devices))
            self.total = found.bases
            self.spool.expected = found.bases if self.embedder.pool == Pool.NONE else found.spans
            self.known.set_result(None)
        if not self.options.resume:
            self.spool.describe(self._described())

    def _embed_all(self, writing: Future[None]) -> Summary:
        """All pieces into the spool; ends early where ``writing`` the output has failed."""
        options, source, embedder, spool = self.options, self.source, self.embedder, self.spool
        tokens = _bases_at_once(options, embedder)
        resumed = spool.rows
        began = time.monotonic()
        self._learn()
        with progress_bar("Embedding", total=lambda: self.total, unit="bases", quiet=options.quiet) as bar:

            def advance(amount: float) -> None:
                self._learn()
                bar(amount)

            pieces = marked(source.runs(tokens=tokens), source.mark)
            again = ((spans, source.digest(mark)) for spans, mark in pieces)
            skipped = pass_over(again, spool.finished, name=source.name, advance=advance)
            make = partial(_work_on, options=options)
            with computed(_work(embedder), make, _devices(options), pieces, advance=advance) as results:
                for (spans, mark), vectors in results:
                    _check_finite(options, spans, vectors)
                    spool.append(vectors, _places(spans, embedder), mark=partial(source.digest, mark))
                    if writing.done():
                        writing.result()
            spool.flush()
        seconds = time.monotonic() - began
        counts = source.counts
        return Summary(
            options.output,
            counts,
            options.bed is not None,
            spool.rows,
            embedder.width,
            resumed,
            counts.bases - skipped,
            seconds,
        )


def _check(options: EmbedOptions) -> None:
    if options.bed is not None and options.window is not None:
        raise UsageError("--window and --bed cannot be combined; use one of them")
    if options.stride is not None and options.window is None:
        raise UsageError("--stride needs --window, the length of the windows")
    if options.left_padding is not None and options.special_tokens == "none":
        raise UsageError("--hyenadna-left-padding needs --hyenadna-special-tokens sep or cls-sep")


def _refuse_inputs(options: EmbedOptions, fasta: Path) -> None:
    """Refuse an output that is an input, whatever the flags."""
    from genoconv.models.checkpoint import model_files

    inputs = {"FASTA": fasta, "--bed": options.bed}
    inputs |= {f"--model ({path.name})": path for path in model_files(options.model)}
    refuse_inputs(files_of(options.output), inputs=inputs)


def _devices(options: EmbedOptions) -> list[str]:
    return chosen_devices(options.devices, device=options.device)


def _work_on(device: str, *, options: EmbedOptions) -> Callable[[Marked, Advance], list[Vectors]]:
    """What a process of ``--devices`` does with a piece."""
    return _work(embedder_of(options, device))


def _work(embedder: Embedder) -> Callable[[Marked, Advance], list[Vectors]]:
    return lambda marked, advance: embedder.rows(marked[0], advance=advance)


def _facts(options: EmbedOptions, embedder: Embedder) -> dict[str, Any]:
    """What the output says of itself, and what a resumed run must agree with; the genome is known at the end."""
    from genoconv.models import model_digest

    framed = {"special_tokens": options.special_tokens, "left_padding": options.left_padding}
    return {
        "genoconv": __version__,
        "model": {"name": file_name(options.model), "sha256": model_digest(options.model)},
        "rows": "intervals" if options.bed else "windows" if options.window else "records",
        "per_base": embedder.pool == Pool.NONE,
        "pool": options.pool,
        "layer": "last, normalised" if options.layer is None else options.layer % embedder.model.config.n_layer,
        "strand": options.strand,
        **(framed if options.special_tokens != "none" else {}),
        "window": options.window,
        "stride": options.stride or options.window,
        "max_length": embedder.max_length,
        "precision": options.precision,
        "dtype": options.dtype,
        "coordinates": "0-based, half-open, on the forward strand",
        "command": recorded_command("embed", options),
    }


def _bases_at_once(options: EmbedOptions, embedder: Embedder) -> int:
    """Bases of a piece of the run."""
    if embedder.pool == Pool.NONE:  # each base leaves thousands of bytes, so less is held at a time
        return (options.chunk or CHUNK_BASES) // 16
    return options.chunk or (_GPU_CHUNK_BASES if embedder.device.type == "cuda" else CHUNK_BASES)


def _check_finite(options: EmbedOptions, spans: Sequence[Span], vectors: list[Vectors]) -> None:
    """``vectors`` are one array of all spans, or one of each."""
    if all(np.isfinite(part).all() for part in vectors):
        return
    each = vectors if len(vectors) == len(spans) > 1 else vectors[0] if len(spans) > 1 else vectors
    for span, vector in zip(spans, each, strict=True):
        if len(span.tokens) and not np.isfinite(vector).all():
            raise ModelError(
                f"{options.model}: its states are not finite (first in {span.name} at {span.start:,}); its weights are "
                f"out of range for --precision {options.precision}, or it was damaged in training"
            )


def _places(spans: Sequence[Span], embedder: Embedder) -> Places:
    """The places of the vectors that the embedder gives for these spans, in their order."""
    places = Spans.of(spans).places
    return places.each_base() if embedder.pool == Pool.NONE else places
