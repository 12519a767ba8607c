"""Cut a stream of records into the pieces that are scored, journalled, resumed and sharded."""

from collections.abc import Iterable, Iterator

from genoconv.variants.reader import Record


def chunks(records: Iterable[Record], *, size: int, grid: int) -> Iterator[list[Record]]:
    """Cut the records into runs that are scored, journalled and resumed as one.

    A run ends where the next record has another window than the one before (centres every ``grid`` bases), so that
    a reference pass is seldom needed on both sides of a cut; it never has more than twice ``size`` records.
    The cuts depend on the records alone: an interrupted run, and every shard, finds the same ones.
    """
    run: list[Record] = []
    for record in records:
        if len(run) >= size:
            last = run[-1]
            same = record.contig == last.contig and _cell(record, grid) == _cell(last, grid)
            if not same or len(run) >= 2 * size:
                yield run
                run = []
        run.append(record)
    if run:
        yield run


def _cell(record: Record, grid: int) -> int:
    return (record.start + grid // 2) // grid


def shard_of(runs: Iterator[list[Record]], *, index: int, count: int, total: int) -> Iterator[list[Record]]:
    """The runs of one shard: contiguous, in order, about ``1 / count`` of the ``total`` records.

    A run belongs to the shard in whose share its first record lies, so the shards are disjoint and together complete.
    """
    first = 0
    for run in runs:
        if first * count // max(total, 1) == index:
            yield run
        first += len(run)
