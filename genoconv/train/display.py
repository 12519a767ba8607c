"""What a person sees of a run while it goes: a bar on a terminal, a line now and then in a log."""

import logging
import math
import time
from collections.abc import Mapping

from genoconv.progress import Bar
from genoconv.train.metrics import Row

log = logging.getLogger(__name__)

# Seconds between lines where there is no bar: soon at first, so that a mistake is seen early.
_FIRST, _LATER = 10.0, 30.0
_SPLITS = {"valid": "validation", "test": "test set"}


class Display:
    """Shows the newest figures, the speed and the time left.

    Args:
        bar: of the progress room; counts percent.
    """

    def __init__(self, bar: Bar) -> None:
        self.bar = bar
        self._shown = 0.0
        self._figures: dict[str, str] = {}
        self._began = (time.monotonic(), 0.0)
        self._next_line = time.monotonic() + _FIRST

    def begin(self, done: float) -> None:
        """Training starts, or is resumed, with this share of it done."""
        self._began = (time.monotonic(), done)
        self._next_line = time.monotonic() + _FIRST
        self._move(done)

    def show(self, row: Row) -> None:
        """New figures. Those of held-out windows always get a line."""
        if row.split == "train":
            speed = f", {row.tokens_per_second:,.0f} bases/s" if row.tokens_per_second else ""
            self._figures["train"] = _text(row.figures) + speed
        else:
            self._figures[row.split] = f"{_SPLITS[row.split]} {_text(row.figures)}"
            log.info("step %s: %s", f"{row.step:,}", self._figures[row.split])
        self.bar.note("; ".join(self._figures.values()))

    def advance(self, done: float, step: int) -> None:
        """``step`` steps are done, this share of the run."""
        self._move(done)
        now = time.monotonic()
        if now < self._next_line:
            return
        self._next_line = now + _LATER
        since, before = self._began
        left = (now - since) * (1 - done) / (done - before) if done > before else None
        parts = [f"step {step:,} ({done:.0%})", self._figures.get("train", "")]
        parts.append("" if left is None else f"about {_minutes(left)} left")
        level = logging.DEBUG if self.bar.drawn else logging.INFO  # beside a bar, for a log file only
        log.log(level, "%s", ", ".join(part for part in parts if part))

    def _move(self, done: float) -> None:
        self.bar.advance(max(0.0, 100 * done - self._shown))
        self._shown = max(self._shown, 100 * done)


def _text(figures: Mapping[str, float]) -> str:
    """Figures of all the data, and the perplexity of its parts."""
    shown = {n: v for n, v in figures.items() if "[" not in n or (n.startswith("perplexity[") and not math.isnan(v))}
    return ", ".join(f"{name} {value:.4f}" for name, value in shown.items())


def _minutes(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{hours:.1f} h"
