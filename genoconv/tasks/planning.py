"""What to compare for the score of each allele: windows on the grid or genes, on one strand or both."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from genoconv.tasks.changes import Changes
from genoconv.tasks.comparison import Comparisons, Reduce
from genoconv.tasks.deltas import Alignment
from genoconv.tasks.rows import Indices
from genoconv.tasks.substitutions import Substitutions, find_substitutions, fitting, windows_around
from genoconv.tokens import reverse_complement
from genoconv.variants.alleles import Allele, Status, check_alt, check_ref, symbolic_or_star, trimmed
from genoconv.variants.records import Record
from genoconv.variants.reference import Reference
from genoconv.variants.windows import GeneBody, Haplotypes, Window, grid_window, haplotypes, unknown_fraction

Place = tuple[int, int]
"""Number of a record, and of one of its ALT."""


def suffix_start(width: int, grid: int) -> int:
    """Position of a window on the grid up to which an alternative equals its reference, on either strand, as a rule.

    A variant lies within half a grid step of the centre, except near a contig's ends, and an allele of up to 16 bases
    begins as much earlier when it is read backwards.
    """
    return max(0, width // 2 - grid // 2 - 16)


N_RICH = 0.5
"""A window with a greater fraction of bases other than A, C, G, T is not scored."""


class Strand(StrEnum):
    """Directions in which the windows are read."""

    BOTH = "both"
    FORWARD = "forward"
    REVERSE = "reverse"


GeneFinder = Callable[[str, Allele], GeneBody | None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides a score besides model, genome and allele.

    Attributes:
        widths: window lengths in bases, in any order; one score each. A single 0 with ``gene`` set stands for genes.
        grid: distance between window centres for each width.
        reduce: bases that are compared.
        strand: directions that are read, relative to the gene with ``gene``.
        max_indel: greatest length of an allele, without the bases that REF and ALT share.
        max_length: longest sequence that the model takes.
        gene: ``gene(contig, allele)`` gives the gene that covers an allele; None for windows on the grid.
    """

    widths: tuple[int, ...]
    grid: tuple[int, ...]
    max_length: int
    reduce: Reduce = Reduce.SUM
    strand: Strand = Strand.BOTH
    max_indel: int = 50
    gene: GeneFinder | None = None

    @property
    def starts(self) -> dict[int, int]:
        """For :class:`CausalLikelihood`: window length -> where alternatives begin to differ, as a rule."""
        if self.gene is not None:
            return {}
        return {width: suffix_start(width, grid) for width, grid in zip(self.widths, self.grid, strict=True)}


class Plan(NamedTuple):
    """How one allele in one window gets its score: the comparison on each strand, or why there is none."""

    status: Status
    strands: tuple[int, ...] = ()
    gene: str | None = None
    alignment: Alignment | None = None


class Together(NamedTuple):
    """Alleles that were planned together, and for each window length the comparisons (strands, V)."""

    some: Substitutions | Changes
    comparisons: list[Indices]


class Planner:
    """Finds out what to compare for the alleles of many records.

    Args:
        reference: the genome.
        names: contig name of the VCF -> of the FASTA; contigs that are not in it are ``no_contig``.
        settings: see :class:`Settings`.
        aligned: whether plans have to say how bases correspond; then substitutions alone are planned together.
    """

    def __init__(
        self, reference: Reference, *, names: Mapping[str, str], settings: Settings, aligned: bool = False
    ) -> None:
        self.reference = reference
        self.names = names
        self.settings = settings
        self.aligned = aligned

    def plans(self, records: Sequence[Record], compared: Comparisons) -> tuple[list[Together], dict[Place, list[Plan]]]:
        """Most alleles together, and a plan per window length for each of the others; adds to ``compared``."""
        together = list(self._plan_substitutions(records, compared))
        planned = {
            place for one in together for place in zip(one.some.records.tolist(), one.some.alts.tolist(), strict=True)
        }
        plans, changes = self._other_plans(records, planned, compared)
        for contig, every in changes.items():
            fit, others = self._plan_changes(contig, every, compared)
            together += fit
            plans.update(others)
        return together, plans

    def _plan_substitutions(self, records: Sequence[Record], compared: Comparisons) -> Iterator[Together]:
        """Single bases in windows on the grid, where all windows of a contig hold what they should.

        The others are planned one by one.
        """
        if self.settings.gene is not None:
            return
        strand = self.settings.strand
        for contig, every in find_substitutions(records, self.names).items():
            some = fitting(every, contig=contig, reference=self.reference)
            length = self.reference.contigs[contig]
            if not len(some.starts) or min(length, max(self.settings.widths)) > self.settings.max_length:
                continue
            settings = zip(self.settings.widths, self.settings.grid, strict=True)
            around = [
                windows_around(some.starts, contig=contig, reference=self.reference, width=width, grid=grid)
                for width, grid in settings
            ]
            if any((one.unknown > N_RICH).any() or not one.inside for one in around):
                continue
            forward, reverse = strand != Strand.REVERSE, strand != Strand.FORWARD
            yield Together(
                some, [one.compared(some.tokens, compared, forward=forward, reverse=reverse) for one in around]
            )

    def _other_plans(
        self, records: Sequence[Record], planned: Collection[Place], compared: Comparisons
    ) -> tuple[dict[Place, list[Plan]], dict[str, Changes]]:
        """For every allele that is not ``planned`` a plan per window length, or by contig what to plan yet."""
        plans: dict[Place, list[Plan]] = {}
        changes: dict[str, list[tuple[int, int, Allele]]] = {}
        on_grid = self.settings.gene is None and not self.aligned
        for number, record in enumerate(records):
            missing = [nth for nth in range(len(record.alts)) if (number, nth) not in planned]
            statuses = self._statuses(record) if missing else []
            for nth in missing:
                alt, status = statuses[nth]
                allele = trimmed(record.start, record.ref, alt) if on_grid and status is None else None
                if allele is None or max(len(allele.ref), len(allele.alt)) > self.settings.max_indel:
                    plans[number, nth] = self._plan(record, alt, status, compared)
                else:
                    changes.setdefault(self.names[record.contig], []).append((number, nth, allele))
        return plans, {contig: Changes.of(rows) for contig, rows in changes.items()}

    def _plan_changes(
        self, contig: str, every: Changes, compared: Comparisons
    ) -> tuple[list[Together], dict[Place, list[Plan]]]:
        """Those that fit, together; of the others a plan per window length."""
        length, widths = self.reference.contigs[contig], self.settings.widths
        grids = list(zip(widths, self.settings.grid, strict=True))
        fit = np.full(len(every.alleles), max(widths) <= min(length, self.settings.max_length))
        if fit.all():
            for width, grid in grids:
                around = every.around(contig=contig, reference=self.reference, width=width, grid=grid)
                fit &= every.fits(around, length=length, most_unknown=N_RICH)
        planned = []
        if fit.any():
            some = every.only(fit)
            strand = self.settings.strand
            numbers = [
                some.compared(
                    some.around(contig=contig, reference=self.reference, width=width, grid=grid),
                    compared,
                    contig=contig,
                    reference=self.reference,
                    forward=strand != Strand.REVERSE,
                    reverse=strand != Strand.FORWARD,
                )
                for width, grid in grids
            ]
            planned.append(Together(some, numbers))
        others = every.only(~fit)
        places = zip(others.records.tolist(), others.alts.tolist(), others.alleles, strict=True)
        return planned, {(number, nth): self._plan_on_grid(contig, allele, compared) for number, nth, allele in places}

    def _statuses(self, record: Record) -> list[tuple[str, Status | None]]:
        """Each ALT with the reason why it has no score, or None."""
        found = [(alt, symbolic_or_star(alt)) for alt in record.alts]
        if all(status is not None for _, status in found):
            return found
        target = self.names.get(record.contig)
        if target is None:
            problem: Status | None = Status.NO_CONTIG
        else:
            problem = check_ref(record.ref, self.reference.tokens(target, record.start, record.end))
        return [(alt, status or problem or check_alt(alt)) for alt, status in found]

    def _plan(self, record: Record, alt: str, status: Status | None, compared: Comparisons) -> list[Plan]:
        """One plan per window length."""
        if status is not None:
            return [Plan(status)] * len(self.settings.widths)
        allele = trimmed(record.start, record.ref, alt)
        if max(len(allele.ref), len(allele.alt)) > self.settings.max_indel:
            return [Plan(Status.TOO_LONG)] * len(self.settings.widths)
        contig = self.names[record.contig]
        if self.settings.gene is not None:
            body = self.settings.gene(contig, allele)
            if body is None:
                return [Plan(Status.NO_GENE)]
            return [self._plan_window(contig, allele, body.window, compared, gene=body.id)]
        return self._plan_on_grid(contig, allele, compared)

    def _plan_on_grid(self, contig: str, allele: Allele, compared: Comparisons) -> list[Plan]:
        length = self.reference.contigs[contig]
        grids = zip(self.settings.widths, self.settings.grid, strict=True)
        windows = [grid_window(allele.start, contig_length=length, width=width, grid=grid) for width, grid in grids]
        return [self._plan_window(contig, allele, window, compared) for window in windows]

    def _plan_window(
        self, contig: str, allele: Allele, window: Window, compared: Comparisons, *, gene: str | None = None
    ) -> Plan:
        if len(window) > self.settings.max_length:
            return Plan(Status.TOO_LONG, gene=gene)
        circular = window.start < 0 or window.end > self.reference.contigs[contig]
        pair = haplotypes(window, allele, fetch=self.reference.slicer(contig, circular=circular))
        if pair is None:
            return Plan(Status.TOO_LONG)
        if unknown_fraction(pair.ref) > N_RICH:
            return Plan(Status.N_RICH, gene=gene)
        places = Alignment(pair.ref_site[0], pair.alt_site[0], len(allele.ref), len(allele.alt))
        moved = places.ref_bases != places.alt_bases or places.ref_start != places.alt_start
        return Plan(Status.OK, tuple(self._strands(pair, compared)), gene, places if moved else None)

    def _strands(self, pair: Haplotypes, compared: Comparisons) -> list[int]:
        found = []
        length = len(pair.ref)
        if self.settings.strand != Strand.REVERSE:
            found.append(compared.add(pair.ref, pair.alt, pair.ref_site, pair.alt_site))
        if self.settings.strand != Strand.FORWARD:
            ref_site, alt_site = ((length - end, length - start) for start, end in (pair.ref_site, pair.alt_site))
            ref, alt = map(reverse_complement, (pair.ref, pair.alt))
            found.append(compared.add(ref, alt, ref_site, alt_site))
        return found
