"""Score the alleles of variants: ln P(alternative window) - ln P(reference window) under a causal model.

Every distinct sequence of a call is read by the model once per strand: all alleles of a window share its reference,
and repeated alleles share everything.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from genoconv.tasks.batching import computing
from genoconv.tasks.comparison import Advance, Comparisons, Reduce
from genoconv.tasks.deltas import Alignment, HeadOutputs, Outputs
from genoconv.tasks.deltas import Strand as Reading
from genoconv.tasks.likelihood import CausalLikelihood
from genoconv.tasks.rows import Indices
from genoconv.tasks.substitutions import Substitutions, find_substitutions, fitting, windows_around
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
    """How one allele in one window gets its score: the comparison on each strand, or why there is none."""

    status: Status
    strands: tuple[int, ...] = ()
    gene: str | None = None
    alignment: Alignment | None = None


class _Together(NamedTuple):
    """Substitutions that were planned together, and for each window length the comparisons (strands, V)."""

    some: Substitutions
    comparisons: list[Indices]


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
        together = list(self._plan_substitutions(records, compared))
        scores: list[list[Any]] = [[None] * len(record.alts) for record in records]
        for one in together:
            for number, nth in zip(one.some.records.tolist(), one.some.alts.tolist(), strict=True):
                scores[number][nth] = ()
        plans = self._other_plans(records, scores, compared)
        with computing(), _share(advance, records=len(records), sequences=len(compared.sequences)) as read:
            compared.read(self.likelihood, advance=read)
            outputs = self.head(list(compared.sequences)) if self.head is not None and compared.sequences else None
        for one in together:
            found = self._together_scores(one, compared, outputs)
            for number, nth, windows in zip(one.some.records.tolist(), one.some.alts.tolist(), found, strict=True):
                scores[number][nth] = windows
        for (number, nth), plan in plans.items():
            scores[number][nth] = [self._score(one, compared, outputs) for one in plan]
        return scores

    def _plan_substitutions(self, records: Sequence[Record], compared: Comparisons) -> Iterator[_Together]:
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
            yield _Together(
                some, [one.compared(some.tokens, compared, forward=forward, reverse=reverse) for one in around]
            )

    def _other_plans(
        self, records: Sequence[Record], scores: Sequence[Sequence[Any]], compared: Comparisons
    ) -> dict[tuple[int, int], list[_Plan]]:
        """A plan per window length for every record and ALT where ``scores`` is None."""
        plans: dict[tuple[int, int], list[_Plan]] = {}
        for number, alleles in enumerate(scores):
            if None in alleles:
                record = records[number]
                for nth, (alt, status) in enumerate(self._statuses(record)):
                    if alleles[nth] is None:
                        plans[number, nth] = self._plan(record, alt, status, compared)
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

    def _together_scores(self, one: _Together, compared: Comparisons, outputs: Outputs | None) -> Iterator[list[Score]]:
        """Of each substitution, one per window length."""
        by_width = []
        for numbers in one.comparisons:
            values = compared.differences()[numbers]
            deltas = self._deltas(numbers.T.tolist(), compared, outputs)
            # Adding 0.0 makes zero of a negative zero, which would be printed as "-0".
            strands = self._of_strands((values[0] + 0.0).tolist(), (values[-1] + 0.0).tolist())
            rows = zip((values.mean(0) + 0.0).tolist(), *strands, deltas, strict=True)
            by_width.append([Score(Status.OK, llr, ahead, back, delta=delta) for llr, ahead, back, delta in rows])
        return map(list, zip(*by_width, strict=True))

    def _of_strands(self, forward: list[float], reverse: list[float]) -> list[list[Any]]:
        """Both columns, with None for a strand that is not read."""
        none = [None] * len(forward)
        strand = self.settings.strand
        return [none if strand == Strand.REVERSE else forward, none if strand == Strand.FORWARD else reverse]

    def _score(self, plan: _Plan, compared: Comparisons, outputs: Outputs | None) -> Score:
        if not plan.strands:
            return Score(plan.status, gene=plan.gene)
        values = [float(compared.differences()[number]) for number in plan.strands]
        [forward], [reverse] = self._of_strands([values[0] + 0.0], [values[-1] + 0.0])
        [delta] = self._deltas([plan.strands], compared, outputs, alignment=plan.alignment)
        return Score(plan.status, sum(values) / len(values) + 0.0, forward, reverse, plan.gene, delta=delta)

    def _deltas(
        self,
        plans: Sequence[Sequence[int]],
        compared: Comparisons,
        outputs: Outputs | None,
        *,
        alignment: Alignment | None = None,
    ) -> list[list[float] | None]:
        """Differences of the outputs of a head for alleles, each with its comparisons; None without a head."""
        if outputs is None:
            return [None] * len(plans)
        backwards = {Strand.BOTH: (False, True), Strand.FORWARD: (False,), Strand.REVERSE: (True,)}
        directions = backwards[self.settings.strand]
        found: list[list[float] | None] = []
        for strands in plans:
            rows = compared.rows[list(strands)].tolist()
            readings = [Reading(ref, alt, back) for (ref, alt), back in zip(rows, directions, strict=True)]
            found.append(outputs.delta(readings, alignment))
        return found


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
