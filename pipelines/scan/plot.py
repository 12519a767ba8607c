"""A picture of a region: the score of every base at every position, and the genes there."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genoconv.errors import UsageError
from genoconv.pipelines.pictures import new_figure, require_matplotlib, save_figure
from genoconv.pipelines.scan.spans import Span
from genoconv.tokens import decode
from genoconv.tracks.blocks import BASES, Block

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LONGEST = 2_000
_LETTERS = 120


def check_plot(path: Path, spans: Sequence[Span]) -> None:
    """Refuse before any work what could not be drawn.

    Raises:
        UsageError: not one short region, a name that is not a picture's, or matplotlib is missing.
    """
    if len(spans) != 1 or spans[0].end - spans[0].start > LONGEST:
        raise UsageError(f"--plot {path}: can draw one region of at most {LONGEST:,} bases; select it with --region")
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UsageError(f"--plot {path}: give a name ending in .png, .pdf or .svg")
    require_matplotlib(f"--plot {path}:")


def draw(path: Path, blocks: Sequence[Block], *, genes: "pd.DataFrame | None") -> None:
    """Write the heat map; the first four columns of ``blocks`` are the scores of A, C, G, T."""
    scores = np.concatenate([block.values[:, :4] for block in blocks]).T.astype(np.float64)
    ref = decode(np.concatenate([block.ref for block in blocks]))
    first, last = blocks[0].start + 1, blocks[0].start + scores.shape[1]
    finite = scores[np.isfinite(scores)]
    limit = float(np.quantile(np.abs(finite), 0.99)) if finite.size else 1.0
    below = genes is not None and not genes.empty
    figure = new_figure(max(8.0, min(24.0, scores.shape[1] / 8)), 3.2 if below else 2.6, layout="constrained")
    assert figure is not None  # check_plot
    heat, *others = figure.subplots(1 + below, 1, sharex=True, squeeze=False, height_ratios=[4, 1][: 1 + below])[:, 0]
    image = heat.imshow(
        scores, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest",
        extent=(first - 0.5, last + 0.5, 3.5, -0.5),
    )  # fmt: skip
    heat.set_yticks(range(4), list(BASES))
    heat.set_ylabel("base")
    if scores.shape[1] <= _LETTERS:
        for position, letter in enumerate(ref, first):
            if letter in BASES:
                heat.text(position, BASES.index(letter), letter, ha="center", va="center", fontsize=6)
    figure.colorbar(image, ax=heat, label="ln P(alt) - ln P(ref)")
    if genes is not None and below:
        _draw_genes(others[0], genes, first, last)
    lowest = [heat, *others][-1]
    lowest.set_xlim(first - 0.5, last + 0.5)
    lowest.ticklabel_format(axis="x", useOffset=False, style="plain")
    lowest.set_xlabel(f"{blocks[0].contig}, position")
    save_figure(figure, path)


def _draw_genes(axes: "Axes", genes: "pd.DataFrame", first: int, last: int) -> None:
    """A bar for each gene between two positions, 1-based, both included."""
    axes.set_yticks([])
    for row, gene in enumerate(genes.to_dict("records")):
        left, right = max(int(gene["start"]) + 1, first), min(int(gene["end"]), last)
        axes.plot([left, right], [row, row], lw=4, color="C0")
        axes.text(left, row + 0.25, f"{gene['name'] or gene['gene_id']} ({gene['strand']})", fontsize=7)
    axes.set_ylim(-1, len(genes) + 0.5)
