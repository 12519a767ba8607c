"""Progress on stderr: a bar on a terminal, a line now and then everywhere else."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import cast

from genoconv.wording import printable

Advance = Callable[[float], None]

log = logging.getLogger(__name__)

_FIRST_LINE_SECONDS, _LINE_SECONDS = 10.0, 60.0
_NARROW = 64  # columns of a terminal in which numbers would be cut to make room for the bar


def wanted(quiet: bool = False) -> bool:
    """Whether a bar would be seen: stderr is a terminal and the user did not ask for silence."""
    return not quiet and sys.stderr is not None and sys.stderr.isatty()


@contextlib.contextmanager
def progress_bar(
    description: str,
    *,
    total: float | Callable[[], float | None] | None = None,
    unit: str = "",
    as_bytes: bool = False,
    quiet: bool = False,
) -> Iterator[Advance]:
    """Show a bar while the block runs; the block calls the yielded function with the amount just done.

    Args:
        description: what is happening, as a present participle ("Fetching hg38").
        total: amount at which the bar is full; ``None`` draws a pulse. A function is asked again until it is known.
        unit: what is counted ("variants", "records").
        as_bytes: amounts are bytes: show sizes and speed.
        quiet: say nothing.
    """
    shown = wanted(quiet)
    # Where a bar says it, or nothing shall be said, lines are for a log file only.
    lines = _Lines(
        description,
        total=total,
        unit="bytes" if as_bytes else unit,
        level=logging.DEBUG if shown or quiet else logging.INFO,
    )
    if not shown:
        yield lines
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    amounts: list[ProgressColumn] = (
        [DownloadColumn(), TransferSpeedColumn()] if as_bytes else [MofNCompleteColumn(), TextColumn(unit)]
    )
    columns = [BarColumn(), *amounts]
    if console.width < _NARROW:
        columns = amounts[:1] if lines.total is None else [TaskProgressColumn()]
    with Progress(
        TextColumn("{task.description}", markup=False),
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task(printable(description), total=lines.total)

        def advance(amount: float) -> None:
            lines(amount)
            bar.update(task, advance=amount, total=lines.total)

        yield advance


class Bar:
    """A bar of percent with a note beside it, such as the newest figures of a training run.

    Attributes:
        drawn: whether it is shown; if not, the caller reports progress in log lines.
    """

    drawn = False

    def advance(self, amount: float) -> None:
        """So many percent more are done."""

    def note(self, text: str) -> None:
        """Show ``text`` in place of the last note."""


@contextlib.contextmanager
def noted_bar(description: str, *, quiet: bool = False) -> Iterator[Bar]:
    """Show a :class:`Bar` while the block runs, on a terminal unless ``quiet``."""
    if not wanted(quiet):
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bar = [BarColumn(bar_width=20)] if console.width >= _NARROW else []
    columns = (*bar, TaskProgressColumn(), TimeRemainingColumn())
    note = TextColumn("{task.fields[note]}", markup=False)
    with Progress(
        TextColumn("{task.description}", markup=False), *columns, note, console=console, transient=True
    ) as progress:
        task = progress.add_task(printable(description), total=100, note="")

        class Drawn(Bar):
            drawn = True

            def advance(self, amount: float) -> None:
                progress.advance(task, amount)

            def note(self, text: str) -> None:
                progress.update(task, note=printable(text))

        yield Drawn()


class _Lines:
    """An :data:`Advance` that logs how far it is, after ten seconds first and then ever more rarely."""

    def __init__(
        self, description: str, *, total: float | Callable[[], float | None] | None, unit: str, level: int
    ) -> None:
        self.description, self.unit, self.level = description, unit, level
        self.ask = total if callable(total) else None
        self.total = self.ask() if self.ask else cast(float | None, total)
        self.done = 0.0
        self.began = time.monotonic()
        self.next = _FIRST_LINE_SECONDS

    def __call__(self, amount: float) -> None:
        self.done += amount
        if self.total is None and self.ask is not None:
            self.total = self.ask()
        elapsed = time.monotonic() - self.began
        if elapsed >= self.next:
            self.next = elapsed + min(_LINE_SECONDS, max(_FIRST_LINE_SECONDS, elapsed / 2))
            log.log(self.level, "%s: %s", self.description, self._state(elapsed))

    def _state(self, elapsed: float) -> str:
        if not self.total:
            return f"{self.done:,.0f} {self.unit} in {duration(elapsed)}".replace("  ", " ")
        share = self.done / self.total
        left = f", about {duration(elapsed / share - elapsed)} left" if 0 < share < 1 else ""
        return f"{self.done:,.0f} of {self.total:,.0f} {self.unit} ({share:.0%}){left}".replace("  ", " ")


def duration(seconds: float) -> str:
    """``14 min 03 s``, for a person."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
