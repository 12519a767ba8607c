"""The whole of ``genoconv score-variants``: from a VCF, a FASTA and a model to an annotated VCF."""

import hashlib
import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genoconv import __version__
from genoconv.errors import UsageError
from genoconv.genome.digests import digest_of
from genoconv.genome.fasta import Fasta
from genoconv.pipelines.provenance import file_name, recorded_command
from genoconv.pipelines.score_fields import Fields
from genoconv.pipelines.score_inputs import (
    check_assembly,
    check_prefix,
    contig_names,
    longest_allele,
    selection,
    window_widths,
)
from genoconv.pipelines.score_outputs import WriteScores, check_outputs, open_outputs
from genoconv.progress import progress_bar
from genoconv.tasks.journal import Journal, journal_path
from genoconv.tasks.likelihood import CausalLikelihood
from genoconv.tasks.score import GeneWindow, Reduce, Score, Settings, Strand, VariantScorer, suffix_start
from genoconv.variants.alleles import Status
from genoconv.variants.chunks import chunks, shard_of
from genoconv.variants.header import repaired, with_fields
from genoconv.variants.reader import Record, VariantFile, open_variants
from genoconv.variants.reference import Reference
from genoconv.variants.survey import survey
from genoconv.variants.writer import output_kind

log = logging.getLogger(__name__)

_CHUNK_TOKENS = 1 << 22
_MISMATCHES_NAMED = 5


@dataclass(frozen=True, slots=True)
class ScoreRun:
    """One call of ``genoconv score-variants``: the command's options by the same names.

    ``output`` and ``tsv`` are None where they are not wanted; ``Path("-")`` is standard output. ``windows`` empty
    and ``strand`` None stand for the defaults that depend on the model and on ``context``. ``shard`` is (which,
    of how many), counted from 1.
    """

    vcf: Path
    fasta: Path
    model: Path
    output: Path | None = Path("-")
    output_type: str | None = None
    tsv: Path | None = None
    windows: tuple[int, ...] = ()
    grid: int | None = None
    reduce: str = "sum"
    strand: str | None = None
    context: str = "window"
    annotation: Path | None = None
    max_indel: int | None = None
    regions: tuple[str, ...] = ()
    regions_file: Path | None = None
    pass_only: bool = False
    ref_mismatch: str = "stop"
    explain: bool = False
    info_prefix: str = "GCONV"
    shard: tuple[int, int] | None = None
    batch_size: int | None = None
    device: str = "auto"
    dtype: str = "float32"
    resume: bool = False
    force: bool = False
    index: bool = True
    quiet: bool = False


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
    likelihood, max_length = _load(run)
    settings = _settings(run, reference, max_length)
    if settings.gene is None:
        likelihood.starts = {w: suffix_start(w, g) for w, g in zip(settings.widths, settings.grid, strict=True)}

    chosen = selection(source, regions=run.regions, regions_file=run.regions_file, pass_only=run.pass_only)
    found = survey(chosen.of(source.records()), keys=not source.is_bcf)
    if not found.records:
        log.warning("%s: no record to write", source.name)
    names = contig_names(source, found, fasta=run.fasta, contigs=reference.contigs)
    if run.ref_mismatch == "stop":
        check_assembly(source, found, reference=reference, names=names)

    fields = Fields(
        run.info_prefix, settings.widths, settings.gene is not None, settings.reduce, settings.strand, run.explain
    )
    lengths = {name: reference.contigs[target] for name, target in names.items()}
    header, notes = repaired(source.header, found, lengths=lengths)
    for note in notes:
        log.warning("%s: %s", source.name, note)
    provenance = _provenance(run, settings, names, reference)
    header, replaced = with_fields(header, fields.info_fields(), provenance)

    runs = chunks(
        chosen.of(source.records()),
        size=max(16, min(1024, _CHUNK_TOKENS // max(settings.widths[0], max(settings.widths), 1))),
        grid=max(settings.grid),
    )
    if run.shard:
        runs = shard_of(runs, index=run.shard[0] - 1, count=run.shard[1], total=found.records)
    scorer = VariantScorer(likelihood, reference=reference, names=names, settings=settings)
    outputs = open_outputs(
        run.output,
        run.tsv,
        kind=output_kind(run.output, run.output_type),
        header=header,
        replaced=replaced,
        source=source,
        found=found,
        fields=fields,
        index=run.index,
    )
    with _journal(run, source, provenance) as journal, outputs as write:
        summary = _score_all(run, runs, scorer, journal, write, total=found.records)
    if journal is not None:
        journal.remove()
    return summary


def _load(run: ScoreRun) -> tuple[CausalLikelihood, int]:
    """The model, ready to read, and the longest sequence that it takes."""
    import torch

    from genoconv.models import load_model

    model = load_model(run.model, device=run.device, dtype=getattr(torch, run.dtype))
    device = next(model.parameters()).device
    longest = model.config.max_length
    return CausalLikelihood(model, device=device, max_length=longest, batch_size=run.batch_size), longest


def _settings(run: ScoreRun, reference: Reference, max_length: int) -> Settings:
    gene: GeneWindow | None = None
    if run.context == "gene":
        if run.annotation is None:
            raise UsageError("--context gene needs the genes: give --annotation GENES.gtf (or .gff3)")
        if run.windows or run.grid:
            raise UsageError("--context gene: the window is the gene body; leave out --window and --grid")
        from genoconv.genome.annotation import read_genes
        from genoconv.variants.genes import GeneIndex

        gene = GeneIndex(read_genes(run.annotation, contigs=reference.contigs))
        widths: tuple[tuple[int, int], ...] = ()
    else:
        if run.annotation is not None:
            raise UsageError("--annotation is for --context gene")
        widths = window_widths(run.windows, grid=run.grid, max_length=max_length)
    return Settings(
        widths=tuple(width for width, _ in widths) or (0,),
        grid=tuple(grid for _, grid in widths) or (1,),
        max_length=max_length,
        reduce=Reduce(run.reduce),
        strand=Strand(run.strand or ("forward" if gene else "both")),
        max_indel=longest_allele(run.max_indel, widths),
        gene=gene,
    )


def _provenance(run: ScoreRun, settings: Settings, names: Mapping[str, str], reference: Reference) -> dict[str, str]:
    """Header lines that say how the numbers came about; also what a resumed run must agree with."""
    from genoconv.models import model_digest

    command = recorded_command(
        "score-variants",
        {
            "vcf": run.vcf,
            "--fasta": run.fasta,
            "--model": run.model,
            "--window": ",".join(map(str, run.windows)) or None,
            "--grid": run.grid,
            "--reduce": run.reduce,
            "--strand": run.strand,
            "--context": run.context,
            "--annotation": run.annotation,
            "--max-indel": run.max_indel,
            "--region": run.regions,
            "--regions-file": run.regions_file,
            "--pass-only": run.pass_only,
            "--ref-mismatch": run.ref_mismatch,
            "--explain": run.explain,
            "--info-prefix": run.info_prefix,
            "--dtype": run.dtype,
        },
    )
    where = "gene" if settings.gene else ",".join(map(str, settings.widths))
    return {
        "genoconvVersion": __version__,
        "genoconvCommand": command,
        "genoconvModel": f"name={file_name(run.model)};sha256={model_digest(run.model)}",
        "genoconvReference": f"name={file_name(run.fasta)};sha256={digest_of(reference.fasta, names.values())}",
        "genoconvScore": (
            f"window={where};grid={','.join(map(str, settings.grid))};reduce={settings.reduce};"
            f"strand={settings.strand};max_indel={settings.max_indel};sign=negative means less likely than REF"
        ),
    }


class _NoJournal:
    """Standard output cannot be gone on with."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        return None


def _journal(run: ScoreRun, source: VariantFile, provenance: Mapping[str, str]) -> Journal | _NoJournal:
    output = next((path for path in (run.output, run.tsv) if path is not None and str(path) != "-"), None)
    if output is None:
        return _NoJournal()
    path = journal_path(output)
    if path.exists() and not run.resume:
        log.warning("an earlier run towards %s was interrupted; this one starts again (--resume goes on)", output)
    with source.path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    described: dict[str, Any] = {
        **provenance,
        "input": digest,
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
    from genoconv.genome.tokenizer import decode

    there = decode(scorer.reference.tokens(scorer.names[record.contig], record.start, record.end))
    log.warning(
        "%s:%d: REF is %s, the FASTA has %s; not scored",
        record.contig,
        record.start + 1,
        record.ref[:30],
        there[:30] or "nothing (beyond the end)",
    )
