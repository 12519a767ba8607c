"""What ``genoconv embed`` says of a run: the closing line, and what was unusual about the input."""

import logging
from dataclasses import dataclass
from pathlib import Path

from genoconv.pipelines.embed.inputs import Counts, Odd, Source
from genoconv.pipelines.embed.options import EmbedOptions
from genoconv.tasks.embed import Embedder
from genoconv.tasks.pooling import Pool
from genoconv.wording import count

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Summary:
    """What a run did."""

    output: Path
    counts: Counts
    intervals: bool
    rows: int
    width: int
    resumed: int
    bases: int
    seconds: float

    def figures(self) -> dict[str, float | None]:
        """What ``--json`` says of the run."""
        return {
            "intervals" if self.intervals else "records": self.counts.records,
            "rows": self.rows,
            "width": self.width,
            "rows_resumed": self.resumed,
            "bases": self.counts.bases,
            "sequences_longer_than_model": self.counts.longer,
            "sequences_without_bases": self.counts.empty.count,
            "sequences_unknown": self.counts.unknown.count,
            "embedding_seconds": round(self.seconds, 3),
        }

    def __str__(self) -> str:
        rate = self.bases / self.seconds if self.seconds else 0.0
        again = f" ({self.resumed:,} from the interrupted run)" if self.resumed else ""
        read = count(self.counts.records, "interval" if self.intervals else "record")
        return (
            f"{self.output}: {read}, {count(self.rows, 'vector')} of {self.width} dimensions{again}, "
            f"{count(self.counts.bases, 'base')}; {rate:,.0f} bases/s"
        )


def report_longer(counts: Counts, embedder: Embedder) -> None:
    if counts.longer:
        how = {
            Pool.MEAN: "in {} windows and averaged over all bases",
            Pool.MAX: "in {} windows, taking the maximum over all of them",
            Pool.LAST: "only at the end, as many bases as fit",
            Pool.NONE: "in {} windows, which do not see each other",
        }[embedder.pool]
        log.info(
            "%s longer than the maximum of %s bases: read %s",
            f"{count(counts.longer, 'sequence')} {'is' if counts.longer == 1 else 'are'}",
            f"{embedder.max_length:,}",
            how.format(f"{counts.pieces:,}"),
        )


def report_unusual(source: Source, options: EmbedOptions) -> None:
    counts = source.counts
    if counts.empty.count:
        row = "has no row" if options.window or options.pool == "none" else "is a row of NaN"
        log.warning("%s: %s; each %s", source.name, _some(counts.empty, "without a base"), row)
    if counts.unknown.count:
        log.warning(
            "%s: %s; their vectors are not meaningful", source.name, _some(counts.unknown, "without A, C, G or T")
        )


def _some(odd: Odd, what: str) -> str:
    return f"{count(odd.count, 'sequence')} {what} (first: {odd.first})"
