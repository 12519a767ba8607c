"""Progress on stderr: drawn on a terminal, silent everywhere else."""

import contextlib
import sys
from collections.abc import Callable, Iterator

Advance = Callable[[float], None]


def wanted(quiet: bool = False) -> bool:
    """Whether a bar would be seen: stderr is a terminal and the user did not ask for silence."""
    return not quiet and sys.stderr is not None and sys.stderr.isatty()


@contextlib.contextmanager
def progress_bar(
    description: str,
    *,
    total: float | None = None,
    unit: str = "",
    as_bytes: bool = False,
    quiet: bool = False,
) -> Iterator[Advance]:
    """Show a bar while the block runs; the block calls the yielded function with the amount just done.

    Args:
        description: what is happening, as a present participle ("Fetching hg38").
        total: amount at which the bar is full; ``None`` draws a pulse.
        unit: what is counted ("variants", "records").
        as_bytes: amounts are bytes: show sizes and speed.
        quiet: never draw.
    """
    if not wanted(quiet):
        yield lambda amount: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amounts: list[ProgressColumn] = (
        [DownloadColumn(), TransferSpeedColumn()] if as_bytes else [MofNCompleteColumn(), TextColumn(unit)]
    )
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *amounts,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(description, total=total)
        yield lambda amount: bar.advance(task, amount)
