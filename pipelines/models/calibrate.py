"""``genoconv models calibrate``: the distribution of a model's scores, stored in its folder."""

import logging
from dataclasses import dataclass
from pathlib import Path

from genoconv import __version__
from genoconv.atomic import refuse_existing, refuse_inputs
from genoconv.errors import DataError, UsageError
from genoconv.genome.fasta.access import Fasta
from genoconv.models.checkpoint import model_digest
from genoconv.models.registry import SHIPPED, model_folder
from genoconv.pipelines.forecast import Forecast
from genoconv.pipelines.loading import load, with_precision
from genoconv.pipelines.models.options import CalibrateOptions
from genoconv.pipelines.models.sampling import Sampling
from genoconv.pipelines.options import recorded_command
from genoconv.pipelines.references import genome_files
from genoconv.progress import progress_bar
from genoconv.tasks import calibration as stored
from genoconv.tasks.calibration import Calibration, Table, fit
from genoconv.tasks.comparison import Reduce
from genoconv.tasks.samples import Sample, is_indel
from genoconv.tasks.scan import numbers_of
from genoconv.variants.records import Record
from genoconv.variants.reference import Reference
from genoconv.workfiles import claimed

log = logging.getLogger(__name__)

SCORINGS = 3
"""Scorings for each of ``--variants``: an SNV once, an insertion or deletion over the window and at its site."""
# A run that is over before its time could be measured.
_SHORT = 1 << 16
_PER_VARIANT = 32
_MEASURED_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a calibration rests on."""

    path: Path
    snvs: int
    variants: int
    classes: int

    @property
    def files(self) -> tuple[Path, ...]:
        """What was written."""
        return (self.path,)

    def counts(self) -> dict[str, float | None]:
        """What ``--json`` says of the run."""
        return {"snvs": self.snvs, "variants": self.variants, "classes": self.classes}

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.snvs:,} SNVs by scan, {self.variants:,} random variants by score-variants; "
            f"{self.classes:,} classes with at least {stored.LEAST} scores"
        )


def calibrate_model(options: CalibrateOptions) -> Calibrated | Forecast:
    """Do it all; ``docs/calibration.md`` says what is computed.

    Raises:
        UsageError: a window that the model does not read, or the name of a model that ships with genoconv.
        DataError: the FASTA cannot be used, or holds hardly any known bases.
        ModelError: the model folder cannot be used, or its scores are not finite.
        OutputError: there is a calibration already, or the folder cannot be written.
    """
    fasta = genome_files(options.fasta, options.genome, offline=options.offline, quiet=options.quiet).fasta
    path = model_folder(options.model) / stored.NAME
    by_name = path.parent != options.model  # a folder that was named as such may be written
    if by_name and path.parent.parent == SHIPPED and not options.dry_run:
        raise UsageError(
            f"{options.model}: the model is included with genoconv and already calibrated; to calibrate it differently,"
            f" copy its folder, {path.parent}, and calibrate the copy"
        )
    refuse_inputs([path], inputs={"--fasta": fasta})
    with claimed(path):
        refuse_existing(path, force=options.force or options.dry_run)
        options = with_precision(options)
        sampling = Sampling.prepare(options, load(options), Reference(Fasta(fasta)))
        with numbers_of(options.model):
            expected = _forecast(options, sampling)
        if options.dry_run:
            assert expected is not None
            return expected
        return fill(options, sampling, folder=path.parent)


def fill(options: CalibrateOptions, sampling: Sampling, *, folder: Path) -> Calibrated:
    """Score the samples that ``options`` ask for and store their distributions in ``folder``.

    Raises:
        DataError: the sample is too small for any class.
        ModelError: scores are not finite.
        OutputError: the folder cannot be written.
    """
    with numbers_of(options.model):
        return _filled(options, sampling, folder=folder)


def _filled(options: CalibrateOptions, sampling: Sampling, *, folder: Path) -> Calibrated:
    numbers = sampling.tiles(options.sample)
    total = sampling.positions(numbers)
    with progress_bar("Scanning a sample", total=total, unit="positions", quiet=options.quiet) as advance:
        by_scan = sampling.scan(numbers, advance=advance)
    tables = {"site": fit(by_scan.classes, by_scan.scores)}
    variants = sampling.variants(options.variants) if options.variants else []
    if options.variants:
        tables = _tables(options, sampling, by_scan, variants)
    classes = sum(len(table.ids) for table in tables.values())
    if not classes:
        raise DataError(
            f"{sampling.reference.fasta.path}: no class of changes has {stored.LEAST} scores; calibrate with a larger"
            " genome or sample"
        )
    facts = {
        "genoconv": __version__,
        "command": recorded_command("models calibrate", options),
        "model": model_digest(folder),
        "genome": sampling.genome,
        "window": sampling.width[0],
        "scan_window": sampling.laid.window,
        "context": sampling.laid.context,
        "strand": "both",
        "positions": total,
        "variants": len(variants),
    }
    Calibration(facts, tables).save(folder)
    return Calibrated(folder / stored.NAME, len(by_scan.scores), len(variants), classes)


def _tables(
    options: CalibrateOptions, sampling: Sampling, by_scan: Sample, variants: list[tuple[Record, int]]
) -> dict[str, Table]:
    indels = [one for one in variants if is_indel(one[1])]
    total = len(variants) + len(indels)
    with progress_bar("Scoring a sample", total=total, unit="variants", quiet=options.quiet) as advance:
        summed, averaged = sampling.score(variants, Reduce.SUM, advance=advance)
        at_site, _ = sampling.score(indels, Reduce.SITE, advance=advance)
    both = by_scan.joined(at_site)
    return {
        "site": fit(both.classes, both.scores),
        "sum": fit(summed.classes, summed.scores),
        "mean": fit(averaged.classes, averaged.scores),
    }


def _forecast(options: CalibrateOptions, sampling: Sampling) -> Forecast | None:
    """How long it will take; None, and nothing measured, where nobody asks or it is short."""
    positions = sampling.positions(sampling.tiles(options.sample))
    if not options.dry_run and (options.quiet or positions + _PER_VARIANT * options.variants < _SHORT):
        return None
    scanned = sampling.scan_speed(seconds=_MEASURED_SECONDS)
    seconds = positions / scanned if scanned else 0.0
    beside: tuple[tuple[int, str], ...] = ()
    if options.variants:
        scored = sampling.score_speed(seconds=_MEASURED_SECONDS)
        seconds += SCORINGS * options.variants / scored if scored else 0.0
        beside = ((2 * options.variants, "variants"),)
    device = str(next(sampling.model.parameters()).device)
    expected = Forecast(positions, "positions", seconds or None, (device,), beside=beside)
    if not options.dry_run:
        log.info("%s", expected)
    return expected
