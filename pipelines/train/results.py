"""What a finished run is worth: its figures beside those of Markov models on the same windows, and its origin."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genoconv.errors import DataError
from genoconv.pipelines.outcome import Outcome as Report
from genoconv.pipelines.provenance import origin
from genoconv.pipelines.train.folder import MODEL_CONFIG
from genoconv.pipelines.train.inputs import Inputs
from genoconv.pipelines.train.options import TrainConfig
from genoconv.progress import Advance, progress_bar
from genoconv.wording import count, shell

if TYPE_CHECKING:
    from genoconv.pipelines.train.session import Session
    from genoconv.tokens import Tokens
    from genoconv.train.job import Outcome
    from genoconv.train.metrics import Row
    from genoconv.train.mixture import JoinedReader

# Counting k-mers in more sequence than this changes their tables little and costs minutes.
_BASELINE_BASES = 100_000_000


@dataclass(frozen=True)
class Baselines:
    """Perplexities of the Markov models, one per order, on the windows that the network was measured on.

    Attributes:
        splits: of each split.
        sources: of each split, those of each source that has windows in it; none where there is one source.
    """

    splits: Mapping[str, list[float]]
    sources: Mapping[str, Mapping[str, list[float]]]


def measure_baselines(inputs: Inputs, outcome: "Outcome", *, both_strands: bool, quiet: bool) -> Baselines:
    """Count k-mers in the training windows of all sources, and measure."""
    from genoconv.train.baselines import MarkovModels
    from genoconv.train.held_out import spread

    train = inputs.reader("train")
    chosen = spread(train.lengths.tolist(), bases=_BASELINE_BASES, parts=train.parts)
    with progress_bar("Counting k-mers", total=len(chosen), unit="windows", quiet=quiet) as advance:
        models = MarkovModels(_Some(train, chosen, advance), both_strands=both_strands)
    splits, sources = {}, {}
    for split, windows in outcome.measured.items():
        reader = inputs.reader(split)
        splits[split] = models.perplexities(_Some(reader, windows))
        own = {name: _Some(reader, rows) for name, rows in _by_source(inputs, reader, windows).items()}
        sources[split] = {name: models.perplexities(some) for name, some in own.items()}
    return Baselines(splits, sources)


def _by_source(inputs: Inputs, reader: "JoinedReader", windows: Sequence[int]) -> dict[str, list[int]]:
    """Windows of a split, by their source."""
    ends = itertools.accumulate(reader.parts)
    spans = {name: range(end - size, end) for name, end, size in zip(inputs.names, ends, reader.parts, strict=False)}
    found = {name: [window for window in windows if window in span] for name, span in spans.items()}
    return {name: rows for name, rows in found.items() if rows}


@dataclass(frozen=True)
class _Some:
    """Some windows of a reader, which may move a progress bar whenever one of them is read."""

    reader: "JoinedReader"
    rows: Sequence[int]
    advance: Advance | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> "Tokens":
        if self.advance:
            self.advance(1)
        return self.reader[self.rows[index]]


def results_of(inputs: Inputs, outcome: "Outcome", baselines: Baselines) -> dict[str, Any]:
    """The figures of a run, for ``config.json``.

    Raises:
        DataError: no held-out base could be measured.
    """
    measured = {row.split: row for row in outcome.rows}  # the last of each
    valid, test = baselines.splits["valid"], baselines.splits.get("test")
    if "valid" not in measured or not valid:
        raise DataError("no held-out base could be measured: the validation windows contain no A, C, G or T")
    best = min(range(len(valid)), key=valid.__getitem__)
    ours = round(measured["valid"].perplexity, 5)
    results: dict[str, Any] = {
        "steps": outcome.step,
        "tokens": outcome.tokens,
        "seconds": round(outcome.seconds, 1),
        "validation_perplexity": ours,
        "validation_bases": _bases(inputs, outcome, "valid"),
        "markov_perplexities": [round(value, 5) for value in valid],
        "best_markov_order": best,
        "better_than_markov": ours < min(valid),
    }
    if "test" in measured and test:
        results |= {
            "test_perplexity": round(measured["test"].perplexity, 5),
            "test_bases": _bases(inputs, outcome, "test"),
            "test_markov_perplexities": [round(value, 5) for value in test],
        }
    parts = {part: _part(inputs, outcome.rows, baselines, part) for part in inputs.strata.groups()}
    if inputs.names:
        results["sources"] = {name: parts[name] for name in inputs.names}
    if inputs.regions:
        results["regions"] = {name: parts[name] for name in inputs.regions}
    return results


def _part(inputs: Inputs, rows: "Sequence[Row]", baselines: Baselines, part: str) -> dict[str, Any]:
    """Figures of one source or region: bases learned from, and on held-out windows the perplexities."""
    measured = {row.split: row.figures for row in rows}  # the last of each
    read = sum(row.figures[f"bases[{part}]"] for row in rows if row.split == "train")
    facts: dict[str, Any] = {"training_bases": int(read)}
    for split, name in (("valid", "validation"), ("test", "test")):
        figures = measured.get(split, {})
        if figures.get(f"bases[{part}]"):
            facts[f"{name}_perplexity"] = round(figures[f"perplexity[{part}]"], 5)
            facts[f"{name}_bases"] = int(figures[f"bases[{part}]"])
        markov = baselines.sources.get(split, {}).get(part)
        if markov:
            facts[f"{name}_best_markov"] = round(min(markov), 5)
    return facts


def _bases(inputs: Inputs, outcome: "Outcome", split: str) -> int:
    return int(inputs.reader(split).lengths[outcome.measured[split]].sum())


def provenance(session: "Session", results: dict[str, Any]) -> dict[str, Any]:
    """Where a model comes from, for ``config.json``: what it learned from, on what, and how well."""
    genome, config = session.describe(), session.config
    command = session.command or shell("genoconv", "train", session.folder / "run.yaml")
    record = {
        "genome": session.inputs.name,
        "demo": session.inputs.demo,
        "sequences_sha256": genome["sequences_sha256"],
        "windows": {"kind": genome["windows"], **{name: _without_contigs(s) for name, s in genome["split"].items()}},
        **results,
        "max_minutes": config.run.max_minutes,
        "ended_by": "steps" if results["steps"] == config.run.max_steps else "minutes",
        **origin(session.machine, seed=config.run.seed, command=command),
    }
    if config.init is not None:
        record["init"] = {"folder": str(config.init), "digest": genome["init_sha256"]}
    return record


def outcome(config: TrainConfig, folder: Path, code: int) -> Report:
    """What ``--json`` says of a run: the figures of the model folder that it made."""
    from genoconv.train.cluster import is_first_process

    if not (folder / MODEL_CONFIG).is_file() or not is_first_process(config.run.launcher):
        return Report(options=config, exit_code=code, first=is_first_process(config.run.launcher))
    from genoconv.models.checkpoint import read_config

    record = read_config(folder)["provenance"]
    figures = ("steps", "tokens", "seconds", "validation_perplexity", "validation_bases", "test_perplexity")
    counts = {("training_seconds" if name == "seconds" else name): record.get(name) for name in figures}
    return Report(options=config, exit_code=code, counts=counts, result=record, outputs={"output": [folder]})


def _without_contigs(counts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in counts.items() if name != "contigs"}


def summary(results: dict[str, Any]) -> str:
    """The closing line."""
    order = results["best_markov_order"]
    best, ours = results["markov_perplexities"][order], results["validation_perplexity"]
    difference = f"{abs(1 - ours / best):.1%} {'below' if ours < best else 'above'}"
    speed = results["tokens"] / max(results["seconds"], 1e-9)
    test = f", test perplexity {results['test_perplexity']:.3f}" if "test_perplexity" in results else ""
    return (
        f"validation perplexity {ours:.3f}{test} after {count(results['steps'], 'step')}, {results['tokens']:,} bases"
        f" ({speed:,.0f}/s): {difference} the best Markov model (order {order}, {best:.3f}); a uniform guess has 4.000"
    )
