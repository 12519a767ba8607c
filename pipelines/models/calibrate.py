"""``genoconv models calibrate``: the distribution of a model's scores, stored in its folder."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genoconv import __version__
from genoconv.atomic import refuse_existing, refuse_inputs
from genoconv.errors import DataError
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.fasta.digests import SequencesDigest
from genoconv.models.checkpoint import model_digest
from genoconv.models.registry import model_folder
from genoconv.pipelines.models.options import CalibrateOptions
from genoconv.pipelines.options import recorded_command
from genoconv.pipelines.provenance import file_name
from genoconv.pipelines.scan.geometry import geometry
from genoconv.pipelines.score.inputs import longest_allele, window_widths
from genoconv.progress import progress_bar
from genoconv.tasks import calibration as stored
from genoconv.tasks.calibration import Calibration, fit
from genoconv.tasks.comparison import Reduce
from genoconv.tasks.likelihood import CausalLikelihood
from genoconv.tasks.samples import (
    Places,
    is_indel,
    random_variants,
    scan_sample,
    score_sample,
    spread,
    usable_places,
)
from genoconv.tasks.scan import Scanner
from genoconv.tasks.score import Settings, VariantScorer
from genoconv.variants.reader import Record
from genoconv.variants.reference import Reference
from genoconv.wording import count
from genoconv.workfiles import claimed

if TYPE_CHECKING:
    from genoconv.models.hyena import HyenaDNA

log = logging.getLogger(__name__)

# Digests of sequences that are kept, to recognise the genome: those of the longest contigs.
_CONTIGS_KEPT = 200


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a calibration rests on."""

    path: Path
    snvs: int
    variants: int
    classes: int

    def counts(self) -> dict[str, float | None]:
        """What ``--json`` says of the run."""
        return {"snvs": self.snvs, "variants": self.variants, "classes": self.classes}

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.snvs:,} SNVs by scan, {self.variants:,} random variants by score-variants; "
            f"{self.classes:,} classes with at least {stored.LEAST} scores"
        )


def calibrate_model(options: CalibrateOptions) -> Calibrated:
    """Do it all; ``docs/calibration.md`` says what is computed.

    Raises:
        UsageError: a window that the model does not read.
        DataError: the FASTA cannot be used, or holds hardly any known bases.
        ModelError: the model folder cannot be used, or its scores are not finite.
        OutputError: there is a calibration already, or the folder cannot be written.
    """
    fasta = _fasta(options)
    path = model_folder(options.model) / stored.NAME
    refuse_inputs([path], inputs={"--fasta": fasta})
    with claimed(path):
        options, model = _load(options)
        refuse_existing(path, force=options.force)
        return calibrate(options, model, Reference(Fasta(fasta)), folder=path.parent)


def calibrate(options: CalibrateOptions, model: "HyenaDNA", reference: Reference, *, folder: Path) -> Calibrated:
    """As :func:`calibrate_model`, with a model that is loaded already and is that of ``folder``."""
    laid = geometry(model.config, window=options.window)
    device = next(model.parameters()).device
    scanner = Scanner(
        model,
        reference=reference,
        context=laid.context,
        step=laid.step,
        device=device,
        batch_size=options.batch_size,
    )
    genome, places = _read_genome(options, scanner)
    numbers = spread(len(places), -(-options.sample // laid.step), seed=options.seed)
    total = sum(int(places.end[number] - places.start[number]) for number in numbers)
    with progress_bar("Scanning a sample", total=total, unit="positions", quiet=options.quiet) as advance:
        by_scan = scan_sample(places, numbers, advance=advance)
    tables = {"site": fit(by_scan.classes, by_scan.scores)}
    variants: list[tuple[Record, int]] = []
    if options.variants:
        width = _window(options, model)
        longest = longest_allele(None, (width,))
        variants = list(
            random_variants(places, count=options.variants, longest=longest, grid=width[1], seed=options.seed + 1)
        )
        indels = [one for one in variants if is_indel(one[1])]
        with progress_bar(
            "Scoring a sample", total=len(variants) + len(indels), unit="variants", quiet=options.quiet
        ) as advance:
            summed, averaged = score_sample(
                _scorer(options, model, reference, width, Reduce.SUM), variants, advance=advance
            )
            at_site, _ = score_sample(_scorer(options, model, reference, width, Reduce.SITE), indels, advance=advance)
        both = by_scan.joined(at_site)
        tables = {
            "site": fit(both.classes, both.scores),
            "sum": fit(summed.classes, summed.scores),
            "mean": fit(averaged.classes, averaged.scores),
        }
    facts = {
        "genoconv": __version__,
        "command": recorded_command("models calibrate", options),
        "model": model_digest(folder),
        "genome": genome,
        "window": _window(options, model)[0],
        "scan_window": laid.window,
        "context": laid.context,
        "strand": "both",
        "positions": total,
        "variants": len(variants),
    }
    Calibration(facts, tables).save(folder)
    classes = sum(len(table.ids) for table in tables.values())
    return Calibrated(folder / stored.NAME, len(by_scan.scores), len(variants), classes)


def _fasta(options: CalibrateOptions) -> Path:
    if options.genome is None:
        assert options.fasta is not None
        return options.fasta
    from genoconv.genome.assemblies.fetch import resolve_genome

    return resolve_genome(options.genome, offline=options.offline, quiet=options.quiet).fasta


def _load(options: CalibrateOptions) -> tuple[CalibrateOptions, "HyenaDNA"]:
    from genoconv.models import load_model
    from genoconv.models.devices import DTYPES, resolve_precision

    precision = resolve_precision(options.precision, device=options.device)
    model = load_model(options.model, device=options.device, dtype=DTYPES[precision])
    return options.model_copy(update={"precision": precision}), model


def _read_genome(options: CalibrateOptions, scanner: Scanner) -> tuple[dict[str, Any], Places]:
    """What the genome is, and where it can be sampled.

    Raises:
        DataError: nowhere.
    """
    reference = scanner.reference
    name = file_name(Path(reference.fasta.path))
    digest, kept = SequencesDigest(), {}
    with progress_bar(
        "Reading the genome", total=2 * sum(reference.contigs.values()), unit="bases", quiet=options.quiet
    ) as advance:
        for contig, length in reference.contigs.items():
            kept[contig] = reference.fasta.digest(contig)
            digest.add(contig, kept[contig])
            advance(length)
        places = usable_places(scanner, advance=advance)
    if not len(places):
        raise DataError(f"{reference.fasta.path}: no stretch of sequence with mostly A, C, G, T to sample")
    _say_coverage(places)
    longest = sorted(kept, key=lambda contig: -reference.contigs[contig])[:_CONTIGS_KEPT]
    return {"name": name, "sha256": digest.hexdigest(), "md5": [kept[contig] for contig in longest]}, places


def _say_coverage(places: Places) -> None:
    total = sum(places.scanner.reference.contigs.values())
    usable = int((places.end - places.start).sum())
    log.info(
        "sampling %s of %s bases on %s; mostly unknown stretches are left out, soft-masked bases are not",
        f"{usable:,}",
        f"{total:,}",
        count(len(set(places.contig.tolist())), "contig"),
    )


def _window(options: CalibrateOptions, model: "HyenaDNA") -> tuple[int, int]:
    """The window of score-variants and its grid."""
    sizes = model.config
    windows: Sequence[int] = () if options.window is None else (options.window,)
    [width] = window_widths(tuple(windows), grid=None, max_length=sizes.max_bases, trained=sizes.max_bases)
    return width


def _scorer(
    options: CalibrateOptions, model: "HyenaDNA", reference: Reference, width: tuple[int, int], reduce: Reduce
) -> VariantScorer:
    length, grid = width
    settings = Settings(
        widths=(length,),
        grid=(grid,),
        max_length=model.config.max_bases,
        reduce=reduce,
        max_indel=longest_allele(None, (width,)),
    )
    likelihood = CausalLikelihood(
        model,
        device=next(model.parameters()).device,
        starts=settings.starts,
        max_length=settings.max_length,
        batch_size=options.batch_size,
    )
    names = {contig: contig for contig in reference.contigs}
    return VariantScorer(likelihood, reference=reference, names=names, settings=settings)
