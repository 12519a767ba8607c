"""The causal convolution, and how a length is computed on a GPU: the plans that genoconv chooses for sm_90."""

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from style import COLOURS, save

from genoconv.gpu.targets import card_of
from genoconv.ops.longconv.overlap_save.plan import choose_chunks
from genoconv.ops.longconv.regimes import pair_sizes, reach, transforms

WAYS = (
    "one pass: the row in one multiprocessor",
    "one pass, half by half",
    "one pass, by clusters of multiprocessors",
    "three passes over memory",
    "overlapping chunks",
    "torch.fft",
)
_ONE_PASS = tuple(COLOURS["train"] + opacity for opacity in ("", "99", "55"))
SHADES = (*_ONE_PASS, COLOURS["test"], COLOURS["valid"], COLOURS["grey"])
_REGIMES = ("one-sm", "halves", "cluster", "three-pass")


def causal() -> None:
    rng = np.random.default_rng(1)
    positions = 64
    row = np.zeros(positions)
    row[[6, 22, 40]] = 1, -0.7, 1.3
    lags = np.arange(positions)
    taps = np.exp(-lags / 9) * np.cos(lags / 2.3 + rng.normal() / 9)
    figure = Figure(figsize=(9, 2.3))
    panels = zip(
        figure.subplots(1, 3, sharex=True),
        (row, taps, np.convolve(row, taps)[:positions]),
        ("u[n]: a row, one channel", "k[m]: its filter, one tap per lag", "y[n] = Σ k[m] u[n − m], m = 0 .. n"),
        strict=True,
    )
    for axes, values, title in panels:
        axes.vlines(range(positions), 0, values, color=COLOURS["train"], lw=1.4)
        axes.axhline(0, color=COLOURS["grey"], lw=0.8)
        axes.set_title(title, fontsize=10)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    figure.tight_layout()
    save(figure, "causal")


def regimes() -> None:
    card = card_of("sm_90")
    table = transforms(card)
    sizes = tuple(size for _, size, _ in transforms(card, gradients=True))
    pairs = pair_sizes(card)
    exponents = range(8, 25)
    picture = np.full((len(exponents), len(exponents)), np.nan)
    for column, n in enumerate(exponents):
        for line, k in enumerate(exponents):
            if k > n:
                continue
            length, taps = 2**n, 2**k
            if choose_chunks(length, taps=taps, sizes=sizes, pairs=pairs) is not None:
                way = 4
            elif length > reach(card):
                way = 5
            else:
                name = next(name for name, size, _ in table if size >= length)
                way = _REGIMES.index(name)
            picture[line, column] = way
    figure = Figure(figsize=(7.4, 4.6))
    axes = figure.subplots()
    axes.imshow(picture, origin="lower", cmap=ListedColormap(SHADES), vmin=-0.5, vmax=len(WAYS) - 0.5, aspect="auto")
    ticks = range(0, len(exponents), 2)
    names = [_short(2 ** exponents[tick]) for tick in ticks]
    axes.set(xticks=ticks, yticks=ticks, xticklabels=names, yticklabels=names)
    axes.set(xlabel="N, positions of a row", ylabel="K, taps of the filter", title="Forward pass on sm_90 (H100, H200)")
    shown = [Patch(color=SHADES[way], label=WAYS[way]) for way in range(len(WAYS)) if (picture == way).any()]
    axes.legend(handles=shown, frameon=False, loc="upper left")
    save(figure, "regimes")


def _short(number: int) -> str:
    return f"{number >> 20} Mi" if number >= 1 << 20 else f"{number >> 10} Ki" if number >= 1 << 10 else str(number)


if __name__ == "__main__":
    causal()
    regimes()
