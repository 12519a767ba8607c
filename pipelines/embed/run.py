"""The whole of ``genoconv embed``: from a FASTA and a model to a file of vectors."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genoconv import __version__
from genoconv.errors import DataError, Interrupted, UsageError
from genoconv.pipelines.embed.formats import writer_for
from genoconv.pipelines.embed.inputs import BedSpans, Counts, FastaSpans, Odd, Source
from genoconv.pipelines.embed.spool import Row, Spool
from genoconv.pipelines.provenance import file_name, recorded_command
from genoconv.progress import progress_bar
from genoconv.tasks.embed import Embedder, Pool, Reading, Span, chunked, most_bases
from genoconv.tasks.journal import journal_path

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EmbedRun:
    """One call of ``genoconv embed``: the command's options by the same names.

    ``fasta`` may be ``Path("-")``. ``layer`` None is the last normalised states, ``max_length`` None the model's
    length, ``batch_size`` None goes by memory. ``special_tokens`` and ``left_padding`` are the command's
    ``--hyenadna-special-tokens`` and ``--hyenadna-left-padding``. ``chunk`` is how many bases are read between two
    saves; it does not matter to the vectors beyond rounding.
    """

    fasta: Path
    model: Path
    output: Path
    bed: Path | None = None
    window: int | None = None
    stride: int | None = None
    pool: str = "mean"
    layer: int | None = None
    strand: str = "forward"
    special_tokens: str = "none"
    left_padding: int | None = None
    max_length: int | None = None
    dtype: str = "float32"
    batch_size: int | None = None
    device: str = "auto"
    precision: str = "auto"
    resume: bool = False
    force: bool = False
    quiet: bool = False
    chunk: int = 1 << 20


@dataclass(slots=True)
class Summary:
    """What a run did."""

    output: Path
    counts: Counts
    intervals: bool
    rows: int
    width: int
    resumed: int
    bases: int
    seconds: float

    def __str__(self) -> str:
        rate = self.bases / self.seconds if self.seconds else 0.0
        again = f" ({self.resumed:,} from the interrupted run)" if self.resumed else ""
        read = _number(self.counts.records, "interval" if self.intervals else "record")
        return (
            f"{self.output}: {read}, {_number(self.rows, 'row')} of {self.width}{again}, "
            f"{_number(self.counts.bases, 'base')}; {rate:,.0f} bases/s"
        )


def embed(run: EmbedRun) -> Summary:
    """Do it all; ``docs/embed.md`` says what is computed.

    Raises:
        UsageError: options that cannot be.
        DataError: an input that cannot be used.
        ModelError: the model folder cannot be used.
        OutputError: an output exists already or cannot be written.
    """
    write = writer_for(run.output, force=run.force)
    _check(run)
    run = _settled(run)
    embedder = _load(run)
    source = _source(run, embedder)
    with progress_bar("Checking", unit="bases", quiet=run.quiet) as advance:
        found = source.survey(advance)
    if found is not None:
        _say_longer(found, embedder)
    if journal_path(run.output).exists() and not run.resume:
        log.warning("an earlier run towards %s was interrupted; this one starts again (--resume goes on)", run.output)
    facts = _facts(run, embedder)
    described = {**facts, **source.origin, "device": run.device, "batch size": run.batch_size}
    with Spool(run.output, width=embedder.width, dtype=run.dtype, run=described, resume=run.resume) as spool:
        try:
            summary = _embed_all(run, source, embedder, spool, total=None if found is None else found.bases)
            if found is None:
                _say_longer(source.counts, embedder)
            elif source.origin["input"] != source.digest():
                raise DataError(f"{run.fasta}: the file has changed while it was read; run again")
            _say_odd(source.counts, run)
            with progress_bar("Writing", unit="files", quiet=run.quiet):
                write(run.output, spool, {**facts, "genome": {"name": source.name, "sha256": source.digest()}})
        except BaseException as stop:
            if not spool.rows:
                spool.remove()
                raise
            again = "finished rows are kept; the same call with --resume goes on from them"
            if isinstance(stop, KeyboardInterrupt):
                raise Interrupted(again) from stop
            log.warning("%s: %s", run.output, again)
            raise
        spool.remove()
    return summary


def _check(run: EmbedRun) -> None:
    if run.bed is not None and run.window is not None:
        raise UsageError("--window lays windows over whole records, --bed takes intervals; give one of the two")
    if run.stride is not None and run.window is None:
        raise UsageError("--stride is the distance between windows; give their length with --window")
    if run.left_padding is not None and run.special_tokens == "none":
        raise UsageError("--hyenadna-left-padding goes with --hyenadna-special-tokens sep or cls-sep; give both")


def _settled(run: EmbedRun) -> EmbedRun:
    """The run with the precision that it will have here, so that a resumed one has the same."""
    from genoconv.models.devices import resolve_precision

    return replace(run, precision=resolve_precision(run.precision, device=run.device))


def _load(run: EmbedRun) -> Embedder:
    """The model, ready to read, with the options that it must allow."""
    from genoconv.models import load_model
    from genoconv.models.devices import DTYPES
    from genoconv.models.published.special_tokens import Framing, SpecialTokens

    model = load_model(run.model, device=run.device, dtype=DTYPES[run.precision])
    framing = Framing(SpecialTokens(run.special_tokens), run.left_padding)
    extra, blocks = framing.policy.extra, model.config.n_layer
    if framing.length is not None and not extra < framing.length <= model.config.max_length:
        raise UsageError(
            f"--hyenadna-left-padding {framing.length}: this model reads up to {model.config.max_length:,} tokens, "
            f"and {extra} of them {'is' if extra == 1 else 'are'} special; give {extra + 1} or more"
        )
    longest = most_bases(model.config, framing)
    for option, value in (("--window", run.window), ("--max-length", run.max_length)):
        if value is not None and not 1 <= value <= longest:
            beside = " beside the special tokens" if extra else ""
            raise UsageError(f"{option} {value}: this model reads 1 to {longest:,} bases at once{beside}")
    if run.layer is not None and not -blocks <= run.layer < blocks:
        raise UsageError(f"--layer {run.layer}: this model has {blocks} blocks, 0 to {blocks - 1} or -{blocks} to -1")
    return Embedder(
        model,
        pool=Pool(run.pool),
        reading=Reading(run.strand),
        layer=run.layer,
        max_length=run.max_length,
        batch_size=run.batch_size,
        framing=framing,
    )


def _source(run: EmbedRun, embedder: Embedder) -> Source:
    if run.bed is not None:
        return BedSpans(run.fasta, run.bed, pieces=embedder.pieces)
    return FastaSpans(run.fasta, window=run.window, stride=run.stride, pieces=embedder.pieces)


def _facts(run: EmbedRun, embedder: Embedder) -> dict[str, Any]:
    """What the output says of itself, and what a resumed run must agree with; the genome is known at the end."""
    from genoconv.models import model_digest

    options = {
        "--bed": run.bed,
        "--window": run.window,
        "--stride": run.stride,
        "--pool": run.pool,
        "--layer": run.layer,
        "--strand": run.strand,
        "--hyenadna-special-tokens": None if run.special_tokens == "none" else run.special_tokens,
        "--hyenadna-left-padding": run.left_padding,
        "--max-length": run.max_length,
        "--dtype": run.dtype,
        "--precision": run.precision,
    }
    command = recorded_command("embed", {"fasta": run.fasta, "--model": run.model, **options})
    framed = {"special_tokens": run.special_tokens, "left_padding": run.left_padding}
    return {
        "genoconv": __version__,
        "model": {"name": file_name(run.model), "sha256": model_digest(run.model)},
        "rows": "intervals" if run.bed else "windows" if run.window else "records",
        "per_base": embedder.pool == Pool.NONE,
        "pool": run.pool,
        "layer": "last, normalised" if run.layer is None else run.layer % embedder.model.config.n_layer,
        "strand": run.strand,
        **(framed if run.special_tokens != "none" else {}),
        "window": run.window,
        "stride": run.stride or run.window,
        "max_length": embedder.max_length,
        "precision": run.precision,
        "dtype": run.dtype,
        "coordinates": "0-based, half-open, on the forward strand",
        "command": command,
    }


def _embed_all(run: EmbedRun, source: Source, embedder: Embedder, spool: Spool, *, total: int | None) -> Summary:
    # Without a pool a base leaves thousands of bytes: less is held at a time.
    tokens = run.chunk // 16 if embedder.pool == Pool.NONE else run.chunk
    finished = list(spool.finished)
    resumed, skipped = spool.rows, 0
    number = -1
    began = time.monotonic()
    with progress_bar("Embedding", total=total, unit="bases", quiet=run.quiet) as advance:
        for number, spans in enumerate(chunked(source.spans(), tokens=tokens)):
            if number < len(finished):
                if finished[number] != source.digest():
                    raise UsageError(
                        f"--resume: {source.name} is not, up to {spans[-1].name}, what the interrupted run read; "
                        "give the same input, or leave --resume out to start again"
                    )
                bases = sum(len(span.tokens) for span in spans)
                skipped += bases
                advance(bases)
                continue
            vectors = embedder(spans, advance=advance)
            spool.append(vectors, list(_rows(spans, embedder)), mark=source.digest())
    if number + 1 < len(finished):
        raise UsageError(f"--resume: {source.name} ends before where the interrupted run was; give the same input")
    seconds = time.monotonic() - began
    counts = source.counts
    return Summary(
        run.output, counts, run.bed is not None, spool.rows, embedder.width, resumed, counts.bases - skipped, seconds
    )


def _rows(spans: list[Span], embedder: Embedder) -> Iterator[Row]:
    """The places of the vectors that the embedder gives for these spans, in their order."""
    for span in spans:
        if embedder.pool != Pool.NONE:
            yield Row(span.name, span.contig, span.start, span.end, span.strand)
            continue
        positions = range(span.start, span.end)
        for position in reversed(positions) if span.strand == "-" else positions:
            yield Row(span.name, span.contig, position, position + 1, span.strand)


def _say_longer(counts: Counts, embedder: Embedder) -> None:
    if counts.longer:
        how = {
            Pool.MEAN: "in {} windows, and averaged over all bases",
            Pool.MAX: "in {} windows, and the maximum taken over all",
            Pool.LAST: "at their end only, the last bases that fit",
            Pool.NONE: "in {} windows, which do not see each other",
        }[embedder.pool]
        log.info(
            "%s longer than the %s bases that are read at once: read %s",
            f"{_number(counts.longer, 'sequence')} {'is' if counts.longer == 1 else 'are'}",
            f"{embedder.max_length:,}",
            how.format(f"{counts.pieces:,}"),
        )


def _say_odd(counts: Counts, run: EmbedRun) -> None:
    if counts.empty.count:
        row = "has no row" if run.window or run.pool == Pool.NONE else "is a row of NaN"
        log.warning("%s: %s; each %s", run.fasta, _some(counts.empty, "without a base"), row)
    if counts.unknown.count:
        log.warning("%s: %s; the vectors say nothing", run.fasta, _some(counts.unknown, "without A, C, G or T"))


def _some(odd: Odd, what: str) -> str:
    return f"{_number(odd.count, 'sequence')} {what} (first: {odd.first})"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
