"""What a person looks at first in the folder of a fine-tuned model: the picture and the card."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genoconv import __version__, atomic
from genoconv.pipelines.finetune.results import THIS, short
from genoconv.pipelines.pictures import new_figure, save_figure
from genoconv.wording import count, printable

if TYPE_CHECKING:
    from genoconv.models.heads import HeadConfig
    from genoconv.pipelines.finetune.session import Session

PLOT, CARD = "finetune.png", "README.md"
_MODES = {
    "head": "only the head",
    "lora": "the head and low-rank updates of the projections",
    "full": "the head and the whole backbone",
}
_SPLITS = {"valid": "validation set", "test": "test set"}


def write_plot(path: Path, *, splits: dict[str, Any], figure: str) -> bool:
    """One figure of the model and of all baselines on the last set that was measured, with 95 % intervals.

    Returns:
        False where matplotlib is not installed, and nothing is written.
    """
    split, found = list(splits.items())[-1]
    rows = [(name, row["figures"][figure], row["intervals"][figure]) for name, row in found["rows"].items()]
    picture = new_figure(8, 0.9 + 0.42 * len(rows), layout="constrained")
    if picture is None:
        return False
    axes = picture.subplots()
    for place, (name, value, (low, high)) in enumerate(rows):
        if value is None:
            axes.annotate(" -", (0, place), va="center", fontsize=8)
            continue
        axes.barh(place, value, color="C0" if name == THIS else "0.75", height=0.65)
        if low is not None:
            axes.plot([low, high], [place, place], color="black", lw=1.2)
        axes.annotate(f" {short(value)}", (max(value, high or value, 0), place), va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.invert_yaxis()
    axes.set_xlabel(f"{figure} on the {_SPLITS[split]} ({_size(found)}), with 95 % bootstrap intervals")
    axes.spines[["top", "right"]].set_visible(False)
    axes.axvline(0, color="0.45", lw=0.8)
    axes.margins(x=0.12)
    save_figure(picture, path)
    return True


def write_card(path: Path, *, session: "Session", results: dict[str, Any], steps: int, plotted: bool) -> None:
    """The model card, ``README.md``."""
    config, data, head = session.config, session.data, session.model.head.config
    described = session.describe()
    splits, leaks = described["split"], described["leaks"]
    sizes = ", ".join(f"{split} {splits[split]['records']:,}" for split in splits)
    start = printable(described["model"]["name"])
    alike = f"{leaks['exact']:,} identical, {leaks['near']:,} nearly identical, {leaks['left_out']:,} removed"
    text = f"""# A model that predicts {printable(", ".join(head.labels[:6]))}{", ..." if len(head.labels) > 6 else ""}

Fine-tuned by genoconv {__version__} on {printable(Path(data.name).name)}, from the model {start}.
Use it with `genoconv predict`, or `genoconv.load_model(DIR).predict(ids)`.

| | |
|---|---|
| task | {head.kind} |
| outputs | {printable(", ".join(head.columns[:20]))} |
| trained | {_MODES[config.mode]}, {steps:,} steps |
| head | {_seen(head)}, one linear layer |
| records | {sizes}; by {printable(data.split_rule)} |
| training records that resemble held-out ones | {alike} |

{_tables(results)}
{_PLOT if plotted else ""}
To repeat the run: `genoconv finetune --config run.yaml -o OTHER`. `predictions.tsv` contains the predictions for
validation and test{" (their mean in each window)" if head.per_base else ""}, `metrics.csv` the loss over the run.
"""
    atomic.write_text(path, text)


def _seen(head: "HeadConfig") -> str:
    """What the linear layer sees, in words."""
    if not head.per_base:
        layers = "of every layer " if head.layers == "all" else ""
        return f"{head.pooling} {layers}over all bases{', both strands' if head.both_strands else ''}"
    strands = "" if not head.both_strands else ", both strands, concatenated" if head.stranded else ", both strands"
    return f"every base from its own state{strands}"


_PLOT = f"""
![The model and its baselines]({PLOT})
"""


def _tables(results: dict[str, Any]) -> str:
    """A table per set: figures of the model and the baselines, with 95 % bootstrap intervals."""
    parts = []
    for split, found in results.items():
        names = list(found["rows"][THIS]["figures"])
        lines = [f"On the {_SPLITS[split]}, {_size(found)}, with 95 % bootstrap intervals:", ""]
        lines += [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for row, values in found["rows"].items():
            cells = [_cell(values["figures"][name], values["intervals"][name]) for name in names]
            lines.append(f"| {row} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _size(found: dict[str, Any]) -> str:
    """How much was measured; of bases, intervals are over the windows that they lie in."""
    if "bases" in found:
        return f"{count(found['bases'], 'base')} of {count(found['records'], 'window')}"
    return count(found["records"], "record")


def _cell(value: float | None, interval: list[float | None]) -> str:
    if value is None:
        return "-"
    low, high = interval
    return short(value) if low is None or high is None else f"{short(value)} ({short(low)} to {short(high)})"
