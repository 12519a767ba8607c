"""The picture of a scanned region."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genoconv.pipelines.scan import plot
from genoconv.pipelines.scan.plot import draw
from genoconv.tokens import encode
from genoconv.tracks.blocks import Block

axes = pytest.importorskip("matplotlib.axes")


def test_colours_are_symmetric_about_zero_and_spare_outliers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}
    original = axes.Axes.imshow

    def watched(self: Any, image: Any, **options: Any) -> Any:
        drawn.update(options, image=image)
        return original(self, image, **options)

    monkeypatch.setattr(axes.Axes, "imshow", watched)
    values = np.linspace(-5, 1, 400).reshape(100, 4)
    values[0] = -100, np.nan, 0, 0
    halves = [Block("c", 10, encode("ACGT" * 15), values[:60]), Block("c", 70, encode("ACGT" * 10), values[60:])]
    draw(tmp_path / "p.png", halves, genes=None)
    assert drawn["vmin"] == -drawn["vmax"]
    assert 4.5 < drawn["vmax"] < 5.5
    assert drawn["extent"][:2] == (10.5, 110.5)
    np.testing.assert_array_equal(drawn["image"], values.T)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def drawn(monkeypatch: pytest.MonkeyPatch, values: np.ndarray, genes: pd.DataFrame | None = None) -> Any:
    """The figure of a region that begins at position 1001."""
    figures: list[Any] = []
    monkeypatch.setattr(plot, "save_figure", lambda figure, path: figures.append(figure))
    draw(Path("p.png"), [Block("$c_1$ " * 30, 1000, encode("A" * len(values)), values)], genes=genes)
    figures[0].draw_without_rendering()
    return figures[0]


@pytest.mark.parametrize(
    ("length", "many", "size"), [(1, 3, 1), (90, 8, 46), (90, 12, 2), (1500, 40, 5), (1500, 300, 751)]
)
def test_names_of_genes_neither_overlap_nor_leave_the_picture(
    monkeypatch: pytest.MonkeyPatch, length: int, many: int, size: int
) -> None:
    starts = [1000 - length // 3 + length * i // many for i in range(many)]
    rows = [(s, s + size, "+-"[i % 2], f"g{i}", f"LONG_$NAME$_{i}") for i, s in enumerate(starts)]
    genes = pd.DataFrame(rows, columns=["start", "end", "strand", "gene_id", "name"])
    genes = genes[(genes["start"] < 1000 + length) & (genes["end"] > 1000)]
    figure = drawn(monkeypatch, np.zeros((length, 4)), genes)
    below = figure.axes[1]
    boxes = [text.get_window_extent() for text in below.texts]
    boxes += [bar.get_window_extent() for bar in below.patches]
    frame = below.get_window_extent()
    for i, box in enumerate(boxes):
        assert frame.x0 - 1 <= box.x0 < box.x1 <= frame.x1 + 1
        assert frame.y0 - 1 <= box.y0 < box.y1 <= frame.y1 + 1
        for other in boxes[:i]:
            assert (
                min(box.x1, other.x1) - max(box.x0, other.x0) < 1 or min(box.y1, other.y1) - max(box.y0, other.y0) < 1
            )
    left_out = len(genes) - len(below.texts)
    assert below.get_title(loc="right") == (f"and {left_out} more genes" if left_out else "")
    assert bool(left_out) == (many == 300)


def test_one_position_has_one_tick_and_unknown_sequence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    heat = drawn(monkeypatch, np.array([[0, 1.0, -2, 0.5]])).axes[0]
    low, high = heat.get_xlim()
    assert [tick.get_text() for tick in heat.get_xticklabels() if low < tick.get_position()[0] < high] == ["1,001"]
    heat = drawn(monkeypatch, np.full((30, 4), np.nan)).axes[0]
    assert [text.get_text() for text in heat.texts] == ["no scores in this region"]
    assert heat.images[0].get_clim() == (-1.0, 1.0)
