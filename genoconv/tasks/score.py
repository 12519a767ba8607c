"""Score the alleles of variants: ln P(alternative window) - ln P(reference window) under a causal model.

Every distinct sequence of a call is read by the model once per strand: all alleles of a window share its reference,
and repeated alleles share everything.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from genoconv.tasks.batching import computing
from genoconv.tasks.comparison import Advance, Comparisons
from genoconv.tasks.deltas import Alignment, HeadOutputs, Outputs
from genoconv.tasks.deltas import Strand as Reading
from genoconv.tasks.likelihood import CausalLikelihood
from genoconv.tasks.planning import Plan, Planner, Settings, Strand, Together
from genoconv.variants.alleles import Status
from genoconv.variants.records import Record
from genoconv.variants.reference import Reference


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
        self._planner = Planner(reference, names=names, settings=settings, aligned=head is not None)

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
        together, plans = self._planner.plans(records, compared)
        scores: list[list[Any]] = [[None] * len(record.alts) for record in records]
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

    def _together_scores(self, one: Together, compared: Comparisons, outputs: Outputs | None) -> Iterator[list[Score]]:
        """Of each allele, one per window length."""
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

    def _score(self, plan: Plan, compared: Comparisons, outputs: Outputs | None) -> Score:
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
