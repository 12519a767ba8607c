"""What a person sees while a run goes on: figures on the bar, lines by time where there is no bar."""

import io
import logging
import re

import pytest
import rich.console

from genoconv import progress
from genoconv.progress import Bar, noted_bar
from genoconv.train import display as display_module
from genoconv.train.display import Display
from genoconv.train.metrics import Row


def row(step: int, split: str = "train", *, loss: float = 1.25, speed: float | None = 12_345.6) -> Row:
    return Row(step, step * 100, split, {"loss": loss, "perplexity": 3.4903}, 1e-3, speed)


class Recorded(Bar):
    drawn = True

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done = 0.0

    def advance(self, amount: float) -> None:
        self.done += amount

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(display_module.time, "monotonic", lambda: now[0])
    return now


def test_the_bar_shows_loss_perplexity_and_speed(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="genoconv")
    bar = Recorded()
    shown = Display(bar)
    shown.begin(0.0)
    shown.show(row(10))
    assert bar.notes[-1] == "loss 1.2500, perplexity 3.4903, 12,346 bases/s"
    shown.show(row(10, "valid", loss=1.3, speed=None))
    assert bar.notes[-1].endswith("12,346 bases/s; validation loss 1.3000, perplexity 3.4903")
    clock[0] += 1000
    shown.advance(0.25, 10)
    shown.advance(0.5, 20)
    assert bar.done == 50
    assert caplog.messages == ["step 10: validation loss 1.3000, perplexity 3.4903"]  # the bar has the rest


def test_without_a_bar_there_is_a_line_now_and_then(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="genoconv")
    shown = Display(Bar())
    shown.begin(0.2)  # resumed
    for step in range(1, 101):
        clock[0] += 1
        if step % 10 == 0:
            shown.show(row(step))
        shown.advance(0.2 + step / 125, step)
    assert caplog.messages == [
        "step 10 (28%), loss 1.2500, perplexity 3.4903, 12,346 bases/s, about 90 s left",
        "step 40 (52%), loss 1.2500, perplexity 3.4903, 12,346 bases/s, about 60 s left",
        "step 70 (76%), loss 1.2500, perplexity 3.4903, 12,346 bases/s, about 30 s left",
        "step 100 (100%), loss 1.2500, perplexity 3.4903, 12,346 bases/s, about 1 s left",
    ]


def test_a_slow_run_is_heard_of_before_its_first_row(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="genoconv")
    shown = Display(Bar())
    shown.begin(0.0)
    clock[0] += 40
    shown.advance(0.01, 1)
    assert caplog.messages == ["step 1 (1%), about 66 min left"]


def test_a_drawn_bar_has_percent_and_note(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = rich.console.Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr(progress, "wanted", lambda quiet=False: not quiet)
    monkeypatch.setattr(rich.console, "Console", lambda **_: console)
    with noted_bar("Training") as bar:
        assert bar.drawn
        bar.advance(37)
        bar.note("loss 1.2500 [not markup] \x1b]0;title\x07")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert "Training" in text
    assert "37%" in text
    assert r"loss 1.2500 [not markup] \x1b]0;title\x07" in text
    with noted_bar("Training", quiet=True) as bar:
        assert not bar.drawn
