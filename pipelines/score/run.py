"""The whole of ``genoconv score-variants``: from a VCF, a FASTA and a model to an annotated VCF."""

import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from genoconv.errors import Interrupted
from genoconv.genome.fasta.access import Fasta
from genoconv.pipelines.score.fields import Fields
from genoconv.pipelines.score.inputs import check_assembly, check_prefix, contig_names, selection
from genoconv.pipelines.score.outputs import WriteScores, check_outputs, check_positions, open_outputs
from genoconv.pipelines.score.plan import (
    ScoreRun,
    chunk_size,
    file_digest,
    gene_index,
    header_lines,
    place,
    score_settings,
)
from genoconv.progress import Advance, progress_bar
from genoconv.tasks.journal import Journal, journal_path
from genoconv.tasks.likelihood import CausalLikelihood
from genoconv.tasks.score import Score, VariantScorer, suffix_start
from genoconv.variants.alleles import Status
from genoconv.variants.chunks import chunks, shard_of
from genoconv.variants.header import repaired, with_fields
from genoconv.variants.reader import Record, VariantFile, open_variants
from genoconv.variants.reference import Reference
from genoconv.variants.survey import survey
from genoconv.variants.writer import output_kind

if TYPE_CHECKING:
    from genoconv.models.config import ModelConfig

log = logging.getLogger(__name__)

_MISMATCHES_NAMED = 5


@dataclass(slots=True)
class Summary:
    """What a run did; ``alleles`` counts them by status."""

    records: int = 0
    resumed: int = 0
    seconds: float = 0.0
    alleles: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        unscored = "".join(
            f", {count:,} {status}" for status, count in sorted(self.alleles.items()) if status != Status.OK
        )
        rate = (self.records - self.resumed) / self.seconds if self.seconds else 0.0
        again = f" ({self.resumed:,} from the interrupted run)" if self.resumed else ""
        return (
            f"{self.records:,} records{again}: {self.alleles[Status.OK]:,} alleles scored{unscored}; "
            f"{rate:,.{0 if rate >= 100 else 2}f} variants/s"
        )


def score_variants(run: ScoreRun) -> Summary:
    """Do it all; ``docs/score-variants.md`` says what is computed.

    Raises:
        UsageError: options that cannot be.
        DataError: an input that cannot be used; what is odd in a single record is survived and counted.
        ModelError: the model folder cannot be used.
        OutputError: an output exists already or cannot be written.
    """
    check_prefix(run.info_prefix)
    check_outputs(run.output, run.tsv, resume=run.resume, force=run.force)
    beside = next((path.parent for path in (run.output, run.tsv) if path is not None and str(path) != "-"), None)
    source = open_variants(run.vcf, spool_in=beside)
    for note in source.notes:
        log.warning("%s: %s", source.name, note)
    reference = Reference(Fasta(run.fasta))
    run = _settled(run)
    likelihood, sizes = _load(run)
    genes = gene_index(run, reference)
    settings = score_settings(run, genes=genes, sizes=sizes)
    if genes is None:
        likelihood.starts = {w: suffix_start(w, g) for w, g in zip(settings.widths, settings.grid, strict=True)}

    chosen = selection(source, regions=run.regions, regions_file=run.regions_file, pass_only=run.pass_only)
    with progress_bar("Reading variants", unit="records", quiet=run.quiet) as advance:
        found = survey(_counted(chosen.of(source.records()), advance), keys=not source.is_bcf)
    if not found.records:
        log.warning("%s: no record to write", source.name)
    names = contig_names(source, found, fasta=run.fasta, contigs=reference.contigs)
    if run.ref_mismatch == "stop":
        check_assembly(source, found, reference=reference, names=names)

    kind = output_kind(run.output, run.output_type)
    check_positions(source.name, found, kind=kind)

    fields = Fields(run.info_prefix, settings.widths, genes is not None, settings.reduce, settings.strand, run.explain)
    lengths = {name: reference.contigs[target] for name, target in names.items()}
    header, notes = repaired(source.header, found, lengths=lengths)
    for note in notes:
        log.warning("%s: %s", source.name, note)
    provenance = header_lines(run, settings, names, reference)
    header, replaced = with_fields(header, fields.info_fields(), provenance, companions=fields.companions())

    runs = chunks(
        chosen.of(source.records()),
        size=chunk_size(settings, genes=genes),
        place=place(settings, genes=genes, names=names),
    )
    if run.shard:
        runs = shard_of(runs, index=run.shard[0] - 1, count=run.shard[1], total=found.records)
    scorer = VariantScorer(likelihood, reference=reference, names=names, settings=settings)
    outputs = open_outputs(
        run.output,
        run.tsv,
        kind=kind,
        header=header,
        replaced=replaced,
        is_sorted=found.is_sorted,
        fields=fields,
        index=run.index,
    )
    with _journal(run, source, provenance) as journal:
        try:
            with outputs as write:
                summary = _score_all(run, runs, scorer, journal, write, total=found.records)
        except (KeyboardInterrupt, SystemExit) as stop:
            if journal is None:
                raise
            again = "the same call with --resume goes on after the last finished piece"
            if isinstance(stop, KeyboardInterrupt):
                raise Interrupted(again) from stop
            log.warning("stopped; %s", again)
            raise
    if journal is not None:
        journal.remove()
    return summary


def _counted(records: Iterator[Record], advance: Advance, *, step: int = 1000) -> Iterator[Record]:
    """The same records; ``advance`` hears of every thousand."""
    for number, record in enumerate(records, 1):
        if number % step == 0:
            advance(step)
        yield record


def _settled(run: ScoreRun) -> ScoreRun:
    """The run with the precision that it will have here, which the header tells and a resumed run must have too."""
    from genoconv.models.devices import resolve_precision

    return replace(run, precision=resolve_precision(run.precision, device=run.device))


def _load(run: ScoreRun) -> tuple[CausalLikelihood, "ModelConfig"]:
    """The model, ready to read, and its sizes."""
    from genoconv.models import load_model
    from genoconv.models.devices import DTYPES

    model = load_model(run.model, device=run.device, dtype=DTYPES[run.precision])
    device = next(model.parameters()).device
    longest = None if model.config.input_limit is None else model.config.max_bases
    return CausalLikelihood(model, device=device, max_length=longest, batch_size=run.batch_size), model.config


def _journal(
    run: ScoreRun, source: VariantFile, provenance: Mapping[str, str]
) -> AbstractContextManager[Journal | None]:
    output = next((path for path in (run.output, run.tsv) if path is not None and str(path) != "-"), None)
    if output is None:
        # Standard output cannot be gone on with.
        return nullcontext()
    path = journal_path(output)
    if path.exists() and not run.resume:
        log.warning("an earlier run towards %s was interrupted; this one starts again (--resume goes on)", output)
    described: dict[str, Any] = {
        **provenance,
        "input": file_digest(source.path),
        "regions file": None if run.regions_file is None else file_digest(run.regions_file),
        "shard": run.shard,
        "device": run.device,
        "batch size": run.batch_size,
    }
    return Journal(path, run=described, resume=run.resume)


def _score_all(
    run: ScoreRun,
    runs: Iterator[list[Record]],
    scorer: VariantScorer,
    journal: Journal | None,
    write: WriteScores,
    *,
    total: int,
) -> Summary:
    summary = Summary()
    began = time.monotonic()
    named = 0
    finished = journal.finished if journal is not None else []
    with progress_bar("Scoring", total=None if run.shard else total, unit="records", quiet=run.quiet) as advance:
        for records, before in zip(runs, itertools.chain(finished, itertools.repeat(None)), strict=False):
            if before is None:
                scores = scorer.score(records)
                if journal is not None:
                    journal.append(scores)
            else:
                scores = [[[Score(Status(s), *v) for s, *v in allele] for allele in record] for record in before]
                summary.resumed += len(records)
            for record, alleles in zip(records, scores, strict=True):
                write(record, alleles)
                statuses = [_overall(windows) for windows in alleles] or [Status.NO_ALT]
                summary.alleles.update(map(str, statuses))
                if Status.REF_MISMATCH in statuses and named < _MISMATCHES_NAMED:
                    named += 1
                    _name_mismatch(record, scorer)
            summary.records += len(records)
            advance(len(records))
    summary.seconds = time.monotonic() - began
    return summary


def _overall(windows: list[Score]) -> Status:
    """Ok only if every window has a score; else the first reason."""
    return next((score.status for score in windows if score.status != Status.OK), Status.OK)


def _name_mismatch(record: Record, scorer: VariantScorer) -> None:
    from genoconv.tokens import decode

    there = decode(
        scorer.reference.tokens(scorer.names[record.contig], record.start, min(record.end, record.start + 30))
    )
    log.warning(
        "%s:%d: REF is %s, the FASTA has %s; not scored",
        record.contig,
        record.start + 1,
        record.ref[:30],
        there or "nothing (outside the sequence)",
    )
