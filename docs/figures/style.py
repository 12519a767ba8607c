"""What the figures share: fonts, colours, and SVG files that do not change from run to run."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

HERE = Path(__file__).parent
COLOURS = {"train": "#3f6fb5", "valid": "#d98b2b", "test": "#4b9a63", "grey": "#8a8f98", "red": "#c0443c"}

mpl.rcParams.update(
    {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.hashsalt": "genoconv",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
    }
)


def save(figure: Figure, name: str) -> None:
    """Write a figure beside this file."""
    figure.savefig(HERE / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight", facecolor="white")
