"""The whole of ``genoconv score-variants``: from a VCF, a FASTA and a model to an annotated VCF."""

import itertools
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from genoconv.digests import file_digest
from genoconv.errors import Interrupted, ModelError
from genoconv.pipelines.calibrated import Ranks
from genoconv.pipelines.score.fields import Fields
from genoconv.pipelines.score.header import header_lines
from genoconv.pipelines.score.inputs import Inputs, find_places, open_inputs, read_inputs
from genoconv.pipelines.score.multiqc import multiqc_files, write_multiqc
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.pipelines.score.outputs import Outputs, WriteScores
from genoconv.pipelines.score.plan import gene_index, piece_size, place, score_settings
from genoconv.pipelines.score.summary import Summary
from genoconv.progress import progress_bar
from genoconv.tasks.journal import Journal, journal_path
from genoconv.tasks.likelihood import CausalLikelihood
from genoconv.tasks.score import Score, Settings, VariantScorer
from genoconv.tokens import decode
from genoconv.variants.alleles import Status
from genoconv.variants.chunks import chunks, shard_of
from genoconv.variants.header import repaired, with_fields
from genoconv.variants.reader import Record
from genoconv.workfiles import claimed

if TYPE_CHECKING:
    from genoconv.models.hyena import HyenaDNA
    from genoconv.variants.genes import GeneIndex

log = logging.getLogger(__name__)

_MISMATCHES_NAMED = 5


def score_variants(options: ScoreOptions) -> Summary:
    """Do it all; ``docs/score-variants.md`` says what is computed.

    Raises:
        UsageError: options that cannot be combined, or an output that is an input.
        DataError: an input that cannot be used; what is unusual in a single record is kept and counted.
        ModelError: the model folder cannot be used.
        OutputError: an output exists already, cannot be written, or is being written by another process.
    """
    places = find_places(options)
    outputs = Outputs.of(options, places)
    sample, tables = multiqc_files(options)
    with claimed(*options.files):
        source, reference = open_inputs(options, places)
        options, model = _load(options)
        genes = gene_index(options, places, reference)
        settings = score_settings(options, genes=genes, sizes=model.config)
        inputs = read_inputs(options, places, source, reference)
        outputs.check_positions(inputs)
        provenance, cautions, calibration = header_lines(options, places, settings, inputs.names, reference)
        for caution in cautions:
            log.warning("%s: %s", options.model, caution)
        fields = Fields.of(options, settings, ranked=[table is not None for table in calibration.tables])
        header, replaced = _header(inputs, fields, provenance)
        outputs.check_records(header, inputs)
        likelihood = _likelihood(options, model, settings)
        scorer = VariantScorer(likelihood, reference=reference, names=inputs.names, settings=settings)
        ranks = Ranks(calibration, reference=reference, names=inputs.names)
        with _resumable(options, _described(options, inputs, provenance)) as journal:
            opened = outputs.open(header, replaced=replaced, fields=fields, is_sorted=inputs.survey.is_sorted)
            with opened as write:
                pieces = _pieces(options, inputs, settings, genes)
                summary = _score_all(options, pieces, scorer, ranks, journal, write, total=inputs.survey.records)
    for line in summary.warnings(settings, gene_lengths=genes.lengths if genes else {}):
        log.warning("%s", line)
    write_multiqc(sample, tables, summary)
    return summary


def _load(options: ScoreOptions) -> tuple[ScoreOptions, "HyenaDNA"]:
    """The model, and the options with the precision it has, which the header states and a resumed run must share."""
    from genoconv.models import load_model
    from genoconv.models.devices import DTYPES, resolve_precision

    precision = resolve_precision(options.precision, device=options.device)
    model = load_model(options.model, device=options.device, dtype=DTYPES[precision])
    return options.model_copy(update={"precision": precision}), model


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


def _likelihood(options: ScoreOptions, model: "HyenaDNA", settings: Settings) -> CausalLikelihood:
    return CausalLikelihood(
        model,
        device=next(model.parameters()).device,
        starts=settings.starts,
        max_length=settings.max_length,
        batch_size=options.batch_size,
    )


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
    """The journal of the run, which is kept if the block is interrupted; None where there is only standard output."""
    if not options.files:
        yield None
        return
    with Journal(journal_path(options.files[0]), run=described, resume=options.resume) as journal:
        try:
            yield journal
        except (KeyboardInterrupt, SystemExit) as stop:
            again = "the same call with --resume continues after the last finished piece"
            if isinstance(stop, KeyboardInterrupt):
                raise Interrupted(again) from stop
            log.warning("stopped; %s", again)
            raise
        journal.remove()


def _score_all(
    options: ScoreOptions,
    pieces: Iterator[list[Record]],
    scorer: VariantScorer,
    ranks: Ranks,
    journal: Journal | None,
    write: WriteScores,
    *,
    total: int,
) -> Summary:
    summary = Summary()
    began = time.monotonic()
    named = 0
    finished = journal.finished if journal is not None else []
    with progress_bar(
        "Scoring", total=None if options.shard else total, unit="records", quiet=options.quiet
    ) as advance:
        for records, before in zip(pieces, itertools.chain(finished, itertools.repeat(None)), strict=False):
            if before is None:
                scores = scorer.score(records, advance=advance)
                _check_finite(options, records, scores)
                scores = ranks.added(records, scores)
                if journal is not None:
                    journal.append(scores)
            else:
                scores = [[[Score(Status(s), *v) for s, *v in allele] for allele in record] for record in before]
                summary.resumed += len(records)
                advance(len(records))
            for record, alleles in zip(records, scores, strict=True):
                write(record, alleles)
                if Status.REF_MISMATCH in summary.add(alleles) and named < _MISMATCHES_NAMED:
                    named += 1
                    _name_mismatch(record, scorer)
    summary.seconds = time.monotonic() - began
    return summary


def _check_finite(options: ScoreOptions, records: Sequence[Record], scores: Sequence[list[list[Score]]]) -> None:
    for record, alleles in zip(records, scores, strict=True):
        if any(score.llr is not None and not math.isfinite(score.llr) for allele in alleles for score in allele):
            raise ModelError(
                f"{options.model}: its scores are not finite (first at {record.contig}:{record.start + 1:,}); its "
                f"weights are out of range for --precision {options.precision}, or it was damaged in training"
            )


def _name_mismatch(record: Record, scorer: VariantScorer) -> None:
    target = scorer.names[record.contig]
    there = decode(scorer.reference.tokens(target, record.start, min(record.end, record.start + 30)))
    log.warning(
        "%s:%d: REF is %s, the FASTA has %s; not scored",
        record.contig,
        record.start + 1,
        record.ref[:30],
        there or "nothing (outside the sequence)",
    )
