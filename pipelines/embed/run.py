"""The whole of ``genoconv embed``: from a FASTA and a model to a file of vectors."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from genoconv import __version__
from genoconv.atomic import refuse_inputs
from genoconv.errors import DataError, ModelError, UsageError
from genoconv.pipelines.embed.columns import Metadata
from genoconv.pipelines.embed.formats import Writer, files_of, writer_for
from genoconv.pipelines.embed.inputs import BedSpans, Counts, Source
from genoconv.pipelines.embed.options import EmbedOptions
from genoconv.pipelines.embed.report import Summary, report_longer, report_unusual
from genoconv.pipelines.embed.windows import FastaSpans
from genoconv.pipelines.forecast import Forecast, forecast
from genoconv.pipelines.loading import load, with_precision
from genoconv.pipelines.options import recorded_command
from genoconv.pipelines.pieces import StoppedError, alongside
from genoconv.pipelines.provenance import file_name
from genoconv.pipelines.references import genome_files
from genoconv.pipelines.resuming import Marked, marked, pass_over
from genoconv.pipelines.spool import Spool
from genoconv.pipelines.workers import chosen_devices, computed
from genoconv.progress import Advance, progress_bar
from genoconv.tasks.embed import Embedder, most_bases
from genoconv.tasks.journal import refuse_finished_pieces
from genoconv.tasks.pooling import Pool, Reading, Vectors
from genoconv.tasks.spans import Places, Span, Spans
from genoconv.workfiles import claimed

log = logging.getLogger(__name__)

# Bases of a run that is over before its time could be measured.
_SHORT = 1 << 18
_MEASURED_SPANS = 256


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
    options = with_precision(options)
    with claimed(options.output):
        refuse_finished_pieces(options.output, resume=options.resume, force=options.force)
        embedder = _load(options, _devices(options)[0])
        source = _source(options, fasta, embedder)
        with progress_bar("Checking", unit="bases", quiet=options.quiet) as advance:
            found = source.survey(advance)
        if found is not None:
            report_longer(found, embedder)
        expected = _forecast(options, source, embedder, found)
        if options.dry_run:
            assert expected is not None
            return expected
        return _spooled(options, source, embedder, write, found)


def _spooled(options: EmbedOptions, source: Source, embedder: Embedder, write: Writer, found: Counts | None) -> Summary:
    """Compute the rows into the spool, and meanwhile the output from it; an interrupted run leaves its spool."""
    facts = _facts(options, embedder)
    described = {**facts, **source.origin, "device": options.device, "batch size": options.batch_size}
    expected = None if found is None else found.bases if embedder.pool == Pool.NONE else found.spans
    finished: Future[Metadata] = Future()

    def write_all() -> None:
        if expected is None:
            finished.result()
        write(options.output, spool, finished.result)

    def stop() -> None:
        spool.stop()
        if not finished.done():
            finished.set_exception(StoppedError())

    with (
        Spool(
            options.output, width=embedder.width, dtype=options.dtype, run=described, resume=options.resume,
            expected=expected,
        ) as spool,
        spool.resumable(),
        alongside(write_all, stop=stop) as writing,
    ):  # fmt: skip
        total = None if found is None else found.bases
        summary = _embed_all(options, source, embedder, spool, total=total, writing=writing)
        if found is None:
            report_longer(source.counts, embedder)
        elif source.origin["input"] != source.digest() or spool.rows != expected:
            raise DataError(f"{source.name}: the file changed while it was being read; run the command again")
        report_unusual(source, options)
        with progress_bar("Writing", unit="files", quiet=options.quiet):
            finished.set_result({**facts, "genome": {"name": source.name, "sha256": source.digest()}})
            wait([writing])
    return summary


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
    return _work(_load(options, device))


def _work(embedder: Embedder) -> Callable[[Marked, Advance], list[Vectors]]:
    return lambda marked, advance: embedder.rows(marked[0], advance=advance)


def _forecast(options: EmbedOptions, source: Source, embedder: Embedder, found: Counts | None) -> Forecast | None:
    """How long the run will take; None, and nothing measured, where nobody asks or it is short.

    Raises:
        UsageError: a dry run of an input that can be read only once.
    """
    if found is None:
        if options.dry_run:
            raise UsageError(f"--dry-run: {source.name} can be read only once; write it to a file first")
        return None
    if not options.dry_run and (options.quiet or options.resume or found.bases < _SHORT):
        return None
    runs = source.runs(tokens=_SHORT)
    spans = (span for run in runs for span in run if len(span.tokens))
    some = [_shortened(span, embedder.max_length) for span in islice(spans, _MEASURED_SPANS)]

    def work(items: int) -> float:
        embedder.rows(some[:items])
        return sum(len(span.tokens) for span in some[:items])

    devices = _devices(options)
    expected = forecast(work, amount=found.bases, unit="bases", available=len(some), devices=devices)
    if not options.dry_run:
        log.info("%s", expected)
    return expected


def _shortened(span: Span, longest: int) -> Span:
    tokens = span.tokens[:longest]
    return span._replace(end=span.start + len(tokens), tokens=tokens)


def _load(options: EmbedOptions, device: str) -> Embedder:
    """The model, ready to read, with the options that it must allow."""
    from genoconv.models.published.special_tokens import Framing, SpecialTokens

    model = load(options, device=device)
    framing = Framing(SpecialTokens(options.special_tokens), options.left_padding)
    extra, blocks = framing.policy.extra, model.config.n_layer
    if framing.length is not None and not extra < framing.length <= model.config.max_length:
        raise UsageError(
            f"--hyenadna-left-padding {framing.length}: this model reads up to {model.config.max_length:,} tokens, "
            f"and {extra} of them {'is' if extra == 1 else 'are'} special; give {extra + 1} or more"
        )
    longest = most_bases(model.config, framing)
    unlimited = model.config.input_limit is None and framing.length is None
    for option, value in (("--window", options.window), ("--max-length", options.max_length)):
        if value is not None and not 1 <= value <= (value if unlimited else longest):
            beside = " beside the special tokens" if extra else ""
            raise UsageError(f"{option} {value}: this model reads 1 to {longest:,} bases at once{beside}")
    if options.layer is not None and not -blocks <= options.layer < blocks:
        raise UsageError(
            f"--layer {options.layer}: this model has {blocks} blocks, 0 to {blocks - 1} or -{blocks} to -1"
        )
    asked = max(options.window or 0, options.max_length or 0)
    if asked > longest:
        log.warning("%s", model.config.beyond(asked))
    return Embedder(
        model,
        pool=Pool(options.pool),
        reading=Reading(options.strand),
        layer=options.layer,
        max_length=options.max_length or (options.window if asked > longest else None),
        batch_size=options.batch_size,
        framing=framing,
    )


def _source(options: EmbedOptions, fasta: Path, embedder: Embedder) -> Source:
    if options.bed is not None:
        return BedSpans(fasta, options.bed, pieces=embedder.pieces)
    return FastaSpans(fasta, window=options.window, stride=options.stride, pieces=embedder.pieces)


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


def _embed_all(
    options: EmbedOptions,
    source: Source,
    embedder: Embedder,
    spool: Spool,
    *,
    total: int | None,
    writing: Future[None],
) -> Summary:
    """All pieces into the spool; ends early where ``writing`` the output has failed."""
    # Without pooling each base leaves thousands of bytes: less is held at a time.
    tokens = options.chunk // 16 if embedder.pool == Pool.NONE else options.chunk
    resumed = spool.rows
    began = time.monotonic()
    with progress_bar("Embedding", total=total, unit="bases", quiet=options.quiet) as advance:
        pieces = marked(source.runs(tokens=tokens), source.digest)
        skipped = pass_over(pieces, spool.finished, name=source.name, advance=advance)
        make = partial(_work_on, options=options)
        with computed(_work(embedder), make, _devices(options), pieces, advance=advance) as results:
            for (spans, digest), vectors in results:
                _check_finite(options, spans, vectors)
                spool.append(vectors, _places(spans, embedder), mark=digest)
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
