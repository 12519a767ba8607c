"""What a finished run is worth: its figures beside those of Markov models on the same windows, and its origin."""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genoconv import __version__
from genoconv.errors import DataError
from genoconv.pipelines.outcome import Outcome as Report
from genoconv.pipelines.train.config import DEMO_GENOME
from genoconv.pipelines.train.folder import MODEL_CONFIG
from genoconv.pipelines.train.inputs import Inputs
from genoconv.pipelines.train.options import TrainConfig
from genoconv.progress import Advance, progress_bar

if TYPE_CHECKING:
    from genoconv.pipelines.train.session import Session
    from genoconv.tokens import Tokens
    from genoconv.train.data import WindowReader
    from genoconv.train.loop import Outcome

# Counting k-mers in more sequence than this changes their tables little and costs minutes.
_BASELINE_BASES = 100_000_000


def measure_baselines(inputs: Inputs, outcome: "Outcome", *, both_strands: bool, quiet: bool) -> dict[str, list[float]]:
    """Perplexities of the Markov models on the very windows that the network was measured on, by split."""
    from genoconv.train.baselines import MarkovModels
    from genoconv.train.data import WindowReader
    from genoconv.train.held_out import spread

    frame = inputs.split("train")
    chosen = spread((frame["end"] - frame["start"]).tolist(), bases=_BASELINE_BASES)
    train = WindowReader(inputs.fasta, frame.iloc[chosen])
    with progress_bar("Counting k-mers", total=len(train), unit="windows", quiet=quiet) as advance:
        models = MarkovModels(_Watched(train, advance), both_strands=both_strands)
    return {
        split: models.perplexities(WindowReader(inputs.fasta, inputs.split(split).iloc[windows]))
        for split, windows in outcome.measured.items()
    }


@dataclass(frozen=True)
class _Watched:
    """Windows that move a progress bar whenever one of them is read."""

    windows: "WindowReader"
    advance: Advance

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> "Tokens":
        self.advance(1)
        return self.windows[index]


def results_of(inputs: Inputs, outcome: "Outcome", baselines: dict[str, list[float]]) -> dict[str, Any]:
    """The figures of a run, for ``config.json``.

    Raises:
        DataError: no held-out base could be measured.
    """
    measured = {row.split: row for row in outcome.rows}  # the last of each
    if "valid" not in measured or not baselines["valid"]:
        raise DataError("no held-out base could be measured: the validation windows hold no A, C, G or T")
    best = min(range(len(baselines["valid"])), key=baselines["valid"].__getitem__)
    ours = round(measured["valid"].perplexity, 5)
    results: dict[str, Any] = {
        "steps": outcome.step,
        "tokens": outcome.tokens,
        "seconds": round(outcome.seconds, 1),
        "validation_perplexity": ours,
        "validation_bases": _bases(inputs, outcome, "valid"),
        "markov_perplexities": [round(value, 5) for value in baselines["valid"]],
        "best_markov_order": best,
        "better_than_markov": ours < min(baselines["valid"]),
    }
    if "test" in measured and baselines.get("test"):
        results |= {
            "test_perplexity": round(measured["test"].perplexity, 5),
            "test_bases": _bases(inputs, outcome, "test"),
            "test_markov_perplexities": [round(value, 5) for value in baselines["test"]],
        }
    return results


def _bases(inputs: Inputs, outcome: "Outcome", split: str) -> int:
    frame = inputs.split(split).iloc[outcome.measured[split]]
    return int((frame["end"] - frame["start"]).sum())


def provenance(session: "Session", results: dict[str, Any]) -> dict[str, Any]:
    """Where a model comes from, for ``config.json``: what it learned from, on what, and how well."""
    import torch

    genome, config = session.describe(), session.config
    record = {
        "genome": session.inputs.name,
        "demo": config.genome == DEMO_GENOME,
        "sequences_sha256": genome["sequences_sha256"],
        "windows": {"kind": genome["windows"], **{name: _without_contigs(s) for name, s in genome["split"].items()}},
        **results,
        "max_minutes": config.run.max_minutes,
        "ended_by": "steps" if results["steps"] == config.run.max_steps else "minutes",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "genoconv_version": __version__,
        "torch_version": torch.__version__,
        "device": session.machine.describe(),
        "precision": session.machine.precision,
        "seed": config.run.seed,
        "command": session.command or f"genoconv train {session.folder / 'run.yaml'}",
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
        f"validation perplexity {ours:.3f}{test} after {results['steps']:,} steps, {results['tokens']:,} bases"
        f" ({speed:,.0f}/s): {difference} the best Markov model (order {order}, {best:.3f}); a uniform guess has 4.000"
    )
