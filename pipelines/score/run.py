"""The whole of ``genoconv score-variants``: from a VCF, a FASTA and a model to an annotated VCF."""

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genoconv.digests import file_digest
from genoconv.genome.fasta.access import Fasta
from genoconv.pipelines.calibrated import Found, Ranks
from genoconv.pipelines.forecast import Forecast, forecast
from genoconv.pipelines.loading import load, with_precision
from genoconv.pipelines.references import genome_files
from genoconv.pipelines.resuming import resumable
from genoconv.pipelines.score.fields import Fields
from genoconv.pipelines.score.header import header_lines
from genoconv.pipelines.score.inputs import Inputs, open_inputs, read_inputs
from genoconv.pipelines.score.multiqc import multiqc_files, write_multiqc
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.pipelines.score.outputs import Outputs, WriteResult
from genoconv.pipelines.score.plan import gene_index, piece_size, place, score_settings
from genoconv.pipelines.score.results import Formatting, Mismatches, Result, check_finite
from genoconv.pipelines.score.summary import Summary
from genoconv.pipelines.workers import chosen_devices, computed, sharing
from genoconv.progress import Advance, progress_bar
from genoconv.tasks.journal import Journal, journal_path
from genoconv.tasks.likelihood import CausalLikelihood
from genoconv.tasks.planning import Settings
from genoconv.tasks.score import Score, VariantScorer
from genoconv.variants.alleles import Status
from genoconv.variants.chunks import chunks, shard_of
from genoconv.variants.header import repaired, with_fields
from genoconv.variants.records import Record
from genoconv.variants.reference import Reference
from genoconv.workfiles import claimed

if TYPE_CHECKING:
    from genoconv.models.hyena import HyenaDNA
    from genoconv.variants.genes import GeneIndex

log = logging.getLogger(__name__)

# Records of a run that is over before its time could be measured.
_SHORT = 1000
_MEASURED_RECORDS = 1024
# Records of a run that is worth several processes on one GPU.
_LONG = 60_000

Compute = Callable[..., AbstractContextManager[Iterator[tuple[list[Record], Result]]]]
"""``compute(pieces, advance=)``: see :func:`genoconv.pipelines.workers.computed`."""


def score_variants(options: ScoreOptions) -> Summary | Forecast:
    """Do it all; ``docs/score-variants.md`` says what is computed.

    Raises:
        UsageError: options that cannot be combined, or an output that is an input.
        DataError: an input that cannot be used; what is unusual in a single record is kept and counted.
        ModelError: the model folder cannot be used.
        OutputError: an output exists already, cannot be written, or is being written by another process.
    """
    genome = genome_files(
        options.fasta, options.genome, annotation=options.annotation, offline=options.offline, quiet=options.quiet
    )
    outputs = Outputs.of(options, genome)
    sample, tables = multiqc_files(options)
    with claimed(*options.files):
        source, reference = open_inputs(options, genome)
        options, devices = with_precision(options), chosen_devices(options.devices, device=options.device)
        model = load(options, device=devices[0])
        genes = gene_index(options, genome, reference)
        settings = score_settings(options, genes=genes, sizes=model.config)
        inputs = read_inputs(options, genome, source, reference)
        outputs.check_positions(inputs)
        provenance, cautions, calibration = header_lines(options, genome, settings, inputs.names, reference)
        for caution in cautions:
            log.warning("%s: %s", options.model, caution)
        ranked = [table is not None for table in calibration.tables]
        fields = Fields.of(options, settings, ranked=ranked, **_outputs(options))
        header, replaced = _header(inputs, fields, provenance)
        outputs.check_records(header, inputs)
        scorer = _scorer(options, model, reference, inputs.names, settings)
        expected = _forecast(options, inputs, scorer, devices)
        if options.dry_run:
            assert expected is not None
            return expected
        kind = None if outputs.vcf is None else outputs.kind
        formatting = Formatting(fields, tuple(header), replaced, kind, outputs.table is not None)
        make = partial(
            _work_on,
            options=options,
            fasta=genome.fasta,
            names=inputs.names,
            settings=settings,
            calibration=calibration,
            formatting=formatting,
        )
        devices = sharing(devices, asked=options.devices, long=_amount(options, inputs) >= _LONG)
        compute = partial(computed, _work(options, scorer, calibration, formatting), make, devices)
        with (
            _resumable(options, _described(options, inputs, provenance)) as journal,
            outputs.open(header, fields=fields, is_sorted=inputs.survey.is_sorted) as write,
        ):
            pieces = _pieces(options, inputs, settings, genes)
            total = inputs.survey.records
            summary = _score_all(options, pieces, scorer, formatting, journal, write, compute, total=total)
    for line in summary.warnings(settings, gene_lengths=genes.lengths if genes else {}):
        log.warning("%s", line)
    write_multiqc(sample, tables, summary)
    return summary


def _outputs(options: ScoreOptions) -> dict[str, Any]:
    """Of a fine-tuned model, what :meth:`.Fields.of` takes; nothing of others."""
    from genoconv.models.checkpoint import read_head

    head = read_head(options.model)
    return {} if head is None else {"outputs": head.columns, "per_base": head.per_base}


def _work_on(
    device: str,
    *,
    options: ScoreOptions,
    fasta: Path,
    names: dict[str, str],
    settings: Settings,
    calibration: Found,
    formatting: Formatting,
) -> Callable[[list[Record], Advance], Result]:
    """What a process of ``--devices`` does with a piece."""
    scorer = _scorer(options, load(options, device=device), Reference(Fasta(fasta)), names, settings)
    return _work(options, scorer, calibration, formatting)


def _work(
    options: ScoreOptions, scorer: VariantScorer, calibration: Found, formatting: Formatting
) -> Callable[[list[Record], Advance], Result]:
    ranks = Ranks(calibration, reference=scorer.reference, names=scorer.names)
    made = formatting.maker()

    def work(records: list[Record], advance: Advance) -> Result:
        found = scorer.score(records, advance=advance)
        check_finite(records, found, model=options.model, precision=options.precision)
        return made(records, ranks.added(records, found))

    return work


def _amount(options: ScoreOptions, inputs: Inputs) -> int:
    """Records of this run, about."""
    return inputs.survey.records // (options.shard[1] if options.shard else 1)


def _forecast(options: ScoreOptions, inputs: Inputs, scorer: VariantScorer, devices: list[str]) -> Forecast | None:
    """How long the run will take; None, and nothing measured, where nobody asks or it is short."""
    total = _amount(options, inputs)
    if not options.dry_run and (options.quiet or options.resume or total < _SHORT):
        return None
    some = list(itertools.islice(inputs.records(), _MEASURED_RECORDS))

    def work(items: int) -> float:
        scorer.score(some[:items])
        return items

    expected = forecast(work, amount=total, unit="records", available=len(some), devices=devices)
    if not options.dry_run:
        log.info("%s", expected)
    return expected


def _pieces(
    options: ScoreOptions, inputs: Inputs, settings: Settings, genes: "GeneIndex | None"
) -> Iterator[list[Record]]:
    """The records in pieces that are scored as one; with ``--shard``, those of this part."""
    total = inputs.survey.records
    size = piece_size(settings, genes=genes, total=total)
    pieces = chunks(inputs.records(), size=size, place=place(settings, genes=genes, names=inputs.names))
    if options.shard is None:
        return pieces
    part, count = options.shard
    return shard_of(pieces, index=part - 1, count=count, total=total)


def _scorer(
    options: ScoreOptions, model: "HyenaDNA", reference: Reference, names: Mapping[str, str], settings: Settings
) -> VariantScorer:
    from genoconv.models.heads import Predictor
    from genoconv.tasks.deltas import HeadOutputs

    head = HeadOutputs(model, batch_size=options.batch_size) if isinstance(model, Predictor) else None
    likelihood = CausalLikelihood(
        model,
        device=next(model.parameters()).device,
        starts=settings.starts,
        max_length=settings.max_length,
        batch_size=options.batch_size,
    )
    return VariantScorer(likelihood, reference=reference, names=names, settings=settings, head=head)


def _header(inputs: Inputs, fields: Fields, provenance: Mapping[str, str]) -> tuple[list[str], frozenset[str]]:
    """The header to write, and the INFO keys whose values in the input are replaced."""
    lengths = {name: inputs.reference.contigs[target] for name, target in inputs.names.items()}
    header, notes = repaired(inputs.source.header, inputs.survey, lengths=lengths)
    for note in notes:
        log.warning("%s: %s", inputs.source.name, note)
    return with_fields(header, fields.info_fields(), provenance, companions=fields.companions())


def _described(options: ScoreOptions, inputs: Inputs, provenance: Mapping[str, str]) -> dict[str, Any]:
    """What a resumed run must have in common with the interrupted one."""
    return {
        **provenance,
        "input": file_digest(inputs.source.path),
        "regions file": None if options.regions_file is None else file_digest(options.regions_file),
        "shard": options.shard,
        "device": options.device,
        "batch size": options.batch_size,
    }


@contextmanager
def _resumable(options: ScoreOptions, described: Mapping[str, Any]) -> Iterator[Journal | None]:
    """The journal of the run, kept with its finished pieces if the run ends early; None for standard output alone."""
    if not options.files:
        yield None
        return
    with Journal(journal_path(options.files[0]), run=described, resume=options.resume) as journal:
        try:
            with resumable(options.files[0], kept="records", finished=lambda: journal.pieces):
                yield journal
        except BaseException:
            if not journal.pieces:
                journal.remove()
            raise
        journal.remove()


def _score_all(
    options: ScoreOptions,
    pieces: Iterator[list[Record]],
    scorer: VariantScorer,
    formatting: Formatting,
    journal: Journal | None,
    write: WriteResult,
    compute: Compute,
    *,
    total: int,
) -> Summary:
    summary = Summary()
    began = time.monotonic()
    mismatches = Mismatches(scorer)

    def put(records: list[Record], result: Result) -> None:
        write(result)
        summary.join(result.summary)
        mismatches.report([records[number] for number in result.mismatches])

    with progress_bar(
        "Scoring", total=None if options.shard else total, unit="records", quiet=options.quiet
    ) as advance:
        made = formatting.maker()
        for before, records in zip(journal.finished if journal is not None else (), pieces, strict=False):
            put(records, made(records, [[[Score(Status(s), *v) for s, *v in alt] for alt in one] for one in before]))
            summary.resumed += len(records)
            advance(len(records))
        with compute(pieces, advance=advance) as results:
            for records, result in results:
                if journal is not None:
                    journal.append(result.journal)
                put(records, result)
    summary.seconds = time.monotonic() - began
    return summary
