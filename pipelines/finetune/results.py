"""What a fine-tuned model is worth on the records that it has not seen, and where it comes from."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genoconv import atomic
from genoconv.pipelines.finetune.options import FinetuneConfig
from genoconv.pipelines.outcome import Outcome as Report
from genoconv.pipelines.provenance import origin
from genoconv.pipelines.train.folder import MODEL_CONFIG
from genoconv.wording import count, printable, shell

if TYPE_CHECKING:
    from genoconv.pipelines.finetune.session import Session
    from genoconv.train.job import Outcome

PREDICTIONS = "predictions.tsv"
THIS = "this model"

Array = npt.NDArray[np.float32]
Rows = dict[str, Array]
"""Predictions (N, K) by split."""


def evaluate(session: "Session", features: Array | None, frozen: dict[str, Rows]) -> dict[str, Any]:
    """Figures of validation and test with their intervals, for the model and its baselines; writes its predictions.

    Args:
        session: the run, trained.
        features: pooled vectors of all records, where the backbone was not trained.
        frozen: predictions of the baselines, by their names.

    Returns:
        By split: ``records``, and ``rows``: name -> ``figures`` and ``intervals``.
    """
    from genoconv.pipelines.finetune.vectors import pooled
    from genoconv.tasks.predict import predictions

    model, data = session.model, session.data
    found: dict[str, Any] = {}
    lines: list[str] = []
    for split in ("valid", "test"):
        members = data.members(split)
        if not len(members):
            continue
        vectors = pooled(model, [data.sequences[n] for n in members]) if features is None else features[members]
        predicted = predictions(model, vectors)
        rows = {THIS: predicted, **{name: some[split] for name, some in frozen.items()}}
        measured = {name: _measured(session, some, data.labels.known(members)) for name, some in rows.items()}
        found[split] = {"records": len(members), "rows": measured}
        lines += _lines(session, split, members, predicted)
    names = "\t".join(printable(name) for name in model.head.config.columns)
    atomic.write_text(session.folder / PREDICTIONS, f"name\tsplit\tlabel\t{names}\n" + "".join(lines))
    return found


def _measured(session: "Session", predicted: Array, targets: Array) -> dict[str, Any]:
    from genoconv.train import evaluation

    head, seed = session.model.head.config, session.config.run.seed
    ranges = evaluation.intervals(head, predicted, targets, resamples=evaluation.RESAMPLES, seed=seed)
    return {
        "figures": {name: rounded(value) for name, value in evaluation.figures(head, predicted, targets).items()},
        "intervals": {name: [rounded(end) for end in ends] for name, ends in ranges.items()},
    }


def rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)


def short(value: float) -> str:
    """A figure as people read it: an r2 can be far below -1."""
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.2e}"


def _lines(session: "Session", split: str, members: npt.NDArray[np.int64], predicted: Array) -> list[str]:
    labels = session.data.labels
    found = []
    for number, target, row in zip(members.tolist(), labels.known(members), predicted.tolist(), strict=True):
        if labels.kind in ("binary", "multiclass"):
            label = labels.names[int(target[0])]
        elif labels.kind == "multilabel":
            label = ";".join(name for name, has in zip(labels.names, target, strict=True) if has > 0.5)
        else:
            label = ";".join("" if np.isnan(value) else f"{value:.7g}" for value in target)
        values = "\t".join(f"{value:.6g}" for value in row)
        found.append(f"{printable(session.data.names[number])}\t{split}\t{printable(label)}\t{values}\n")
    return found


def provenance(session: "Session", outcome: "Outcome", results: dict[str, Any], *, planned: int) -> dict[str, Any]:
    """Where a model comes from, for ``config.json``: what it learned from, on what, and how well."""
    from genoconv.models.checkpoint import read_config

    config = session.config
    command = session.command or shell("genoconv", "finetune", "--config", session.folder / "run.yaml")
    ended = "early" if outcome.stopped_early else "steps" if outcome.step >= planned else "minutes"
    return {
        "kind": "fine-tuned",
        **session.describe(),
        "mode": config.mode,
        **({"rank": config.rank, "alpha": config.alpha} if config.mode == "lora" else {}),
        "steps": outcome.step,
        "best_step": outcome.best_step,
        "tokens": outcome.tokens,
        "seconds": round(outcome.seconds, 1),
        "ended_by": ended,
        "results": results,
        **origin(session.machine, seed=config.run.seed, command=command),
        "base": read_config(config.model)["provenance"],
    }


def outcome(config: FinetuneConfig, folder: Path, code: int) -> Report:
    """What ``--json`` says of a run: the figures of the model folder that it made."""
    from genoconv.train.cluster import is_first_process

    first = is_first_process(config.run.launcher)
    if not first or not (folder / MODEL_CONFIG).is_file():
        return Report(options=config, exit_code=code, first=first)
    from genoconv.models.checkpoint import read_config

    record = read_config(folder)["provenance"]
    counts = {"steps": record["steps"], "training_seconds": record["seconds"]}
    counts |= {f"records_{split}": found["records"] for split, found in record["split"].items()}
    return Report(options=config, exit_code=code, counts=counts, result=record, outputs={"output": [folder]})


def summary(results: dict[str, Any]) -> str:
    """The closing line: the figures on the last set, and the best baseline by the main one."""
    split, found = list(results.items())[-1]
    rows = found["rows"]
    ours = rows[THIS]
    parts = []
    for name, value in ours["figures"].items():
        low, high = ours["intervals"][name]
        shown = "unknown" if value is None else short(value)
        parts.append(f"{name} {shown}" + ("" if low is None else f" ({short(low)} to {short(high)})"))
    which = {"test": "test set", "valid": "validation"}[split]
    text = f"{which}, {count(found['records'], 'record')}: {', '.join(parts)}"
    main = main_figure(results)
    others = {name: row["figures"][main] for name, row in rows.items() if name != THIS}
    known = {name: value for name, value in others.items() if value is not None}
    if known:
        best = max(known, key=known.__getitem__)
        text += f"; best baseline by {main}: {best}, {short(known[best])}"
    return text


def main_figure(results: dict[str, Any]) -> str:
    """The figure that compares best: the area under the ROC curve, or Pearson's correlation."""
    names = next(iter(results.values()))["rows"][THIS]["figures"]
    return "auroc" if "auroc" in names else "pearson"
