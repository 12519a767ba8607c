"""What a run of ``genoconv score-variants`` did, in a line, and why alleles have no score, in a few more."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from genoconv.tasks.planning import Settings
from genoconv.tasks.score import Score
from genoconv.variants.alleles import Status
from genoconv.wording import count

BIN = 0.5
"""Width of a bin of the histogram of scores, in nats."""
_OUTER = 20  # bins on either side of zero

_WHY = {
    Status.NO_ALT: "ALT is .",
    Status.SYMBOLIC: "symbolic alleles and breakends spell no sequence",
    Status.STAR: "* stands for an upstream deletion",
    Status.NO_CONTIG: "the FASTA has no sequence of that name and length; is it the right one?",
    Status.REF_MISMATCH: "REF differs from the FASTA; is it another assembly?",
    Status.NON_ACGT: "REF or ALT has letters other than A, C, G, T",
    Status.TOO_LONG: "longer than --max-indel or than the window",
    Status.N_RICH: "more than half of the window is unknown sequence",
    Status.NO_GENE: "outside the genes of --annotation; drop --context gene for windows",
}


@dataclass(slots=True)
class Summary:
    """What a run did.

    Attributes:
        alleles: their number by status.
        long_genes: alleles in genes that the model cannot hold, by gene.
        histogram: scored alleles by bin of the first window's score; see :data:`BIN`.
    """

    records: int = 0
    resumed: int = 0
    seconds: float = 0.0
    alleles: Counter[str] = field(default_factory=Counter)
    long_genes: Counter[str] = field(default_factory=Counter)
    histogram: Counter[int] = field(default_factory=Counter)

    def add(self, scores: Sequence[Sequence[Sequence[Score]]]) -> None:
        """Count records with their scores."""
        self.records += len(scores)
        alleles = [windows for record in scores for windows in record]
        statuses = Counter(map(overall, alleles))
        statuses[Status.NO_ALT] += sum(not record for record in scores)
        self.alleles.update({str(status): number for status, number in statuses.items() if number})
        first = [windows[0].llr for windows in alleles if windows and windows[0].llr is not None]
        bins = np.floor(np.array(first, np.float64) / BIN).clip(-_OUTER, _OUTER).astype(np.int64)
        self.histogram.update(bins.tolist())
        if Status.TOO_LONG in statuses:
            every = [score for windows in alleles for score in windows if score.status == Status.TOO_LONG]
            self.long_genes.update(score.gene for score in every if score.gene is not None)

    def join(self, other: "Summary") -> None:
        """Count what another has counted."""
        self.records += other.records
        self.alleles.update(other.alleles)
        self.histogram.update(other.histogram)
        self.long_genes.update(other.long_genes)

    def bins(self) -> range:
        """Bins of the histogram from the lowest that is filled to the highest."""
        return range(min(self.histogram, default=0), max(self.histogram, default=-1) + 1)

    def counts(self) -> dict[str, float | None]:
        """What ``--json`` says of the run; ``alleles_STATUS`` counts alleles without a score by their status."""
        return {
            "records": self.records,
            "records_resumed": self.resumed,
            "alleles": sum(self.alleles.values()),
            "alleles_scored": self.alleles[Status.OK],
            **{
                f"alleles_{status.name.lower()}": self.alleles[status]
                for status in Status
                if status not in (Status.OK, Status.NO_ALT)
            },
            "records_without_alt": self.alleles[Status.NO_ALT],
            "scoring_seconds": round(self.seconds, 3),
        }

    def __str__(self) -> str:
        unscored = "".join(
            f", {number:,} {status}" for status, number in sorted(self.alleles.items()) if status != Status.OK
        )
        rate = (self.records - self.resumed) / self.seconds if self.seconds else 0.0
        again = f" ({self.resumed:,} from the interrupted run)" if self.resumed else ""
        return (
            f"{count(self.records, 'record')}{again}: {count(self.alleles[Status.OK], 'allele')} scored{unscored}; "
            f"{rate:,.{0 if rate >= 100 else 2}f} variants/s"
        )

    def warnings(self, settings: Settings, *, gene_lengths: Mapping[str, int]) -> list[str]:
        """What a person should know about alleles without a score."""
        found = []
        if self.records and not self.alleles[Status.OK]:
            total = sum(self.alleles.values())
            status, number = self.alleles.most_common(1)[0]
            why = "in genes that are too long for this model" if self.long_genes else _WHY[Status(status)]
            found.append(
                f"no allele was scored: {number:,} of {total:,} {'is' if number == 1 else 'are'} {status} ({why})"
            )
        if self.long_genes:
            name, _ = self.long_genes.most_common(1)[0]
            others = f" and {count(len(self.long_genes) - 1, 'other gene')}" if len(self.long_genes) > 1 else ""
            are = "are" if others else "is"
            alleles = sum(self.long_genes.values())
            have, their = ("has", "its") if alleles == 1 else ("have", "their")
            found.append(
                f"{count(alleles, 'allele')} {have} no score because {their} gene is longer than this "
                f"model's {settings.max_length:,} bases: {name} ({gene_lengths.get(name, 0):,} bases){others} {are} "
                "too long; use a model made for longer sequences, or drop --context gene to score them in windows"
            )
        return found


def overall(windows: Sequence[Score]) -> Status:
    """Ok only if every window has a score; else the first reason."""
    for score in windows:
        if score.status != Status.OK:
            return score.status
    return Status.OK
