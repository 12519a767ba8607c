"""What is said on the way where no bar can be drawn."""

import io
import logging
import re
import sys

import pytest

from genoconv import progress
from genoconv.wording import printable


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_now_and_then_where_there_is_no_terminal(clock, caplog):
    caplog.set_level(logging.INFO, "genoconv")
    with progress.progress_bar("Scoring", total=2000, unit="records") as advance:
        for clock[0] in range(1, 501):
            advance(4)
    assert caplog.messages[:2] == [
        "Scoring: 40 of 2,000 records (2%), about 8 min 10 s left",
        "Scoring: 80 of 2,000 records (4%), about 8 min 00 s left",
    ]
    assert caplog.messages[-1].startswith("Scoring: 1,")
    assert 8 <= len(caplog.messages) <= 14
    caplog.clear()
    with progress.progress_bar("Reading variants", unit="records") as advance:
        for clock[0] in (500, 505, 515):
            advance(1000)
    assert caplog.messages == ["Reading variants: 3,000 records in 15 s"]


def test_nothing_is_said_of_short_work_or_under_quiet(clock, caplog):
    caplog.set_level(logging.INFO, "genoconv")
    for quiet, seconds in ((False, 9), (True, 1000)):
        with progress.progress_bar("Scoring", quiet=quiet) as advance:
            clock[0] += seconds
            advance(1)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("chr1 ACGT é 染色体", "chr1 ACGT é 染色体"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("a\nb\tc\x7f\x9b", r"a\nb\tc\x7f\x9b"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        (b"run-\xff".decode("utf-8", "surrogateescape"), r"run-\xff"),
        ("\ud800", r"\ud800"),
    ],
)
def test_a_terminal_shows_it_and_does_not_obey_it(text, shown):
    assert printable(text) == shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("columns", "total", "seen"),
    [
        (80, 250_000, "250000/250000 bases"),
        (80, iter([None, 250_000]).__next__, "250000/250000 bases"),  # known later
        (40, 250_000, "Reading the reference 100%"),
        (40, None, "250000/?"),
    ],
)
def test_no_number_is_cut_however_narrow_the_terminal(monkeypatch, columns, total, seen):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.progress_bar("Reading the reference", total=total, unit="bases") as advance:
        advance(250_000)
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", sys.stderr.getvalue())
    assert seen in drawn
    assert "\u2026" not in drawn
