"""Score the alleles of variants: ln P(alternative window) - ln P(reference window) under a causal model.

Every distinct sequence of a call is read by the model once per strand: all alleles of a window share its reference,
and repeated alleles share everything.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from genoconv.tasks.batching import computing
from genoconv.tasks.comparison import Advance, Comparison, Comparisons, Reduce
from genoconv.tasks.deltas import Alignment, HeadOutputs, Outputs
from genoconv.tasks.deltas import Strand as Reading
from genoconv.tasks.likelihood import CausalLikelihood
from genoconv.tasks.substitutions import Place, find_substitutions, fitting, windows_around
from genoconv.tokens import reverse_complement
from genoconv.variants.alleles import Allele, Status, check_alt, check_ref, symbolic_or_star, trimmed
from genoconv.variants.records import Record
from genoconv.variants.reference import Reference
from genoconv.variants.windows import GeneBody, Haplotypes, Window, grid_window, haplotypes, unknown_fraction


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


class Score(NamedTuple):
    """The result for one allele in one window, in nats; None where ``status`` is not ok or a strand was not asked for.

    ``llr`` is the mean over the strands that were read; negative: less likely than the reference. ``gene`` is the
    gene whose body is the window, where windows are genes and one covers the allele. ``pct`` and ``z`` say where
    ``llr`` lies among like variants (see :mod:`genoconv.tasks.calibration`), where the model is calibrated for it.
    ``delta`` are the outputs of a fine-tuned head for the alternative less those for the reference, also the mean over
    strands; of a head that predicts every base, the greatest change of one.
    """

    status: Status
    llr: float | None = None
    forward: float | None = None
    reverse: float | None = None
    gene: str | None = None
    pct: float | None = None
    z: float | None = None
    delta: Sequence[float] | None = None


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


class _Plan(NamedTuple):
    """How one allele in one window gets its score: what to compare on each strand, or why there is none."""

    status: Status
    strands: tuple[Comparison, ...] = ()
    gene: str | None = None
    alignment: Alignment | None = None


class VariantScorer:
    """Scores records, many at a time.

    Args:
        likelihood: the model.
        reference: the genome.
        names: contig name of the VCF -> of the FASTA; contigs that are not in it are ``no_contig``.
        settings: see :class:`Settings`.
        head: outputs of a fine-tuned model for sequences; None where there is no head.
    """

    def __init__(
        self,
        likelihood: CausalLikelihood,
        *,
        reference: Reference,
        names: Mapping[str, str],
        settings: Settings,
        head: HeadOutputs | None = None,
    ) -> None:
        self.head = head
        self.likelihood = likelihood
        self.reference = reference
        self.names = names
        self.settings = settings

    def score(self, records: Sequence[Record], *, advance: Advance | None = None) -> list[list[list[Score]]]:
        """Scores of ``records``.

        A score depends on its allele alone, not on what else is in ``records``, up to the rounding of the model's
        arithmetic in batches of different size.

        Args:
            records: any number; all are planned before the first batch is read.
            advance: called with how many records the work just done amounts to, a fraction of one too.

        Returns:
            One list per record, in it one per ALT, in it one :class:`Score` per window length.
        """
        compared = Comparisons(self.settings.reduce)
        plans = self._plans(records, compared)
        with computing(), _share(advance, records=len(records), sequences=len(compared.sequences)) as read:
            compared.read(self.likelihood, advance=read)
            outputs = self.head(compared.sequences) if self.head is not None and compared.sequences else None
        return [[[self._score(plan, compared, outputs) for plan in allele] for allele in record] for record in plans]

    def _plans(self, records: Sequence[Record], compared: Comparisons) -> list[list[list[_Plan]]]:
        """For every record and ALT a plan per window length."""
        together = self._plan_substitutions(records, compared)
        plans: list[list[list[_Plan]]] = []
        for number, record in enumerate(records):
            known = [together.get((number, nth)) for nth in range(len(record.alts))]
            if None in known:
                alone = self._statuses(record)
                known = [
                    plan or self._plan(record, alt, status, compared)
                    for plan, (alt, status) in zip(known, alone, strict=True)
                ]
            plans.append([plan for plan in known if plan is not None])
        return plans

    def _plan_substitutions(self, records: Sequence[Record], compared: Comparisons) -> dict[Place, list[_Plan]]:
        """Plans of single bases in windows on the grid, where all windows of a contig hold what they should.

        The others are planned one by one.
        """
        plans: dict[Place, list[_Plan]] = {}
        if self.settings.gene is not None:
            return plans
        strand = self.settings.strand
        for contig, every in find_substitutions(records, self.names).items():
            some = fitting(every, records, contig=contig, reference=self.reference)
            length = self.reference.contigs[contig]
            if not some.places or min(length, max(self.settings.widths)) > self.settings.max_length:
                continue
            settings = zip(self.settings.widths, self.settings.grid, strict=True)
            around = [
                windows_around(some.starts, contig=contig, reference=self.reference, width=width, grid=grid)
                for width, grid in settings
            ]
            if any((one.unknown > N_RICH).any() or not one.inside for one in around):
                continue
            for one in around:
                compare = one.compared(
                    some.tokens, compared, forward=strand != Strand.REVERSE, reverse=strand != Strand.FORWARD
                )
                for place, comparisons in zip(some.places, compare, strict=True):
                    plans.setdefault(place, []).append(_Plan(Status.OK, comparisons))
        return plans

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

    def _plan(self, record: Record, alt: str, status: Status | None, compared: Comparisons) -> list[_Plan]:
        """One plan per window length."""
        if status is not None:
            return [_Plan(status)] * len(self.settings.widths)
        allele = trimmed(record.start, record.ref, alt)
        if max(len(allele.ref), len(allele.alt)) > self.settings.max_indel:
            return [_Plan(Status.TOO_LONG)] * len(self.settings.widths)
        contig = self.names[record.contig]
        if self.settings.gene is not None:
            body = self.settings.gene(contig, allele)
            if body is None:
                return [_Plan(Status.NO_GENE)]
            return [self._plan_window(contig, allele, body.window, compared, gene=body.id)]
        length = self.reference.contigs[contig]
        grids = zip(self.settings.widths, self.settings.grid, strict=True)
        windows = [grid_window(allele.start, contig_length=length, width=width, grid=grid) for width, grid in grids]
        return [self._plan_window(contig, allele, window, compared) for window in windows]

    def _plan_window(
        self, contig: str, allele: Allele, window: Window, compared: Comparisons, *, gene: str | None = None
    ) -> _Plan:
        if len(window) > self.settings.max_length:
            return _Plan(Status.TOO_LONG, gene=gene)
        circular = window.start < 0 or window.end > self.reference.contigs[contig]
        pair = haplotypes(window, allele, fetch=self.reference.slicer(contig, circular=circular))
        if pair is None:
            return _Plan(Status.TOO_LONG)
        if unknown_fraction(pair.ref) > N_RICH:
            return _Plan(Status.N_RICH, gene=gene)
        places = Alignment(pair.ref_site[0], pair.alt_site[0], len(allele.ref), len(allele.alt))
        moved = places.ref_bases != places.alt_bases or places.ref_start != places.alt_start
        return _Plan(Status.OK, tuple(self._strands(pair, compared)), gene, places if moved else None)

    def _strands(self, pair: Haplotypes, compared: Comparisons) -> list[Comparison]:
        found = []
        length = len(pair.ref)
        if self.settings.strand != Strand.REVERSE:
            found.append(compared.add(pair.ref, pair.alt, pair.ref_site, pair.alt_site))
        if self.settings.strand != Strand.FORWARD:
            ref_site, alt_site = ((length - end, length - start) for start, end in (pair.ref_site, pair.alt_site))
            ref, alt = map(reverse_complement, (pair.ref, pair.alt))
            found.append(compared.add(ref, alt, ref_site, alt_site))
        return found

    def _score(self, plan: _Plan, compared: Comparisons, outputs: Outputs | None) -> Score:
        if not plan.strands:
            return Score(plan.status, gene=plan.gene)
        values = [compared.difference(strand) for strand in plan.strands]
        # Adding 0.0 makes zero of a negative zero, which would be printed as "-0".
        llr = sum(values) / len(values) + 0.0
        strand = self.settings.strand
        return Score(
            plan.status,
            llr,
            None if strand == Strand.REVERSE else values[0] + 0.0,
            None if strand == Strand.FORWARD else values[-1] + 0.0,
            plan.gene,
            delta=None if outputs is None else outputs.delta(self._readings(plan), plan.alignment),
        )

    def _readings(self, plan: _Plan) -> list[Reading]:
        backwards = {Strand.BOTH: (False, True), Strand.FORWARD: (False,), Strand.REVERSE: (True,)}
        directions = backwards[self.settings.strand]
        return [Reading(s.ref_row, s.alt_row, back) for s, back in zip(plan.strands, directions, strict=True)]


@contextmanager
def _share(advance: Advance | None, *, records: int, sequences: int) -> Iterator[Advance | None]:
    """An ``advance`` for sequences in place of one for records; together they amount to all ``records``."""
    if advance is None:
        yield None
        return
    reported = 0.0

    def read(amount: float) -> None:
        nonlocal reported
        part = min(amount * records / sequences, records - reported)
        reported += part
        advance(part)

    yield read
    advance(records - reported)
