"""The picture of a scanned region."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
