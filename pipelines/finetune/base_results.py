"""What a model with ``--per-base`` is worth on the windows that it has not seen."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genoconv import atomic
from genoconv.pipelines.finetune.base_baselines import base_baselines
from genoconv.pipelines.finetune.base_vectors import Features, in_groups, labels_of
from genoconv.pipelines.finetune.results import PREDICTIONS, THIS, rounded
from genoconv.progress import progress_bar
from genoconv.wording import printable

if TYPE_CHECKING:
    from genoconv.pipelines.finetune.session import Session

Array = npt.NDArray[np.float32]


def evaluate_bases(session: "Session") -> dict[str, Any]:
    """Figures of validation and test with their intervals, for the model and its baselines; writes means per window.

    Returns:
        As :func:`.results.evaluate`, and ``bases``, how many were measured.
    """
    from genoconv.tasks.bases import BaseOutputs, whole

    outputs = BaseOutputs(session.model)
    models: dict[str, Features] = {THIS: lambda sequences: outputs.predictions([whole(s) for s in sequences])}
    if session.config.baselines:
        with progress_bar("Measuring baselines", unit="models", quiet=session.quiet) as advance:
            for name, predict in base_baselines(session):
                models[name] = predict
                advance(1)
    found: dict[str, Any] = {}
    lines: list[str] = []
    for split in ("valid", "test"):
        members = session.data.members(split)
        if not len(members):
            continue
        predicted = {name: _predicted(session, members, predict) for name, predict in models.items()}
        rows = {name: _measured(session, members, some) for name, some in predicted.items()}
        bases = sum(map(len, predicted[THIS]))
        found[split] = {"records": len(members), "bases": bases, "rows": rows}
        lines += _lines(session, split, members, predicted[THIS])
    columns = [printable(name) for name in session.model.head.config.columns]
    header = ["name", "split", "contig", "start", "end", "strand", "bases"]
    header += [f"{what}_{name}" for what in ("target", "predicted") for name in columns]
    atomic.write_text(session.folder / PREDICTIONS, "\t".join(header) + "\n" + "".join(lines))
    return found


def _predicted(session: "Session", members: npt.NDArray[np.int64], predict: Features) -> list[Array]:
    """Predictions (m, K) for the bases of each record that have a target."""
    labels, numbers = labels_of(session), iter(members.tolist())
    groups = in_groups([session.data.sequences[number] for number in members.tolist()])
    return [values[labels.has_target(next(numbers))] for some in groups for values in predict(some)]


def _measured(session: "Session", members: npt.NDArray[np.int64], predicted: list[Array]) -> dict[str, Any]:
    from genoconv.train import base_evaluation, evaluation

    head, targets = session.model.head.config, labels_of(session).known(members)
    windows = np.repeat(np.arange(len(members)), [len(some) for some in predicted])
    every, resamples = np.concatenate(predicted), evaluation.RESAMPLES
    ranges = base_evaluation.intervals(head, every, targets, windows, resamples=resamples, seed=session.config.run.seed)
    return {
        "figures": {name: rounded(value) for name, value in base_evaluation.figures(head, every, targets).items()},
        "intervals": {name: [rounded(end) for end in ends] for name, ends in ranges.items()},
    }


def _lines(session: "Session", split: str, members: npt.NDArray[np.int64], predicted: list[Array]) -> list[str]:
    """A row per window: where it is, and the mean target and prediction of its bases; for classes, their shares."""
    labels, found = labels_of(session), []
    for number, values in zip(members.tolist(), predicted, strict=True):
        targets = labels.targets[number][labels.has_target(number)]
        if labels.kind == "multiclass":
            targets = (targets == np.arange(len(labels.names))).astype(np.float32)
        known = np.isfinite(targets)
        means = np.where(known, targets, 0).sum(0, dtype=np.float64) / np.maximum(known.sum(0), 1)
        numbers = [f"{value:.6g}" for value in (*means.tolist(), *values.mean(0, dtype=np.float64).tolist())]
        window = labels.windows[number]
        place = [printable(window.contig), window.start, window.end, window.strand, len(values)]
        found.append("\t".join(map(str, [printable(window.name), split, *place, *numbers])) + "\n")
    return found
