"""Percentiles of scores, for the commands that write them: whether a model's calibration holds for a run."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genoconv.digests import file_digest
from genoconv.models.checkpoint import model_digest
from genoconv.models.registry import model_folder
from genoconv.tasks.calibration import NAME, Calibration, Table
from genoconv.tasks.likeness import LEVELS, RADIUS, Ids, indel_class, snv_classes, surroundings
from genoconv.tasks.score import Score
from genoconv.tokens import A, T
from genoconv.tracks.blocks import Block
from genoconv.variants.alleles import Allele, trimmed
from genoconv.variants.records import Record
from genoconv.variants.reference import Reference
from genoconv.wording import printable, shell

log = logging.getLogger(__name__)

_DECIMALS, _Z_DECIMALS = 4, 3
_LEAST = 10.0**-_DECIMALS


@dataclass(frozen=True)
class Wanted:
    """How a run computes scores, which its calibration must share.

    Attributes:
        reduce: ``site``, ``sum`` or ``mean``.
        strand: of the scores.
        windows: their lengths in bases; none where windows are genes.
        context: bases before each position at least, where the run is a scan.
    """

    reduce: str
    strand: str
    windows: tuple[int, ...]
    context: int | None = None


@dataclass(frozen=True)
class Found:
    """What holds of a model's calibration for a run.

    Attributes:
        tables: for each window of the run; None where the calibration is of another.
        line: what an output says about it; empty where there is none.
    """

    tables: tuple[Table | None, ...]
    line: str = ""

    def __bool__(self) -> bool:
        return any(table is not None for table in self.tables)


def find_calibration(folder: Path, wanted: Wanted, *, reference: Collection[str], fasta: Path) -> Found:
    """The calibration of a model folder as far as it holds for a run; logs once where it does not, and what to do.

    Args:
        folder: the model folder, or the name of one.
        wanted: how the run computes.
        reference: MD5 of the sequences of the run.
        fasta: what to name in the advice.

    Raises:
        ModelError: the calibration is damaged.
    """
    none = Found((None,) * max(1, len(wanted.windows)))
    path = model_folder(folder) / NAME
    calibration = Calibration.load(path.parent)
    make = shell("genoconv", "models", "calibrate", folder, "-f", fasta)
    if calibration is None:
        log.info("%s: not calibrated, so scores have no percentiles; to calibrate it, run: %s", folder, make)
        return none
    facts = calibration.facts
    if facts.get("model") != model_digest(folder):
        log.warning(
            "%s: made for other weights, so scores have no percentiles; to replace it, run: %s --force", path, make
        )
        return none
    table = calibration.tables.get(wanted.reduce)
    problem = _difference(facts, wanted, has_table=table is not None)
    if problem:
        advice = f"; to add them: {make} --force" if table is None and wanted.windows else ""
        log.warning("%s: %s, so scores have no percentiles%s", path, problem, advice)
    tables = tuple(table if _holds(facts, wanted, window) else None for window in wanted.windows)
    if table is None or not any(tables):
        return none
    genome = facts.get("genome") or {}
    if not set(genome.get("md5", ())) & set(reference):
        log.warning(
            "%s: made on %s, which shares no sequence with this genome; percentiles are relative to variants of that"
            " genome",
            path,
            printable(str(genome.get("name"))),
        )
    line = (
        f"sha256={file_digest(path)};genome={genome.get('sha256')};window={facts.get('window')};"
        f"positions={facts.get('positions')};variants={facts.get('variants')};percentile=low is unexpected"
    )
    return Found(tables, line)


def _holds(facts: Mapping[str, Any], wanted: Wanted, window: int) -> bool:
    same = facts.get(_window_of(wanted)) == window and facts.get("strand") == wanted.strand
    return same and wanted.context in (None, facts.get("context"))


def _window_of(wanted: Wanted) -> str:
    """Which fact is the window: that of a scan has an even number of positions beside its context."""
    return "window" if wanted.context is None else "scan_window"


def _difference(facts: Mapping[str, Any], wanted: Wanted, *, has_table: bool) -> str | None:
    """Why the calibration does not hold for all of a run; None where it does."""
    window, strand = facts.get(_window_of(wanted)), facts.get("strand")
    if not wanted.windows:
        return f"made for windows of {window} bases, not for genes"
    if not has_table:
        return f"made with --variants 0, without scores by --reduce {wanted.reduce}"
    if strand != wanted.strand:
        return f"made for the mean of both strands, not for --strand {wanted.strand}"
    others = [str(one) for one in wanted.windows if one != window]
    if others:
        return f"made for --window {window}, not for {', '.join(others)}"
    if wanted.context not in (None, facts.get("context")):
        return f"made for --context {facts.get('context')}, not for {wanted.context}"
    return None


def rounded(percentile: float, z: float) -> tuple[float | None, float | None]:
    """As they are written: four decimals and never 0 or 100, three decimals; None for NaN."""
    return (
        min(max(round(percentile, _DECIMALS), _LEAST), 100 - _LEAST) if percentile == percentile else None,
        round(z, _Z_DECIMALS) + 0.0 if z == z else None,
    )


def ranked(block: Block, table: Table, reference: Reference) -> Block:
    """A block of scores of A, C, G, T with their percentiles and z behind its columns, four each; NaN for none."""
    count = len(block.values)
    classes = snv_classes(surroundings(reference, block.contig, block.start, block.start + count))
    percentile, z = table.place(classes, block.values[:, :4])
    percentile = np.round(percentile, _DECIMALS).clip(_LEAST, 100 - _LEAST)
    added = np.concatenate([percentile, np.round(z, _Z_DECIMALS) + 0.0], axis=1)
    return block._replace(values=np.concatenate([block.values.astype(np.float64), added], axis=1))


class Ranks:
    """Adds percentile and z to scores of records.

    Args:
        found: from :func:`find_calibration`, a table for each window.
        reference: the genome.
        names: contig name of the VCF -> of the FASTA.
    """

    def __init__(self, found: Found, *, reference: Reference, names: Mapping[str, str]) -> None:
        self.found = found
        self.reference = reference
        self.names = names

    def added(self, records: Sequence[Record], scores: Sequence[list[list[Score]]]) -> list[list[list[Score]]]:
        """The same scores with ``pct`` and ``z``, where there is a calibration and the allele is like others in it."""
        if not self.found:
            return list(scores)
        classes = np.full((LEVELS, sum(map(len, scores))), -1, np.int32)
        number = 0
        for record, alleles in zip(records, scores, strict=True):
            for alt, windows in zip(record.alts, alleles, strict=True):
                if any(score.llr is not None for score in windows):
                    classes[:, number] = self._classes(record, alt)
                number += 1
        flat = [list(windows) for alleles in scores for windows in alleles]
        for index, table in enumerate(self.found.tables):
            if table is not None:
                values = [windows[index].llr for windows in flat]
                placed = table.place(classes, np.array([np.nan if v is None else v for v in values], np.float64))
                for windows, percentile, z in zip(flat, *(part.tolist() for part in placed), strict=True):
                    pct, z_value = rounded(percentile, z)
                    windows[index] = windows[index]._replace(pct=pct, z=z_value)
        each = iter(flat)
        return [[next(each) for _ in alleles] for alleles in scores]

    def _classes(self, record: Record, alt: str) -> Ids:
        """Classes of an allele, (LEVELS,), the finest first."""
        contig, allele = self.names[record.contig], trimmed(record.start, record.ref, alt)
        if len(allele.ref) == len(allele.alt) == 1:
            return self._snv(contig, allele)
        return np.full(LEVELS, indel_class(len(allele.ref), len(allele.alt)), np.int32)

    def _snv(self, contig: str, allele: Allele) -> Ids:
        around = surroundings(self.reference, contig, allele.start, allele.start + 1)
        known = A <= around[RADIUS] <= T
        found: Ids = snv_classes(around)[:, 0, "ACGT".index(allele.alt)] if known else np.full(LEVELS, -1, np.int32)
        return found
