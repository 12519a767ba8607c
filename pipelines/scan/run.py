"""The whole of ``genoconv scan``: from a genome and a model to the scores of every SNV."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genoconv import __version__
from genoconv.atomic import refuse_existing, refuse_inputs, refuse_not_utf8, refuse_unwritable
from genoconv.errors import UsageError
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.fasta.digests import digest_of_md5s, md5s_of
from genoconv.models.checkpoint import model_digest, model_files
from genoconv.pipelines.calibrated import Found, Wanted, find_calibration
from genoconv.pipelines.forecast import Forecast
from genoconv.pipelines.loading import load, with_precision
from genoconv.pipelines.options import recorded_command
from genoconv.pipelines.pieces import alongside
from genoconv.pipelines.provenance import file_name
from genoconv.pipelines.references import GenomeFiles, genome_files
from genoconv.pipelines.resuming import resumable
from genoconv.pipelines.scan.estimate import estimate
from genoconv.pipelines.scan.formats import Array, files_of, format_of, refuse_foreign
from genoconv.pipelines.scan.geometry import geometry
from genoconv.pipelines.scan.options import ScanOptions
from genoconv.pipelines.scan.plot import check_plot, draw
from genoconv.pipelines.scan.spans import Span, find_spans, pieces
from genoconv.pipelines.scan.spool import Spool
from genoconv.pipelines.scan.writing import Writing
from genoconv.pipelines.score.cautions import cautions
from genoconv.pipelines.workers import chosen_devices, computed
from genoconv.progress import Advance, progress_bar
from genoconv.tasks.batching import fetching
from genoconv.tasks.calibration import Table
from genoconv.tasks.journal import refuse_finished_pieces
from genoconv.tasks.scan import Scanner, numbers_of
from genoconv.tasks.tiling import Tiles
from genoconv.tracks.blocks import COLUMNS
from genoconv.variants.reference import Reference
from genoconv.wording import count
from genoconv.workfiles import claimed

if TYPE_CHECKING:
    from genoconv.models.hyena import HyenaDNA

log = logging.getLogger(__name__)

_PIECE_POSITIONS = (1 << 13, 1 << 19)
_PIECES = 32
# Positions of a run that is over before its time could be measured.
_SHORT = 1 << 16


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did."""

    output: Path
    positions: int
    resumed: int
    seconds: float
    files: tuple[Path, ...] = ()

    def counts(self) -> dict[str, float | None]:
        """What ``--json`` says of the run."""
        return {
            "positions": self.positions,
            "positions_resumed": self.resumed,
            "scanning_seconds": round(self.seconds, 3),
        }

    def __str__(self) -> str:
        rate = (self.positions - self.resumed) / self.seconds if self.seconds else 0.0
        again = f" ({self.resumed:,} from the interrupted run)" if self.resumed else ""
        return f"{self.output}: {count(self.positions, 'position')}{again}; {rate:,.0f} positions/s"


def scan(options: ScanOptions) -> Summary | Forecast:
    """Do it all; ``docs/scan.md`` says what is computed.

    Raises:
        UsageError: options that cannot be combined.
        DataError: an input that cannot be used.
        ModelError: the model folder cannot be used.
        OutputError: an output exists already, cannot be written, or is being written by another process.
    """
    wanted = format_of(options.output)
    named = options.annotation or options.genes
    genome = genome_files(options.fasta, options.genome, annotation=named, offline=options.offline, quiet=options.quiet)
    fasta = genome.fasta
    reference = Reference(Fasta(fasta))
    spans = find_spans(options, fasta=fasta, contigs=reference.contigs, aliases=genome.aliases)
    files = files_of(options.output, list(dict.fromkeys(span.contig for span in spans)))
    _check_outputs(options, files, spans, fasta=fasta)
    genes = None if options.plot is None else _genes(spans, reference, genome)
    with claimed(options.output):
        refuse_finished_pieces(options.output, resume=options.resume, force=options.force)
        options, devices = with_precision(options), chosen_devices(options.devices, device=options.device)
        scanner = _scanner(options, load(options, device=devices[0]), reference)
        mine = _shard(options, spans, scanner)
        with numbers_of(options.model):
            expected = _expected(options, mine, scanner, devices)
        if options.dry_run:
            assert expected is not None
            return expected
        facts, table = _facts(options, scanner, fasta=fasta, spans=spans)
        run = {**facts, "shard": options.shard, "device": options.device, "batch size": options.batch_size}
        spooled = Spool(options.output, columns=wanted.columns, dtype=wanted.dtype, run=run, resume=options.resume)
        with spooled as spool, resumable(options.output, kept="positions", finished=spool.kept):
            spans = [span for piece in mine for span in piece]
            output = Writing(options, spans, reference=reference, spool=spool, facts=facts, table=table)
            with alongside(output, stop=spool.stop) as writing:
                summary = _scan_all(options, mine, scanner, spool, devices, writing)
                output.show(writing)
            drawn = [] if options.plot is None else list(output.blocks())
            spool.remove()
        # The output is complete, so that there is nothing to resume where the drawing fails.
        if options.plot is not None:
            draw(options.plot, drawn, genes=genes)
    return replace(summary, files=tuple(files))


def _check_outputs(options: ScanOptions, files: Sequence[Path], spans: Sequence[Span], *, fasta: Path) -> None:
    every = [options.output, *files, *([] if options.plot is None else [options.plot])]
    inputs = {"FASTA": fasta, "--bed": options.bed, "--genes": options.genes, "--annotation": options.annotation}
    inputs |= {f"--model ({path.name})": path for path in model_files(options.model)}
    refuse_inputs(every, inputs=inputs)
    for path in every:
        refuse_existing(path, force=options.force)
        if path.suffix == ".bw":
            refuse_not_utf8(path, by="a bigWig")
    refuse_foreign(options.output)
    if options.annotation is not None and options.plot is None:
        raise UsageError("--annotation needs --plot; to select positions, use --genes")
    if options.plot is not None:
        if not format_of(options.output).columns >= 4 or options.output.name.endswith(".bw"):
            raise UsageError("--plot goes with .tsv.gz, .vcf.gz, .parquet, .npy and .zarr outputs")
        check_plot(options.plot, spans)
        refuse_unwritable(options.plot)


def _work_on(device: str, *, options: ScanOptions, fasta: Path) -> Callable[[list[Span], Advance], list[Array]]:
    """What a process of ``--devices`` does with a piece."""
    return _work(options, _scanner(options, load(options, device=device), Reference(Fasta(fasta))))


def _work(options: ScanOptions, scanner: Scanner) -> Callable[[list[Span], Advance], list[Array]]:
    """``work(piece, advance)``: the values that the output keeps of a piece."""
    wanted = format_of(options.output)

    def work(piece: list[Span], advance: Advance) -> list[Array]:
        tiles = Tiles.joined([scanner.tiles(*span) for span in piece])
        return scanner.read(tiles, take=lambda one: fetching(wanted.reduce(one)), advance=advance)

    return work


def _expected(
    options: ScanOptions, mine: Sequence[list[Span]], scanner: Scanner, devices: list[str]
) -> Forecast | None:
    """How long the run will take; None, and nothing measured, where nobody asks or it is short."""
    total = sum(span.end - span.start for piece in mine for span in piece)
    if not options.dry_run and (options.quiet or options.resume or total < _SHORT):
        return None
    expected = estimate(options.output, mine, scanner, devices)
    if not options.dry_run:
        log.info("%s", expected)
    return expected


def _scanner(options: ScanOptions, model: "HyenaDNA", reference: Reference) -> Scanner:
    laid = geometry(model.config, window=options.window, context=options.context)
    return laid.scanner(model, reference, batch_size=options.batch_size)


def _shard(options: ScanOptions, spans: Sequence[Span], scanner: Scanner) -> list[list[Span]]:
    """The pieces of this run; those of all shards together are the pieces of a whole run."""
    total = sum(span.end - span.start for span in spans)
    least, most = _PIECE_POSITIONS
    size = max(least, min(most, total // _PIECES))
    every = pieces(spans, size=size, step=scanner.step)
    if options.shard is None:
        return list(every)
    part, count = options.shard
    found, first = [], 0
    for piece in every:
        if first * count // max(total, 1) == part - 1:
            found.append(piece)
        first += sum(span.end - span.start for span in piece)
    if not found:
        raise UsageError(f"--shard {part}/{count}: there is too little to scan for {count} parts; use fewer")
    return found


def _facts(
    options: ScanOptions, scanner: Scanner, *, fasta: Path, spans: Sequence[Span]
) -> tuple[dict[str, Any], Table | None]:
    """What the output says about how it came about, and the model's calibration where it holds for the run."""
    used = {span.contig for span in spans}
    total = sum(scanner.reference.contigs[contig] for contig in used)
    with progress_bar("Reading the reference", total=total, unit="bases", quiet=options.quiet) as advance:
        md5s = md5s_of(scanner.reference.fasta, used, advance=advance)
    doubts = cautions(options.model, reference=md5s, fasta=fasta)
    for doubt in doubts:
        log.warning("%s: %s", options.model, doubt)
    calibration = Found((None,))
    if format_of(options.output).columns == COLUMNS:  # the others have no place for ranks
        wanted = Wanted("site", "both", (scanner.window,), scanner.context)
        calibration = find_calibration(options.model, wanted, reference=md5s.values(), fasta=fasta)
    facts = {
        "version": __version__,
        "command": recorded_command("scan", options),
        "model": f"name={file_name(options.model)};sha256={model_digest(options.model)}",
        "reference": f"name={file_name(fasta)};sha256={digest_of_md5s(md5s)}",
        "scan": f"window={scanner.window};context={scanner.context};step={scanner.step};"
        "sign=negative means less likely than REF",
    }
    if calibration:
        facts["calibration"] = calibration.line
    return ({**facts, "caution": "; ".join(doubts)} if doubts else facts), calibration.tables[0]


def _scan_all(
    options: ScanOptions,
    mine: Sequence[list[Span]],
    scanner: Scanner,
    spool: Spool,
    devices: list[str],
    writing: Future[None],
) -> Summary:
    """All pieces into the spool; ends early where ``writing`` the output has failed."""
    sizes = [sum(span.end - span.start for span in piece) for piece in mine]
    resumed = sum(sizes[: spool.finished])
    began = time.monotonic()
    with progress_bar("Scanning", total=sum(sizes), unit="positions", quiet=options.quiet) as advance:
        advance(resumed)
        left = mine[spool.finished :]
        make = partial(_work_on, options=options, fasta=scanner.reference.fasta.path)
        compute = computed(_work(options, scanner), make, devices, left, advance=advance)
        with numbers_of(options.model), compute as results:
            for _, rows in results:
                spool.append(rows)
                if writing.done():
                    writing.result()
        spool.flush()
    return Summary(options.output, sum(sizes), resumed, time.monotonic() - began)


def _genes(spans: Sequence[Span], reference: Reference, genome: GenomeFiles) -> Any:
    """Genes that overlap the region that is drawn; None without an annotation."""
    if genome.annotation is None:
        return None
    from genoconv.genome.annotation.genes import read_genes

    genes = read_genes(genome.annotation, contigs=reference.contigs, aliases=genome.aliases, fasta=reference.fasta.path)
    first, last = spans[0].start, spans[-1].end
    return genes[(genes["contig"] == spans[0].contig) & (genes["start"] < last) & (genes["end"] > first)]
