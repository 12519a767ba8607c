"""A picture of a region: the score of every base at every position, and the genes there."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from genoconv.errors import UsageError
from genoconv.pipelines.pictures import new_figure, require_matplotlib, save_figure
from genoconv.pipelines.scan.spans import Span
from genoconv.tokens import decode
from genoconv.tracks.blocks import BASES, Block
from genoconv.wording import count, printable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LONGEST = 2_000
_LETTERS = 120
_WIDEST, _MARGINS = 15.0, 1.4  # inches
_LANE, _LETTER = 0.26, 0.065  # inches: the height of a lane, the width of a letter of a name
_MOST_LANES, _LONGEST_NAME = 12, 60
_UNKNOWN = "0.8"


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
    finite = np.abs(scores[np.isfinite(scores)])
    limit = float(np.quantile(finite, 0.99)) if finite.size else 0.0
    width = min(max(8.0, scores.shape[1] / 8), _WIDEST)
    lanes, left_out = _lanes(genes, first, last, per_inch=scores.shape[1] / (width - _MARGINS))
    heights = [2.0, 0.1 + _LANE * len(lanes)] if lanes else [2.0]
    figure = new_figure(width, 0.6 + sum(heights), layout="constrained")
    assert figure is not None  # check_plot
    heat, *others = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    heat.set_facecolor(_UNKNOWN)  # shows where there is no score
    image = heat.imshow(
        scores, aspect="auto", cmap="RdBu_r", vmin=-(limit or 1.0), vmax=limit or 1.0, interpolation="nearest",
        extent=(first - 0.5, last + 0.5, 3.5, -0.5),
    )  # fmt: skip
    heat.set_yticks(range(4), list(BASES))
    heat.set_ylabel("base")
    if not finite.size:
        heat.text(0.5, 0.5, "no scores in this region", transform=heat.transAxes, ha="center", va="center")
    elif scores.shape[1] <= _LETTERS:
        for position, letter in enumerate(ref, first):
            if letter in BASES:
                heat.text(position, BASES.index(letter), letter, ha="center", va="center", fontsize=6)
    beyond = bool(finite.size) and float(finite.max()) > limit
    bar = figure.colorbar(image, ax=heat, pad=0.01, aspect=15, extend="both" if beyond else "neither")
    bar.set_label("ln P(alt) - ln P(ref), nats", fontsize=9)
    if lanes:
        _draw_genes(others[0], lanes, left_out)
    lowest = [heat, *others][-1]
    lowest.set_xlim(first - 0.5, last + 0.5)
    lowest.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    lowest.xaxis.set_major_formatter("{x:,.0f}")
    lowest.set_xlabel(f"{_short(blocks[0].contig)}, position", parse_math=False)
    save_figure(figure, path)


class _Gene(NamedTuple):
    """A bar and where its name stands, in positions; the name ends at ``anchor`` where it stands on the right."""

    left: float
    right: float
    anchor: float
    on_right: bool
    label: str


def _lanes(genes: "pd.DataFrame | None", first: int, last: int, *, per_inch: float) -> tuple[list[list[_Gene]], int]:
    """Genes between two positions (1-based, both included) in lanes without overlaps, and how many find no lane.

    Args:
        per_inch: positions on an inch.
    """
    lanes: list[list[_Gene]] = []
    ends: list[float] = []
    left_out = 0
    for gene in [] if genes is None else genes.sort_values("start", kind="stable").to_dict("records"):
        left, right = max(int(gene["start"]) + 0.5, first - 0.5), min(int(gene["end"]), last) + 0.5
        label = f"{_short(gene['name'] or gene['gene_id'])} ({gene['strand']})"
        wide = _LETTER * (len(label) + 1) * per_inch
        on_right = left + wide > last + 0.5
        begin, end = (min(left, right - wide), right) if on_right else (left, max(right, left + wide))
        lane = next((lane for lane, taken in enumerate(ends) if taken <= begin), len(ends))
        if lane == _MOST_LANES:
            left_out += 1
            continue
        if lane == len(ends):
            lanes.append([])
            ends.append(0.0)
        inset = 0.5 * _LETTER * per_inch
        lanes[lane].append(_Gene(left, right, right - inset if on_right else left + inset, on_right, label))
        ends[lane] = end + _LETTER * per_inch
    return lanes, left_out


def _draw_genes(axes: "Axes", lanes: Sequence[Sequence[_Gene]], left_out: int) -> None:
    """A bar for each gene, its name above it."""
    axes.set_yticks([])
    for row, lane in enumerate(lanes):
        for gene in lane:
            axes.barh(row, gene.right - gene.left, left=gene.left, height=0.25, color="C0")
            axes.text(
                gene.anchor, row - 0.2, gene.label, ha="right" if gene.on_right else "left", va="bottom", fontsize=7,
                clip_on=True, parse_math=False,
            )  # fmt: skip
    axes.set_ylim(len(lanes) - 0.6, -0.95)
    if left_out:
        axes.set_title(f"and {count(left_out, 'more gene')}", loc="right", fontsize=7, pad=2)


def _short(name: str) -> str:
    """A name that fits into the picture."""
    shown = printable(name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 3]}..."
