"""The picture of the scores of many samples."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genoconv.pipelines.workflow import report

figures = pytest.importorskip("matplotlib.figure")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    seen: list[Any] = []
    monkeypatch.setattr(figures.Figure, "savefig", lambda figure, *_, **__: seen.append(figure))
    return seen


def test_one_far_score_does_not_squeeze_the_others_and_is_counted(drawn: list[Any]) -> None:
    scores = np.linspace(-2, 2, 400)
    report._draw({"a": pd.DataFrame({"X_LLR": [*scores, -4000, np.nan]})}, Path("p.png"))
    axes = drawn[0].axes[0]
    assert axes.get_xlim() == (-2, 2)
    assert axes.get_xlabel().endswith("nats; 1 score beyond the picture")
    x, y = axes.lines[0].get_data()
    assert float(np.sum((y[1:] + y[:-1]) / 2 * np.diff(x))) == pytest.approx(400 / 401)


def test_names_of_samples_stand_below_the_curves_and_inside_the_picture(drawn: list[Any]) -> None:
    frames = {f"$x$ {i} " * 30: pd.DataFrame({"X_LLR": np.arange(9.0) + i}) for i in range(14)}
    report._draw(frames, Path("p.png"))
    drawn[0].draw_without_rendering()
    axes, [legend] = drawn[0].axes[0], drawn[0].legends
    box, whole = legend.get_window_extent(), drawn[0].bbox
    assert box.y1 <= axes.get_tightbbox().y0
    assert (box.x0 >= 0, box.y0 >= 0, box.x1 <= whole.x1) == (True, True, True)
    styles = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(styles) == len(legend.get_texts()) == 14
    report._draw({"a": pd.DataFrame({"X_LLR": [np.nan]})}, Path("p.png"))
    assert [text.get_text() for text in drawn[1].axes[0].texts] == ["no scores"]
