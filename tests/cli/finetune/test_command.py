"""``genoconv finetune``: what it learns, how it ends, and how it resumes."""

import json
import logging
import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from calls import call
from finetune_runs import CLASSES, SEQUENCES, Bench, Killed, finetune

from genoconv.errors import Interrupted
from genoconv.models import load_model
from genoconv.models.heads import Predictor
from genoconv.tokens import encode
from genoconv.train.metrics import read_rows
from genoconv.train.module import Learner
from support import cli_environment, run_cli


def test_it_learns_and_leaves_a_model_that_predicts(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "genoconv")
    record = bench.run("--epochs", 40, "--head-lr", 0.01)
    head = {
        "kind": "binary",
        "labels": ["0", "1"],
        "pooling": "mean",
        "layers": "all",
        "both_strands": False,
        "stranded": False,
    }
    assert record["head"] == head
    figures = record["provenance"]["results"]["test"]["rows"]["this model"]["figures"]
    assert figures["auroc"] > 0.9
    assert "binary, because column label contains 2 classes: 0 (30), 1 (30); positive is 1" in caplog.text
    model = load_model(bench.out)
    assert isinstance(model, Predictor)
    table = pd.read_csv(bench.out / "predictions.tsv", sep="\t")
    assert set(table["split"]) == {"valid", "test"}
    for row in table.itertuples(index=False):
        ids = torch.from_numpy(encode(SEQUENCES[int(row.name) - 1]))[None].long()
        assert float(model.predict(ids)) == pytest.approx(row[3], abs=1e-4)
        assert row.label == CLASSES[int(row.name) - 1]
    for row in read_rows(bench.out / "metrics.csv"):
        assert set(row.figures) == {"loss", "accuracy"}
    # The backbone is what it was; embed and the rest read it as before.
    before, after = load_model(bench.base).state_dict(), model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize(
    "words",
    [("--mode", "full"), ("--mode", "lora"), ("--pooling", "attention"), ("--pooling", "last", "--strand", "both")],
)
def test_other_ways_to_train(bench: Bench, words: tuple[str, ...]) -> None:
    record = bench.run(*words, "--epochs", 8, "--lr", 0.003)
    losses = [row.loss for row in read_rows(bench.out / "metrics.csv") if row.split == "valid"]
    # A head alone begins at the best linear model, to which training may have nothing to add: that beats a guess.
    assert min(losses) < (0.9 * math.log(2) if "last" in words else losses[0])
    before, after = load_model(bench.base).state_dict(), load_model(bench.out).state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items()) == (words[0] != "--mode")
    assert record["provenance"]["mode"] == (words[1] if words[0] == "--mode" else "head")


@pytest.mark.parametrize(("how", "words"), [("killed", ()), ("interrupted", ("--mode", "lora"))])
def test_a_resumed_run_ends_as_an_uninterrupted_one(bench: Bench, how: str, words: tuple[str, ...]) -> None:
    uneven = ("--epochs", 6, "--set", "run.checkpoint_every=4", "--set", "data.tokens_per_batch=700", *words)
    bench.run(*uneven)
    whole = (read_rows(bench.out / "metrics.csv"), load_model(bench.out).state_dict())
    original, calls = Learner.training_step, [0]

    def step(self: Learner, *arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 15:
            if how == "killed":
                raise Killed
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *arguments)

    again = bench.folder / "again"
    with bench.monkeypatch.context() as patch:
        patch.setattr(Learner, "training_step", step)
        with pytest.raises((Killed, Interrupted)):
            finetune(bench.table, bench.base, again, *uneven)
    assert not (again / "config.json").exists()
    call("finetune", "--resume", again)
    figures = [(row.step, row.split, row.figures) for row in read_rows(again / "metrics.csv")]
    assert figures == [(row.step, row.split, row.figures) for row in whole[0]]
    found = load_model(again).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in whole[1].items())


def test_it_stops_early_with_the_best_weights(bench: Bench) -> None:
    record = bench.run("--epochs", 200, "--patience", 2, "--head-lr", 3)
    provenance = record["provenance"]
    valid = {row.step: row.loss for row in read_rows(bench.out / "metrics.csv") if row.split == "valid"}
    assert provenance["ended_by"] == "early"
    assert provenance["best_step"] == min(valid, key=valid.__getitem__) < provenance["steps"] == max(valid)
    assert len([step for step in valid if step > provenance["best_step"]]) == 2


def test_two_processes_learn_what_one_does_with_twice_the_batches(bench: Bench, home: Path) -> None:
    pair, alone, base = (bench.folder / name for name in ("pair", "alone", "base"))
    shutil.copytree(bench.base, base)
    record = json.loads((base / "config.json").read_text())
    record["model"]["embed_dropout"] = 0.0
    (base / "config.json").write_text(json.dumps(record))
    words = (
        "-m",
        base,
        "--mode",
        "full",
        "--noise",
        0,
        "--epochs",
        1,
        "--lr",
        0.003,
        "--no-baselines",
        "--device",
        "cpu",
    )
    words = (*words, "--set", "data.tokens_per_batch=700", "--set", "data.reverse_complement=false")
    result = run_cli(
        *("finetune", bench.table, "-o", pair, "--set", "run.devices=2", *words),
        home=home,
        env=cli_environment(home, {"OMP_NUM_THREADS": "1"}),
    )
    text = result.stderr.decode()
    assert result.returncode == 0, text
    assert text.count("test set, 6 records") == 1
    call("finetune", bench.table, "-o", alone, "--set", "data.accumulate=2", *words)
    ours, theirs = (load_model(folder).state_dict() for folder in (pair, alone))
    assert all(torch.allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-5) for name in ours)
    figures = [[(row.step, row.split, row.loss) for row in read_rows(f / "metrics.csv")] for f in (pair, alone)]
    assert [row[:2] for row in figures[0]] == [row[:2] for row in figures[1]]
    assert [row[2] for row in figures[0]] == pytest.approx([row[2] for row in figures[1]], rel=1e-4)
    assert json.loads((pair / "config.json").read_text())["provenance"]["device"] == "2 x cpu"


def test_a_run_repeats_from_the_file_that_it_prints(bench: Bench) -> None:
    words = (bench.table, "-m", bench.base, "-o", bench.out, "--strand", "both")
    printed = call("finetune", *words, "--print-config").stdout
    file = bench.folder / "run.yaml"
    file.write_text(printed)
    assert call("finetune", "--config", file, "-o", bench.out, "--print-config").stdout == printed
    assert "strand: both" in printed
