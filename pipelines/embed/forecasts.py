"""How long ``genoconv embed`` will take, measured with the first spans of its input."""

from collections.abc import Sequence
from itertools import islice

from genoconv.errors import UsageError
from genoconv.pipelines.embed.inputs import Source
from genoconv.pipelines.embed.report import report_longer
from genoconv.pipelines.embed.survey import Survey
from genoconv.pipelines.forecast import Forecast, at_rate, speed
from genoconv.tasks.embed import Embedder
from genoconv.tasks.spans import Span

SHORT = 1 << 18
"""Bases of a run that is over before its time could be measured."""
_MEASURED_SPANS = 256


def forecast(survey: Survey, embedder: Embedder, *, devices: Sequence[str]) -> Forecast:
    """What a dry run says.

    Raises:
        UsageError: the input can be read only once.
    """
    source, found = survey.source, survey.result()
    if found is None:
        raise UsageError(f"--dry-run: {source.name} can be read only once; write it to a file first")
    report_longer(found, embedder)
    rate = speed_of(embedder, source)
    return at_rate(rate, amount=found.bases, unit="bases", devices=devices)


def speed_of(embedder: Embedder, source: Source) -> float | None:
    """Bases a second, measured with the first spans; None where there are none."""
    runs = source.runs(tokens=SHORT)
    spans = (span for run in runs for span in run if len(span.tokens))
    some = [_shortened(span, embedder.max_length) for span in islice(spans, _MEASURED_SPANS)]

    def work(items: int) -> float:
        embedder.rows(some[:items])
        return sum(len(span.tokens) for span in some[:items])

    return speed(work, available=len(some))


def _shortened(span: Span, longest: int) -> Span:
    tokens = span.tokens[:longest]
    return span._replace(end=span.start + len(tokens), tokens=tokens)
