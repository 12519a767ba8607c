"""The calibration of a model that has just been trained: ``genoconv models calibrate`` on a sample of seconds."""

import logging
import math
from typing import TYPE_CHECKING, NamedTuple

from genoconv.errors import GenoconvError, Interrupted
from genoconv.pipelines.lengths import Bases
from genoconv.pipelines.models.options import CalibrateOptions
from genoconv.tasks.calibration import NAME
from genoconv.wording import shell
from genoconv.workfiles import claimed

if TYPE_CHECKING:
    from genoconv.pipelines.models.sampling import Sampling
    from genoconv.pipelines.train.session import Session

log = logging.getLogger(__name__)

SHARE, MOST_SECONDS = 0.05, 20.0
# Less than this is not worth loading the model again.
_LEAST_SECONDS = 1.0
# Speed is measured for this share of the time, by scan and again by score-variants.
_MEASURING = 0.05
# An average SNV class of three bases has 150 scores; an insertion or deletion class has the 100 that it must have.
_LEAST_POSITIONS, _LEAST_VARIANTS = 5_000, 1_400
# Training computes forward, backward and update, and validates in between; scoring is forward alone.
_FORWARD_SPEEDUP = 2.0
# Of the time, where both kinds of scores fit: score-variants is the slower.
_FOR_SCANNING = 1 / 3


class Size(NamedTuple):
    """How much is sampled: ``--sample`` and ``--variants`` of ``genoconv models calibrate``."""

    positions: int
    variants: int


def calibrate_run(session: "Session", *, seconds: float, tokens: int) -> None:
    """Calibrate the model in the folder of a finished run, on the genome of its first source, or log why not.

    The size of the sample follows from the measured speed of the machine; everything else from the size. What goes
    wrong leaves the finished model as it is.

    Args:
        session: that has written the model folder.
        seconds: that the run took.
        tokens: that it read in them.

    Raises:
        Interrupted: Ctrl-C; says how to calibrate later.
    """
    import torch

    folder, fasta = session.folder, session.inputs.assemblies[0].fasta.path
    later = shell("genoconv", "models", "calibrate", folder, "-f", fasta)
    budget = time_for(seconds)
    try:
        if budget < _LEAST_SECONDS:
            log.info("the run was too short to calibrate the model; to calibrate it, run: %s", later)
            return
        options = CalibrateOptions(model=folder, fasta=fasta, device=session.config.run.device, quiet=session.quiet)
        with claimed(folder / NAME):
            _calibrate(options, budget, rate=tokens / max(seconds, 1e-9), later=later)
    except (GenoconvError, torch.OutOfMemoryError) as error:
        log.warning("the model is complete but not calibrated (%s); to calibrate it, run: %s", error, later)
    except KeyboardInterrupt as stop:
        raise Interrupted(f"the model in {folder} is complete; to calibrate it, run: {later}") from stop


def time_for(seconds: float) -> float:
    """Seconds that calibrating may take after a run of so many, reading the genome aside."""
    return min(SHARE * seconds, MOST_SECONDS)


def _calibrate(options: CalibrateOptions, budget: float, *, rate: float, later: str) -> None:
    from genoconv.genome.fasta.access import Fasta
    from genoconv.pipelines.loading import load, with_precision
    from genoconv.pipelines.models.calibrate import fill
    from genoconv.pipelines.models.sampling import Sampling
    from genoconv.variants.reference import Reference

    options = with_precision(options)
    assert options.fasta is not None
    model, size = load(options), None
    # Even to measure the speed takes a window or two, which must not take longer than all the time there is.
    if model.config.max_bases / (_FORWARD_SPEEDUP * max(rate, 1e-9)) < budget:
        sampling = Sampling.prepare(options, model, Reference(Fasta(options.fasta)))
        size = affordable(sampling, budget)
    if size is None:
        log.info(
            "too few scores could be sampled in %.0f s to calibrate the model; to calibrate it, run: %s", budget, later
        )
        return
    sized = {"sample": Bases(size.positions), "variants": Bases(size.variants)}
    made = fill(options.model_copy(update=sized), sampling, folder=options.model)
    log.info("%s", made)
    if not size.variants:
        log.info(
            "score-variants has percentiles only with --reduce site; random variants take longer; to add them: %s"
            " --force",
            later,
        )


def affordable(sampling: "Sampling", budget: float) -> Size | None:
    """The largest sample for so many seconds on this machine; None where it would make no useful classes.

    The defaults of ``genoconv models calibrate`` are its limits. There are no variants where too few would fit.
    """
    from genoconv.pipelines.models.calibrate import SCORINGS

    measuring = _MEASURING * budget
    scanned = sampling.scan_speed(seconds=measuring)
    here = sampling.positions(range(len(sampling.places)))
    if not scanned or min(here, scanned * budget) < _LEAST_POSITIONS:
        return None
    left = budget - 2 * measuring
    scored = sampling.score_speed(seconds=measuring)
    most = CalibrateOptions.model_fields
    for_scanning = max(_FOR_SCANNING * left, _LEAST_POSITIONS / scanned)
    variants = _rounded(min((scored or 0.0) * (left - for_scanning) / SCORINGS, most["variants"].default))
    if variants < _LEAST_VARIANTS:
        variants, for_scanning = 0, left
    positions = _rounded(min(scanned * for_scanning, most["sample"].default))
    return Size(positions, variants) if positions >= _LEAST_POSITIONS else None


def _rounded(number: float) -> int:
    """Down to two digits, so that small differences in speed make no difference."""
    if number < 1:
        return 0
    unit: int = 10 ** max(0, int(math.log10(number)) - 1)
    return int(number // unit) * unit
