"""``genoconv finetune``: what it understands, what it learns, what it refuses, and that every option arrives."""

import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from base_genomes import small_genome
from fasta_files import write_fasta
from finetune_runs import QUICK, base_model, call, classed_table, finetune, sequences, write_table
from option_effects.effects import Effects

from genoconv import formats
from genoconv.errors import DataError, GenoconvError, OutputError, UsageError
from genoconv.models import load_model
from genoconv.models.heads import Predictor
from genoconv.models.lora import LowRank
from genoconv.pipelines.finetune import inputs
from genoconv.pipelines.finetune.options import FinetuneConfig, FinetuneOptions
from genoconv.pipelines.options import parameters
from genoconv.tokens import encode
from genoconv.train.metrics import read_rows
from genoconv.train.module import Learner

SEQUENCES, CLASSES = sequences(60)


class Bench:
    """A base model, a table, and a way to run the command in this process."""

    def __init__(self, folder: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.base, self.monkeypatch = folder, base, monkeypatch
        self.table = classed_table(folder / "x.csv")
        self.out = folder / "out"

    def run(self, *words: object, table: Path | None = None) -> dict[str, Any]:
        """Fine-tune; what ``config.json`` says of it."""
        finetune(table or self.table, self.base, self.out, "--force", *words)
        return json.loads((self.out / "config.json").read_text())

    def gathered(self, *words: object, table: Path | None = None) -> inputs.Dataset:
        """The records that a call would learn from."""
        return inputs.gather(self.config(*words, table=table))

    def config(self, *words: object, table: Path | None = None) -> FinetuneConfig:
        """The configuration that a call amounts to."""
        found: list[FinetuneConfig] = []
        with self.monkeypatch.context() as patch:
            patch.setattr("genoconv.pipelines.finetune.run.finetune", lambda w, **_: found.append(w.config) or 0)
            call("finetune", table or self.table, "-m", self.base, "-o", self.out, *words)
        return found[0]


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genoconv.train.evaluation.RESAMPLES", 5)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def bench(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, base, monkeypatch)


EFFECTS = Effects()
shows = EFFECTS.shows


def test_it_learns_and_leaves_a_model_that_predicts(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "genoconv")
    record = bench.run("--epochs", 40)
    head = {"kind": "binary", "labels": ["0", "1"], "pooling": "mean", "both_strands": False, "stranded": False}
    assert record["head"] == head
    figures = record["provenance"]["results"]["test"]["rows"]["this model"]["figures"]
    assert figures["auroc"] > 0.9
    assert "binary, because column label holds 2 classes: 0 (30), 1 (30); positive is 1" in caplog.text
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
    assert min(losses) < losses[0]
    before, after = load_model(bench.base).state_dict(), load_model(bench.out).state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items()) == (words[0] != "--mode")
    assert record["provenance"]["mode"] == (words[1] if words[0] == "--mode" else "head")


def test_what_a_table_can_hold(bench: Bench) -> None:
    gc = [f"{(s.count('G') + s.count('C')) / len(s):.3f}" for s in SEQUENCES]
    names = ["cow", "hen", "pig"]
    cases: dict[str, tuple[list[str], list[list[object]], str, tuple[str, ...]]] = {
        "classes": (
            ["seq", "class"],
            [[s, names[n % 3]] for n, s in enumerate(SEQUENCES)],
            "multiclass",
            ("cow", "hen", "pig"),
        ),
        "values": (
            ["sequence", "target"],
            [[s, g] for s, g in zip(SEQUENCES, gc, strict=True)],
            "regression",
            ("target",),
        ),
        "lists": (
            ["sequence", "label"],
            [[s, ["a;b", "", "b"][n % 3]] for n, s in enumerate(SEQUENCES)],
            "multilabel",
            ("a", "b"),
        ),
        "floats": (
            ["DNA", "y"],
            [[s, f"{c}.0"] for s, c in zip(SEQUENCES, CLASSES, strict=True)],
            "binary",
            ("0", "1"),
        ),
        "huge": (
            ["text", "label"],
            [[s, 10**30 + c] for s, c in zip(SEQUENCES, CLASSES, strict=True)],
            "binary",
            (str(10**30), str(10**30 + 1)),
        ),
        "words": (
            ["sequence", "label"],
            [[s, ["yes", "no"][c]] for s, c in zip(SEQUENCES, CLASSES, strict=True)],
            "binary",
            ("no", "yes"),
        ),
    }
    for name, (header, rows, kind, labels) in cases.items():
        task = ("--task", kind) if name == "lists" else ()
        found = bench.gathered(*task, table=write_table(bench.folder / f"{name}.tsv", header, rows, delimiter="\t"))
        assert (found.labels.kind, found.labels.names) == (kind, labels), name
        assert len(found.names) == 60
    two = write_table(
        bench.folder / "two.csv",
        ["sequence", "one", "two"],
        [[s, g, c] for s, g, c in zip(SEQUENCES, gc, CLASSES, strict=True)],
    )
    assert bench.gathered("--label", "one", "--label", "two", table=two).labels.targets.shape == (60, 2)
    assert bench.gathered("--label", "two", table=two).labels.kind == "binary"
    frame = pd.DataFrame({"sequence": SEQUENCES, "label": np.array(CLASSES, bool)})
    frame.to_parquet(bench.folder / "x.parquet")
    assert bench.gathered(table=bench.folder / "x.parquet").labels.names == ("0", "1")


@pytest.mark.parametrize("dictionary", [False, True])
def test_parquet_that_unpacks_beyond_measure(bench: Bench, dictionary: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_TABLE_ALLOWED", 1 << 16)
    frame = pd.DataFrame({"sequence": ["ACGT" * 2500] * 100, "label": [0, 1] * 50})
    frame.to_parquet(bench.folder / "x.parquet", use_dictionary=dictionary, compression="zstd")
    with pytest.raises(DataError, match=r"x\.parquet: unpacks to more than 100 times its size.*convert it to TSV"):
        bench.gathered(table=bench.folder / "x.parquet")


def test_line_ends_blank_lines_and_quotes(bench: Bench) -> None:
    path = bench.folder / "odd.csv"
    rows = [f'"{s.lower()}",{c}' for s, c in zip(SEQUENCES, CLASSES, strict=True)]
    path.write_bytes(
        b"\xef\xbb\xbfsequence , label\r\n" + "\n\n".join(rows[:30]).encode() + b"\n" + "\r\n".join(rows[30:]).encode()
    )
    plain, odd = bench.gathered(), bench.gathered(table=path)
    assert [s.tobytes() for s in odd.sequences] == [s.tobytes() for s in plain.sequences]
    assert (odd.labels.targets == plain.labels.targets).all()
    assert (odd.splits == plain.splits).all()


@shows("fasta", "valid", "test", "label_file", "split_by")
def _(bench: Bench) -> None:
    contigs = {f"c{n}": "".join(SEQUENCES[n * 10 : n * 10 + 10]) for n in range(6)}
    fasta = write_fasta(bench.folder / "g.fa", contigs)
    bed = bench.folder / "x.bed"
    rows = [(f"c{n // 10}", n % 10 * 60, n % 10 * 60 + 60, f"r{n}", 0, "+-"[n % 3 == 1], CLASSES[n]) for n in range(60)]
    bed.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    found = bench.gathered("-f", fasta, "--valid", "c1", "--test", "c3", table=bed)
    assert found.splits.tolist() == [
        "valid" if n // 10 == 1 else "test" if n // 10 == 3 else "train" for n in range(60)
    ]
    assert found.names[:2] == ["r0", "r1"]
    assert found.sequences[0].tobytes() == encode(SEQUENCES[0]).tobytes()
    assert found.sequences[1].tobytes() == encode(SEQUENCES[1].translate(str.maketrans("ACGT", "TGCA"))[::-1]).tobytes()
    assert set(bench.gathered("-f", fasta, table=bed).splits.tolist()) == {"train", "valid", "test"}
    bed.write_text(
        "#chrom\tstart\tend\tlabel\n" + "".join("\t".join(map(str, (*row[:3], row[6]))) + "\n" for row in rows)
    )
    assert bench.gathered("-f", fasta, "--split-by", "random", table=bed).labels.targets[:, 0].tolist() == CLASSES
    records = write_fasta(bench.folder / "r.fa", {f"r{n}": s for n, s in enumerate(SEQUENCES)})
    labels = write_table(
        bench.folder / "l.tsv",
        ["id", "label"],
        [[f"r{n}", c] for n, c in reversed(list(enumerate(CLASSES)))],
        delimiter="\t",
    )
    assert bench.gathered("--labels", labels, table=records).labels.targets[:, 0].tolist() == CLASSES


GOOD = [[s, c] for s, c in zip(SEQUENCES, CLASSES, strict=True)]
FAULTS: dict[str, tuple[list[str], list[list[object]], tuple[str, ...], str]] = {
    "no label column": (["sequence", "kind"], GOOD, (), r"x.csv: line 1: no column for the label; .*--label NAME"),
    "no sequence column": (["letters", "label"], GOOD, (), r"line 1: no column for the sequence"),
    "no header": ([*map(str, GOOD[0])], GOOD[1:], (), r"line 1: a record where the header should be"),
    "two candidates": (
        ["sequence", "target", "class"],
        [[*row, 1] for row in GOOD],
        (),
        r"columns target, class may all hold",
    ),
    "the same name twice": (
        ["sequence", "label", "label"],
        [[*row, 1] for row in GOOD],
        (),
        r"two columns are named 'label'",
    ),
    "wrong --label": (
        ["sequence", "label"],
        GOOD,
        ("--label", "labelx"),
        r"--label labelx: .* no such column; did you mean label",
    ),
    "label missing": (["sequence", "label"], [*GOOD, [SEQUENCES[0], ""]], (), r"line 62: no label in column label"),
    "one class": (["sequence", "label"], [[s, 1] for s in SEQUENCES], (), r"column label holds one class only, '1'"),
    "no number": (
        ["sequence", "label"],
        [[s, n / 7] for n, s in enumerate(SEQUENCES)] + [["ACGT", "high"]],
        (),
        r"line 62: label 'high' in column label is not a number",
    ),
    "NaN": (
        ["sequence", "label"],
        [*GOOD, ["ACGT", "nan"]],
        (),
        r"line 62: label 'nan' in column label is not a class",
    ),
    "NaN among numbers": (
        ["sequence", "label"],
        [[s, n / 7] for n, s in enumerate(SEQUENCES)] + [["ACGT", "NaN"]],
        (),
        r"line 62: label 'NaN' .* not a finite number",
    ),
    "beyond float32": (
        ["sequence", "label"],
        [[s, n / 7] for n, s in enumerate(SEQUENCES)] + [["ACGT", "1e60"]],
        (),
        r"line 62: label '1e60' .* 32 bits",
    ),
    "constant": (["sequence", "label"], [[s, 0.5] for s in SEQUENCES], (), r"column label is 0.5 in every record"),
    "no sequence": (["sequence", "label"], [*GOOD, ["", 1]], (), r"line 62: no sequence"),
    "a digit": (["sequence", "label"], [*GOOD, ["ACG1T", 1]], (), r"line 62: the sequence holds '1'"),
    "protein": (["sequence", "label"], [*GOOD, ["MKLVEPQIFFE", 1]], (), r"record 'line 62' is not DNA"),
    "RNA": (["sequence", "label"], [*GOOD, ["ACGUUU", 1]], (), r"record 'line 62' is RNA"),
    "a cell more": (["sequence", "label"], [*GOOD, ["ACGT", 1, 2]], (), r"line 62: 3 cells, the header has 2"),
    "the same id": (
        ["id", "sequence", "label"],
        [[f"r{n % 59}", *row] for n, row in enumerate(GOOD)],
        (),
        r"line 61: the id 'r0' is also on line 2",
    ),
    "split": (
        ["sequence", "label", "split"],
        [[*row, "train"] for row in GOOD] + [["ACGT", 1, "both"]],
        (),
        r"line 62: split 'both'; expected train, valid or test",
    ),
    "no training": (["sequence", "label", "split"], [[*row, "test"] for row in GOOD], (), r"no record for training"),
    "a class in test only": (
        ["sequence", "label", "split"],
        [[s, n % 2, "test" if n % 2 else ("train", "valid")[n % 4 // 2]] for n, s in enumerate(SEQUENCES)],
        (),
        r"every training record is of class '0'; nothing can be learned: change the splits",
    ),
    "numbers alike in training": (
        ["sequence", "label", "split"],
        [[s, 0.5 if n % 3 else n, ("valid", "train", "train")[n % 3]] for n, s in enumerate(SEQUENCES)],
        (),
        r"label is the same in every training record; nothing can be learned",
    ),
    "an empty list": (
        ["sequence", "label"],
        [[s, ("a;b", "a", "")[n % 3]] for n, s in enumerate(SEQUENCES)],
        (),
        r"line 4: no label in column label; add --task multilabel if that means none",
    ),
    "three classes": (
        ["sequence", "label"],
        [[s, n % 3] for n, s in enumerate(SEQUENCES)],
        ("--task", "binary"),
        r"--task binary: column label holds 3 classes",
    ),
    "contigs of a table": (["sequence", "label"], GOOD, ("--valid", "chr1"), r"--valid and --test name contigs"),
    "nothing": (["sequence", "label"], [], (), r"no record below the header"),
    "many texts": (
        ["sequence", "label"],
        [[s, f"x{n}"] for n, s in enumerate(SEQUENCES)],
        (),
        r"line 2: label 'x0' in column label is not a number, and 60 different",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_names_its_place(bench: Bench, fault: str) -> None:
    header, rows, words, message = FAULTS[fault]
    table = write_table(bench.table, header, rows)
    with pytest.raises((DataError, UsageError), match=message) as caught:
        call("finetune", table, "-m", bench.base, "-o", bench.out, *QUICK, *words)
    assert "\n" not in str(caught.value)
    assert not bench.out.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty; a table with the header"),
        ("c1\t0\n", "2 columns, where BED has at least 3"),
        ("c9\t0\t9\tx\n", "line 1: no contig 'c9'"),
        ("c1\t0\t999\tx\n", "line 1: the interval ends at 999, and 'c1' has 60 bases"),
        ("c1\t0\t9\tn\t0\tx\t1\n", "line 1: strand 'x'"),
        ("c1\t0\t9\tn\t0\n", "5 columns without a header; say which holds the label: --label N"),
        ("c1\t0\t9\t1\nc1\t9\t19\n", "line 2: 3 columns, the first row or header has 4"),
    ],
)
def test_a_faulty_bed_file(bench: Bench, text: str, message: str) -> None:
    fasta = write_fasta(bench.folder / "g.fa", {"c1": SEQUENCES[0]})
    bed = bench.folder / "x.bed"
    bed.write_text(text)
    with pytest.raises(GenoconvError, match=message if text else "0 columns"):
        bench.gathered("-f", fasta, table=bed)


def test_labels_of_a_fasta_that_do_not_fit(bench: Bench) -> None:
    fasta = write_fasta(bench.folder / "r.fa", {"a": "ACGT", "b": "ACGT"})
    labels = write_table(bench.folder / "l.csv", ["id", "label"], [["a", 1]])
    with pytest.raises(UsageError, match="add --labels FILE"):
        bench.gathered(table=fasta)
    with pytest.raises(DataError, match=r"r.fa: line 3: record 'b' has no label in .*l.csv"):
        bench.gathered("--labels", labels, table=fasta)
    write_table(labels, ["name of it", "label"], [["a", 1]])
    with pytest.raises(DataError, match=r"l.csv: line 1: no column id"):
        bench.gathered("--labels", labels, table=fasta)


def test_a_class_without_training_records_is_named(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        [s, "abc"[n % 3], ("train", "valid", "test")[n % 3 if n % 3 == 2 else n // 3 % 2]]
        for n, s in enumerate(SEQUENCES)
    ]
    table = write_table(bench.folder / "few.csv", ["sequence", "label", "split"], rows)
    assert len(bench.gathered(table=table).members("train")) == 20
    assert "no training record of c, which cannot be learned" in caplog.text


def test_duplicates_across_splits_are_found_on_both_strands(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "genoconv")
    some, classes = sequences(40, seed=3, length=200)
    opposite = some[0].translate(str.maketrans("ACGT", "TGCA"))[::-1]
    mutated = some[1][:90] + "ACGTA" + some[1][95:]
    rows = [[s, c, "train"] for s, c in zip(some, classes, strict=True)]
    rows += [[opposite, 0, "test"], [mutated, 1, "valid"], [sequences(1, seed=9, length=200)[0][0], 0, "valid"]]
    table = write_table(bench.folder / "leaky.csv", ["sequence", "label", "split"], rows)
    found = bench.gathered(table=table)
    assert (found.leaks.exact.tolist(), found.leaks.near.tolist(), found.leaks.held_out) == ([0], [1], 2)
    assert "1 training record identical" in caplog.text
    assert "--drop-leaks leaves them out" in caplog.text
    dropped = bench.gathered("--drop-leaks", table=table)
    assert dropped.splits[:3].tolist() == ["", "", "train"]


class Killed(BaseException):
    """Stands for SIGKILL."""


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
        with pytest.raises((Killed, SystemExit)):
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


@shows("resume")
def _(bench: Bench) -> None:
    with bench.monkeypatch.context() as patch:
        patch.setattr("genoconv.pipelines.finetune.results.evaluate", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            bench.run()
    with pytest.raises(OutputError, match="genoconv finetune --resume"):
        finetune(bench.table, bench.base, bench.out)
    with pytest.raises(UsageError, match="mode cannot change within a run"):
        call("finetune", "--resume", bench.out, "--mode", "full")
    write_table(bench.table, ["sequence", "label"], GOOD[:-2])
    with pytest.raises(DataError, match=r"the records of .* have changed"):
        call("finetune", "--resume", bench.out)
    with pytest.raises(UsageError, match=r"drop --config, -o and --force"):
        call("finetune", "--resume", bench.out, "-o", "x")
    with pytest.raises(UsageError, match="no run of `genoconv finetune` there"):
        call("finetune", "--resume", bench.base)


class StopError(Exception):
    """Ends a run where it would begin to compute."""


def job(bench: Bench, *words: object, table: Path | None = None) -> Any:
    """What the training loop is given, and where it is to compute."""
    found: list[Any] = []

    def spy(job: Any, **rest: Any) -> None:
        found.append((job, rest))
        raise StopError

    with bench.monkeypatch.context() as patch:
        patch.setattr("genoconv.train.loop.run", spy)
        with pytest.raises(SystemExit) as caught:
            call("finetune", table or bench.table, "-m", bench.base, "-o", bench.out, "--force", *words)
        assert isinstance(caught.value.__cause__, StopError)
    return found[0]


@shows("table", "model", "output", "force")
def _(bench: Bench) -> None:
    record = bench.run()
    assert record["provenance"]["table"] == str(bench.table)
    assert record["provenance"]["model"]["name"] == bench.base.name
    with pytest.raises(OutputError, match="exists already"):
        finetune(bench.table, bench.base, bench.out)
    with pytest.raises(UsageError, match="missing: TABLE, --output"):
        call("finetune")
    with pytest.raises(UsageError, match="this output folder holds the input TABLE"):
        call("finetune", bench.table, "-m", bench.base, "-o", bench.folder, "--force")


@shows("label", "task")
def _(bench: Bench) -> None:
    rows = [[s, c, n % 7 + 0.5] for n, (s, c) in enumerate(GOOD)]
    table = write_table(bench.table, ["sequence", "label", "other"], rows)
    assert bench.gathered("--label", "other", table=table).labels.kind == "regression"
    assert bench.gathered("--task", "regression", table=table).labels.names == ("label",)


@shows("per_base", "window")
def _(bench: Bench) -> None:
    genome = small_genome(bench.folder, contigs=1, length=3000)
    words = ("-f", genome.fasta, "--per-base", genome.plain)
    model = job(bench, *words, table=genome.windows)[0].model
    assert (model.head.config.pooling, model.head.config.both_strands) == ("none", True)
    found = job(bench, *words, "--window", 60, table=genome.windows)[0]
    assert set(found.train.lengths.tolist()) == {50}
    with pytest.raises(UsageError, match=r"--window 101: this model reads up to 100 bases"):
        job(bench, *words, "--window", 101, table=genome.windows)
    with pytest.raises(UsageError, match=r"--window cuts the windows of --per-base"):
        job(bench, "--window", 60)


@shows("split_column")
def _(bench: Bench) -> None:
    rows = [[*row, "val" if n < 9 else "train", "dev" if n < 5 else "training"] for n, row in enumerate(GOOD)]
    table = write_table(bench.table, ["sequence", "label", "split", "mine"], rows)
    assert len(bench.gathered(table=table).members("valid")) == 9
    assert len(bench.gathered("--split-column", "mine", table=table).members("valid")) == 5


@shows("valid_fraction", "test_fraction", "run.seed")
def _(bench: Bench) -> None:
    found = bench.gathered("--valid-fraction", 0.2, "--test-fraction", 0.3)
    assert [len(found.members(split)) for split in ("train", "valid", "test")] == [30, 12, 18]
    assert found.labels.targets[found.members("valid"), 0].mean() == 0.5
    assert bench.gathered("--seed", 1).splits.tolist() != bench.gathered().splits.tolist()


@shows("drop_leaks")
def _(bench: Bench) -> None:
    write_table(
        bench.table, ["sequence", "label", "split"], [[*r, "train"] for r in GOOD] + [[*r, "test"] for r in GOOD]
    )
    with pytest.raises(DataError, match="--drop-leaks leaves out: no record for training"):
        bench.gathered("--drop-leaks", "--valid-fraction", 0.1)


@shows("class_weights", "mode", "pooling", "strand")
def _(bench: Bench) -> None:
    write_table(bench.table, ["sequence", "label"], [[s, int(n % 5 == 0)] for n, s in enumerate(SEQUENCES)])
    assert job(bench)[0].objective.weights is None
    assert job(bench, "--class-weights", "balanced")[0].objective.weights.tolist() == pytest.approx(
        [38 / 60, 2.4], abs=0.01
    )
    for words, mode, pooling, both in (
        ((), "head", "mean", False),
        (("--mode", "full"), "full", "mean", False),
        (("--pooling", "last"), "head", "last", False),
        (("--strand", "both"), "head", "mean", True),
    ):
        model = job(bench, *words)[0].model
        assert model.frozen == (mode == "head")
        assert (model.head.config.pooling, model.head.config.both_strands) == (pooling, both)


@shows("noise")
def _(bench: Bench) -> None:
    assert job(bench, "--mode", "full", "--noise", 0.2)[0].noise == 0.2
    assert job(bench, "--mode", "head")[0].noise == 0
    with pytest.raises(UsageError, match=r"--noise .* goes with --mode lora and full"):
        call("finetune", bench.table, "-m", bench.base, "-o", bench.out, "--noise", 0.2)


@shows("epochs", "patience", "optim.lr", "optim.head_lr", "run.max_minutes", "run.precision", "run.device")
def _(bench: Bench) -> None:
    each = job(bench)[0].settings.validate_every
    found, rest = job(
        bench,
        *("--epochs", 4, "--patience", 5, "--lr", 0.25, "--head-lr", 0.5, "--max-minutes", 2),
        *("--precision", "bf16", "--device", "cpu"),
    )
    assert (found.settings.max_steps, found.patience, found.settings.max_minutes) == (4 * each, 5, 2)
    assert (found.optim.lr, found.optim.head_lr) == (0.25, 0.5)
    assert (rest["machine"].precision, rest["machine"].accelerator) == ("bf16", "cpu")
    with pytest.raises(UsageError, match="cuda:77"):
        call("finetune", bench.table, "-m", bench.base, "-o", bench.out, "--device", "cuda:77")


@shows("baselines")
def _(bench: Bench) -> None:
    gc = [(s.count("G") + s.count("C")) / len(s) for s in SEQUENCES]
    table = write_table(bench.folder / "gc.csv", ["sequence", "label"], list(zip(SEQUENCES, gc, strict=True)))
    rows = bench.run("--baselines", "--test-fraction", 0.3, table=table)["provenance"]["results"]["test"]["rows"]
    assert [name.split()[0] for name in rows] == ["this", "share", "shares", "frozen", "random"]
    assert rows["share of G and C"]["figures"]["r2"] > 0.99
    card = (bench.out / "README.md").read_text()
    assert "| share of G and C | 1.000 (1.000 to 1.000) |" in card
    assert (bench.out / "finetune.png").stat().st_size > 5000


@shows("rank", "alpha", "lora_targets")
def _(bench: Bench) -> None:
    model = job(bench, "--mode", "lora", "--rank", 3, "--alpha", 6, "--lora-target", "fc1", "--lora-target", "in_proj")[
        0
    ].model
    updates = {name: module for name, module in model.named_modules() if isinstance(module, LowRank)}
    assert {name.split(".parametrizations")[0].rpartition(".")[2] for name in updates} == {"fc1", "in_proj"}
    assert {(update.scale, len(update.A)) for update in updates.values()} == {(2.0, 3)}
    every = job(bench, "--mode", "lora")[0].model
    assert sum(isinstance(module, LowRank) for module in every.modules()) == 4 * model.config.n_layer


@shows("quiet")
def _(bench: Bench) -> None:
    assert job(bench)[1]["quiet"] is False
    assert job(bench, "-q")[1]["quiet"] is True


def test_a_run_repeats_from_the_file_that_it_prints(bench: Bench) -> None:
    words = (bench.table, "-m", bench.base, "-o", bench.out, "--strand", "both")
    printed = call("finetune", *words, "--print-config").stdout
    file = bench.folder / "run.yaml"
    file.write_text(printed)
    assert call("finetune", "--config", file, "-o", bench.out, "--print-config").stdout == printed
    assert "strand: both" in printed


def test_every_option_has_an_effect() -> None:
    assert set(EFFECTS) == {parameter.key for parameter in parameters(FinetuneOptions)}


@pytest.mark.parametrize("key", {test: key for key, test in EFFECTS.items()}.values())
def test_option(key: str, bench: Bench) -> None:
    EFFECTS[key](bench)
