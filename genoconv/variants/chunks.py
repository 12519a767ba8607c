"""Cut a stream of records into the pieces that are scored, journalled, resumed and sharded."""

from collections.abc import Callable, Hashable, Iterable, Iterator

from genoconv.variants.records import Record


def chunks(records: Iterable[Record], *, size: int, place: Callable[[Record], Hashable]) -> Iterator[list[Record]]:
    """Cut the records into runs that are scored, journalled and resumed as one.

    A run ends where the next record has another window than the one before, so that a reference pass is seldom needed
    on both sides of a cut; it never has more than twice ``size`` records. The cuts depend on the records alone: an
    interrupted run, and every shard, finds the same ones.

    Args:
        records: in the order of the file.
        size: records after which a run may end.
        place: alike for two records where they share a window.
    """
    run: list[Record] = []
    for record in records:
        if len(run) >= 2 * size or (len(run) >= size and place(record) != place(run[-1])):
            yield run
            run = []
        run.append(record)
    if run:
        yield run


def grid_place(grid: int) -> Callable[[Record], Hashable]:
    """For :func:`chunks`: windows whose centres are ``grid`` bases apart."""
    return lambda record: (record.contig, (record.start + grid // 2) // grid)


def shard_of(runs: Iterator[list[Record]], *, index: int, count: int, total: int) -> Iterator[list[Record]]:
    """The runs of one shard: contiguous, in order, about ``1 / count`` of the ``total`` records.

    A run belongs to the shard in whose share its first record lies, so the shards are disjoint and together complete.
    """
    first = 0
    for run in runs:
        if first * count // max(total, 1) == index:
            yield run
        first += len(run)
