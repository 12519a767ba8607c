"""Score the alleles of variants: ln P(alternative window) - ln P(reference window) under a causal model.

Every distinct sequence of a call is read by the model once a strand: all alleles of a window share its reference,
and repeated alleles share everything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from genoconv.tasks.likelihood import CausalLikelihood, LogP, Pair, Tokens, scored
from genoconv.tokens import reverse_complement
from genoconv.variants.alleles import Allele, Status, check_alt, check_ref, trimmed, unwritten
from genoconv.variants.reader import Record
from genoconv.variants.reference import Reference
from genoconv.variants.windows import Haplotypes, Window, grid_window, haplotypes, unknown_fraction


def suffix_start(width: int, grid: int) -> int:
    """Position of a window on the grid up to which an alternative equals its reference, on either strand, as a rule.

    A variant lies within half a grid step of the centre, except near a contig's ends, and an allele of up to 16 bases
    begins as much earlier when it is read backwards.
    """
    return max(0, width // 2 - grid // 2 - 16)


N_RICH = 0.5
"""A window with a greater fraction of bases other than A, C, G, T is not scored."""


class Reduce(StrEnum):
    """Which bases of the two windows a score compares."""

    SUM = "sum"
    """All of them: the log-likelihood ratio in nats."""
    MEAN = "mean"
    """All of them, divided by the number of bases that count in the reference window: nats per base."""
    SITE = "site"
    """Only the variant's own: as many as the longer allele has, from the variant's first base on."""


class Strand(StrEnum):
    """Directions in which the windows are read."""

    BOTH = "both"
    FORWARD = "forward"
    REVERSE = "reverse"


class Score(NamedTuple):
    """The result for one allele in one window, in nats; None where ``status`` is not ok or a strand was not asked for.

    ``llr`` is the mean over the strands that were read; negative: less likely than the reference.
    """

    status: Status
    llr: float | None = None
    forward: float | None = None
    reverse: float | None = None


Span = tuple[int, int]
GeneWindow = Callable[[str, Allele], Window | None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides a score besides model, genome and allele.

    Attributes:
        widths: window lengths in bases; one score each. A single 0 with ``gene`` set stands for whole genes.
        grid: distance between window centres for each width.
        reduce: bases that are compared.
        strand: directions that are read, relative to the gene with ``gene``.
        max_indel: greatest length of an allele, without the bases that REF and ALT share.
        max_length: longest sequence that the model takes.
        gene: ``gene(contig, allele)`` gives the gene body that covers an allele; None for windows on the grid.
    """

    widths: tuple[int, ...]
    grid: tuple[int, ...]
    max_length: int
    reduce: Reduce = Reduce.SUM
    strand: Strand = Strand.BOTH
    max_indel: int = 50
    gene: GeneWindow | None = None


@dataclass(frozen=True, slots=True)
class _Strand:
    """One direction of an allele: which sequences to compare, and over which half-open spans of them."""

    ref_row: int
    alt_row: int
    ref_span: Span
    alt_span: Span

    @property
    def pair(self) -> Pair:
        """What the likelihood has to know: nothing before the spans matters."""
        return Pair(self.ref_row, self.alt_row, min(self.ref_span[0], self.alt_span[0]))


class _Rows:
    """Distinct sequences: each reference once, and under it each alternative once."""

    def __init__(self) -> None:
        self.sequences: list[Tokens] = []
        self._index: dict[tuple[int | None, bytes], int] = {}

    def row(self, tokens: Tokens, *, of: int | None = None) -> int:
        """Where ``tokens`` are; ``of`` is the row of the reference that they are an alternative of."""
        key = of, tokens.tobytes()
        if key not in self._index:
            self._index[key] = len(self.sequences)
            self.sequences.append(tokens)
        return self._index[key]


class VariantScorer:
    """Scores records, many at a time.

    Args:
        likelihood: the model.
        reference: the genome.
        names: contig name of the VCF -> of the FASTA; contigs that are not in it are ``no_contig``.
        settings: see :class:`Settings`.
    """

    def __init__(
        self,
        likelihood: CausalLikelihood,
        *,
        reference: Reference,
        names: Mapping[str, str],
        settings: Settings,
    ) -> None:
        self.likelihood = likelihood
        self.reference = reference
        self.names = names
        self.settings = settings

    def score(self, records: Sequence[Record]) -> list[list[list[Score]]]:
        """Scores of ``records``: one list a record, in it one a ALT, in it one :class:`Score` a window length.

        A score depends on its allele alone, not on what else is in ``records``, up to the rounding of the model's
        arithmetic in batches of different size.
        """
        rows = _Rows()
        plans = [
            [self._plan(record, alt, status, rows) for alt, status in self._statuses(record)] for record in records
        ]
        pairs = [
            direction.pair
            for record in plans
            for allele in record
            for window in allele
            if not isinstance(window, Status)
            for direction in window
        ]
        log_p = self.likelihood(rows.sequences, pairs)
        return [[[self._reduce(plan, rows, log_p) for plan in allele] for allele in record] for record in plans]

    def _statuses(self, record: Record) -> list[tuple[str, Status | None]]:
        """Each ALT with the reason why it has no score, or None."""
        found = [(alt, unwritten(alt)) for alt in record.alts]
        if all(status is not None for _, status in found):
            return found
        target = self.names.get(record.contig)
        if target is None:
            problem: Status | None = Status.NO_CONTIG
        else:
            problem = check_ref(record.ref, self.reference.tokens(target, record.start, record.end))
        return [(alt, status or problem or check_alt(alt)) for alt, status in found]

    def _plan(self, record: Record, alt: str, status: Status | None, rows: _Rows) -> list[Status | list[_Strand]]:
        if status is not None:
            return [status] * len(self.settings.widths)
        allele = trimmed(record.start, record.ref, alt)
        if max(len(allele.ref), len(allele.alt)) > self.settings.max_indel:
            return [Status.TOO_LONG] * len(self.settings.widths)
        contig = self.names[record.contig]
        return [
            self._plan_window(contig, allele, width, grid, rows)
            for width, grid in zip(self.settings.widths, self.settings.grid, strict=True)
        ]

    def _plan_window(self, contig: str, allele: Allele, width: int, grid: int, rows: _Rows) -> Status | list[_Strand]:
        length = self.reference.contigs[contig]
        if self.settings.gene is None:
            window = grid_window(allele.start, contig_length=length, width=width, grid=grid)
        else:
            covering = self.settings.gene(contig, allele)
            if covering is None:
                return Status.NO_GENE
            window = covering
        if len(window) > self.settings.max_length:
            return Status.TOO_LONG
        circular = window.start < 0 or window.end > length
        pair = haplotypes(window, allele, fetch=self.reference.slicer(contig, circular=circular))
        if pair is None:
            return Status.TOO_LONG
        if unknown_fraction(pair.ref) > N_RICH:
            return Status.N_RICH
        return self._directions(pair, rows)

    def _directions(self, pair: Haplotypes, rows: _Rows) -> list[_Strand]:
        found = []
        length = len(pair.ref)
        if self.settings.strand != Strand.REVERSE:
            found.append(self._direction(pair.ref, pair.alt, pair.ref_site, pair.alt_site, rows))
        if self.settings.strand != Strand.FORWARD:
            ref_site, alt_site = ((length - end, length - start) for start, end in (pair.ref_site, pair.alt_site))
            ref, alt = map(reverse_complement, (pair.ref, pair.alt))
            found.append(self._direction(ref, alt, ref_site, alt_site, rows))
        return found

    def _direction(self, ref: Tokens, alt: Tokens, ref_site: Span, alt_site: Span, rows: _Rows) -> _Strand:
        differs = ref != alt
        first = int(differs.argmax())
        ref_row = rows.row(ref)
        alt_row = rows.row(alt, of=ref_row) if differs[first] else ref_row
        if self.settings.reduce == Reduce.SITE:
            return _Strand(ref_row, alt_row, ref_site, alt_site)
        # Up to the first difference both are the same function of the same bases; leaving that part out of the sums
        # keeps its rounding errors out of the score.
        span = (first, len(ref))
        return _Strand(ref_row, alt_row, span, span)

    def _reduce(self, plan: Status | list[_Strand], rows: _Rows, log_p: Sequence[LogP]) -> Score:
        if isinstance(plan, Status):
            return Score(plan)
        values = [self._difference(direction, rows.sequences, log_p) for direction in plan]
        # Adding 0.0 turns a negative zero, which would be printed as "-0", into zero.
        llr = sum(values) / len(values) + 0.0
        strand = self.settings.strand
        return Score(
            Status.OK,
            llr,
            None if strand == Strand.REVERSE else values[0] + 0.0,
            None if strand == Strand.FORWARD else values[-1] + 0.0,
        )

    def _difference(self, direction: _Strand, sequences: Sequence[Tokens], log_p: Sequence[LogP]) -> float:
        if direction.ref_row == direction.alt_row:
            return 0.0
        alt = log_p[direction.alt_row][slice(*direction.alt_span)].sum(dtype=np.float64)
        ref = log_p[direction.ref_row][slice(*direction.ref_span)].sum(dtype=np.float64)
        total = float(alt - ref)
        bases = scored(sequences[direction.ref_row]) if self.settings.reduce == Reduce.MEAN else 1
        return total / max(bases, 1)
