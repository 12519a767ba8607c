"""About how long a scan will take: its model on the first device, and the writing of its table."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from genoconv.pipelines.forecast import Forecast, forecast, speed
from genoconv.pipelines.scan.formats import format_of, write
from genoconv.pipelines.scan.spans import Span
from genoconv.tasks.batching import fetching
from genoconv.tasks.scan import Scanner
from genoconv.tokens import A
from genoconv.tracks.blocks import COLUMNS, Block

_MEASURED_TILES = 256
_MEASURED_ROWS, _MOST_ROWS = 1 << 10, 1 << 16
_WRITING_SECONDS = 0.25


def estimate(output: Path, pieces: Sequence[list[Span]], scanner: Scanner, devices: Sequence[str]) -> Forecast:
    """Measure, for about a second, how long the positions of ``pieces`` take on ``devices``."""
    total = sum(span.end - span.start for piece in pieces for span in piece)
    tiles = (tile for piece in pieces for span in piece for tile in scanner.tiles(*span))
    some = list(islice(tiles, _MEASURED_TILES))

    def read(items: int) -> float:
        scanner.read(some[:items], take=lambda one: fetching(one.scores))
        return sum(tile.end - tile.start for tile in some[:items])

    expected = forecast(read, amount=total, unit="positions", available=len(some), devices=devices)
    if format_of(output).columns != COLUMNS or expected.seconds is None:
        return expected  # arrays and tracks are written while later positions are computed
    rows = speed(_table(output), available=_MOST_ROWS // _MEASURED_ROWS, enough=_WRITING_SECONDS)
    return expected if not rows else replace(expected, seconds=expected.seconds + total / rows)


def _table(output: Path) -> Callable[[int], float]:
    """``work(items)`` that writes rows of a table like ``output``, with made-up scores, and drops it."""
    random = np.random.default_rng(0)

    def work(items: int) -> float:
        count = items * _MEASURED_ROWS
        bases = random.integers(A, A + 4, count).astype(np.uint8)
        block = Block("contig", 0, bases, random.standard_normal((count, COLUMNS)).astype(np.float32))

        def blocks(contig: str | None = None, /) -> Iterator[Block]:
            yield block

        with TemporaryDirectory(prefix="genoconv-") as folder:
            write(
                Path(folder) / f"x{format_of(output).suffix}",
                blocks,
                contigs={"contig": count},
                positions=count,
                facts={},
            )
        return count

    return work
