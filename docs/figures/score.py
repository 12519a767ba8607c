"""How an ALT allele is scored: two windows that start together, a sum over their bases, on both strands."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from style import COLOURS, save

REF, AT, DELETED = "ACGTTGCAATGCCATGACGT", 8, 3


def letters(axes: Axes, text: str, *, y: float, changed: range, after: int) -> None:
    for x, letter in enumerate(text):
        colour = COLOURS["red"] if x in changed else "#dfe6f1" if x < AT else "#f4e3cb" if x >= after else "white"
        axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, edgecolor="white", alpha=0.9))
        axes.text(x + 0.5, y + 0.5, letter, ha="center", va="center", family="monospace")


def main() -> None:
    figure = Figure(figsize=(9, 3.9))
    axes = figure.subplots()
    beyond = "TTA"
    deletion = REF[:AT] + REF[AT + DELETED :] + beyond
    letters(axes, REF, y=3, changed=range(AT, AT + DELETED), after=AT + DELETED)
    letters(axes, deletion, y=1, changed=range(0), after=AT)
    axes.text(-0.4, 3.5, "REF window", ha="right", va="center")
    axes.text(-0.4, 1.5, "ALT window", ha="right", va="center")
    axes.text(AT + DELETED / 2, 4.15, "deleted bases", ha="center", va="bottom", color=COLOURS["red"])
    axes.text(AT / 2, 0.75, "the same context", ha="center", va="top")
    axes.text(
        (AT + len(REF)) / 2, 0.75, "the ALT window reaches further\ninto the genome: same length", ha="center", va="top"
    )
    axes.text(
        len(REF) + 0.6,
        2.5,
        "ln P(ALT window)\n− ln P(REF window)\n= GCONV_LLR\n\nnegative: less likely\nthan the reference",
        va="center",
    )
    for y, direction, name in ((5.2, 1, "read forwards"), (-0.9, -1, "and as the reverse complement; mean of both")):
        ends = (0.2, len(REF) - 0.2)[::direction]
        axes.add_patch(
            FancyArrowPatch((ends[0], y), (ends[1], y), arrowstyle="->", mutation_scale=14, color=COLOURS["train"])
        )
        axes.text(len(REF) / 2, y + 0.15, name, ha="center", va="bottom", color=COLOURS["train"])
    axes.set(xlim=(-4.5, len(REF) + 8), ylim=(-1.4, 6))
    axes.axis("off")
    save(figure, "score")


if __name__ == "__main__":
    main()
