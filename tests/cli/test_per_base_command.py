"""``genoconv finetune --per-base``: targets from bigWig and BED, what is learned from them, and what is refused."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from base_genomes import COMPLEMENT, MOTIF, Genome, small_genome
from calls import call
from finetune_runs import base_model, classed_table

from genoconv.errors import DataError, UsageError
from genoconv.models import load_model
from genoconv.models.heads import Predictor
from genoconv.pipelines.finetune.bases import BaseLabels, gather_bases
from genoconv.pipelines.finetune.inputs import Dataset
from genoconv.pipelines.finetune.options import FinetuneConfig
from genoconv.tokens import N, decode, encode
from genoconv.train.metrics import read_rows
from genoconv.train.module import Learner

LEARN = ("--mode", "full", "--lr", 0.01, "--head-lr", 0.03, "--set", "optim.filter_lr=0.01", "--device", "cpu")
LEARN = (*LEARN, "--set", "data.tokens_per_batch=800")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bases")


@pytest.fixture(scope="module")
def genome(folder: Path) -> Genome:
    return small_genome(folder, length=2000)


@pytest.fixture(scope="module")
def base(folder: Path) -> Path:
    return base_model(folder / "base")


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genoconv.train.evaluation.RESAMPLES", 20)


def gathered(genome: Genome, *targets: Path, **options: Any) -> tuple[Dataset, BaseLabels]:
    options = {"table": genome.windows, "fasta": genome.fasta, **options}
    if options["table"] == genome.fasta:
        del options["fasta"]
    data = gather_bases(FinetuneConfig(per_base=targets, **options), longest=100)
    assert isinstance(data.labels, BaseLabels)
    return data, data.labels


def test_it_learns_where_a_motif_is(genome: Genome, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("finetune", genome.windows, "-f", genome.fasta, "--per-base", genome.plain, "-m", base, "-o", out, *LEARN)
    call(*words, "--epochs", 12)
    record = json.loads((out / "config.json").read_text())
    assert record["head"] == {
        "kind": "binary", "labels": ["outside", "inside"], "pooling": "none", "both_strands": True, "stranded": False,
        "layers": "last",
    }  # fmt: skip
    results = record["provenance"]["results"]["test"]
    assert (results["records"], results["bases"]) == (20, 2000)
    ours = results["rows"].pop("this model")
    assert ours["figures"]["auroc"] > 0.9
    low, high = ours["intervals"]["auroc"]
    assert low < ours["figures"]["auroc"] < high
    assert list(results["rows"]) == [
        "GC content within 50 bases", "letters within 20 bases", "random weights, linear"
    ]  # fmt: skip
    assert all(row["figures"]["auroc"] < ours["figures"]["auroc"] for row in results["rows"].values())
    card = (out / "README.md").read_text()
    assert "every base from its own state, both strands" in card
    assert "On the test set, 2,000 bases of 20 windows" in card
    assert (out / "finetune.png").stat().st_size > 5000
    assert {row.split for row in read_rows(out / "metrics.csv")} == {"train", "valid", "test"}
    header, *rows = (line.split("\t") for line in (out / "predictions.tsv").read_text().splitlines())
    assert header == [
        "name", "split", "contig", "start", "end", "strand", "bases", "target_inside", "predicted_inside"
    ]  # fmt: skip
    assert len(rows) == 40
    assert "binary for every base: outside, inside" in call("models", "show", out).stdout
    model = load_model(out)
    assert isinstance(model, Predictor)
    # A new sequence with the motif, on either strand: its bases stand out, and both readings agree.
    letters = "".join(np.random.default_rng(8).choice(list("ACGT"), 80))
    sequence = letters[:30] + MOTIF + letters[42:]
    other = sequence.translate(COMPLEMENT)[::-1]
    found = model.predict(torch.from_numpy(np.stack([encode(sequence), encode(other)])).long())
    assert found.shape == (2, 80, 1)
    assert found[0, 30:42].mean() > 0.35 > 0.25 > found[0, :20].mean()
    torch.testing.assert_close(found[0], found[1].flip(0), atol=1e-4, rtol=0)


def test_targets_of_intervals_lie_on_their_bases_and_strand(genome: Genome) -> None:
    data, labels = gathered(genome, genome.plain)
    assert (labels.kind, labels.names, labels.stranded, len(labels.windows)) == (
        "binary",
        ("outside", "inside"),
        False,
        80,
    )
    for window, target, tokens in zip(labels.windows, labels.targets, data.sequences, strict=True):
        wanted = np.zeros(window.end - window.start)
        for start, end, _ in genome.places[window.contig]:
            wanted[max(0, start - window.start) : max(0, end - window.start)] = 1
        assert target[:, 0].tolist() == wanted.tolist()
        assert decode(tokens) == genome.sequences[window.contig][window.start : window.end]
    data, labels = gathered(genome, genome.stranded)
    assert (labels.stranded, len(labels.windows)) == (True, 160)  # each window on both strands
    assert labels.opposite is not None
    for number, (window, target, tokens) in enumerate(zip(labels.windows, labels.targets, data.sequences, strict=True)):
        text, marked = decode(tokens), target[:, 0] == 1
        for place in np.flatnonzero(np.diff(np.r_[0.0, target[:, 0]]) == 1).tolist():
            if place and marked[place : place + 12].all() and len(text) - place > 12:
                assert text[place : place + 12] == MOTIF  # in the direction of reading, on the strand that is read
        other = labels.windows.index(window._replace(strand="-" if window.strand == "+" else "+"))
        assert labels.opposite[number].tolist() == labels.targets[other].tolist()
        assert data.splits[number] == data.splits[other]
    assert sum(map(np.sum, labels.targets)) == sum(12 for some in genome.places.values() for _ in some)


def test_values_of_tracks_lie_on_their_bases(genome: Genome, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "genoconv")
    windows = tmp_path / "w.bed"
    rows = [f"c{n}\t{start}\t{start + 100}\tw\t0\t-\n" for n in range(4) for start in range(620, 900, 90)]
    windows.write_text("".join(rows))
    _, labels = gathered(genome, genome.bigwig, table=windows)
    assert (labels.kind, labels.names) == ("regression", ("t",))
    window, target = labels.windows[0], labels.targets[0][::-1, 0]
    inside = np.zeros(100, bool)
    for start, end, _ in genome.places["c0"]:
        inside[max(0, start - window.start) : max(0, end - window.start)] = True
    wanted = np.where(inside, 3.0, 1.0)
    wanted[80:] = np.nan
    np.testing.assert_array_equal(target, wanted)
    assert "not learned from: 120 bases with no value in the track" in caplog.text


def test_unknown_letters_and_windows_without_targets_are_left_out(
    genome: Genome, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "genoconv")
    fasta = tmp_path / "n.fa"
    parts = {name: "N" * 150 + sequence[150:300] + "R" + sequence[301:] for name, sequence in genome.sequences.items()}
    fasta.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in parts.items()))
    data, labels = gathered(genome, genome.plain, fasta=fasta)
    assert len(labels.windows) == 76
    assert sum(labels.masked.values()) == 4 * 151
    assert "4 windows without a target skipped" in caplog.text
    for target, tokens in zip(labels.targets, data.sequences, strict=True):
        assert np.isnan(target[:, 0]).tolist() == (tokens <= 6).tolist() or (tokens[np.isnan(target[:, 0])] >= N).all()


def test_contigs_of_a_fasta_are_read_in_windows(genome: Genome) -> None:
    _, labels = gathered(genome, genome.plain, table=genome.fasta, window=60)
    assert {window.end - window.start for window in labels.windows} <= {58, 59}
    assert sum(window.end - window.start for window in labels.windows) == 8000


def test_labels_of_intervals(genome: Genome, tmp_path: Path) -> None:
    targets = tmp_path / "x.bed"
    rows = [f"c{n}\t{s}\t{s + 9}\t{'ab'[s % 100 // 50]}" for n in range(4) for s in range(0, 2000, 50)]
    targets.write_text("\n".join(rows) + "\n")
    _, labels = gathered(genome, targets)
    assert (labels.kind, labels.names) == ("multiclass", ("none", "a", "b"))
    assert labels.targets[0][:, 0].tolist() == [1] * 9 + [0] * 41 + [2] * 9 + [0] * 41
    targets.write_text("\n".join([*rows, "c0\t5\t20\tb"]) + "\n")  # overlaps an a
    _, labels = gathered(genome, targets)
    assert (labels.kind, labels.names) == ("multilabel", ("a", "b"))
    assert labels.targets[0][:21].tolist() == [[1, 0]] * 5 + [[1, 1]] * 4 + [[0, 1]] * 11 + [[0, 0]]
    with pytest.raises(UsageError, match=r"x.bed has intervals of several labels at c0:6; use multilabel"):
        gathered(genome, targets, task="multiclass")
    _, labels = gathered(genome, genome.stranded, label=("6",))
    assert (labels.kind, labels.names, labels.stranded) == ("multiclass", ("none", "+", "-"), False)


FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a table": (
        "plain",
        {"table": "table"},
        r"is a table of sequences without genomic coordinates; give a BED file of windows with --fasta",
    ),
    "no sequence": ("plain", {"fasta": None}, r"a BED file needs a reference sequence: add --fasta FILE"),
    "lacks a contig": ("chr.bw", {}, r"w.bed: line 1: no targets: .*chr.bw has no contig 'c0'; it has chrZ"),
    "lacks all contigs": ("chr.bw", {"table": "fasta"}, r"g.fa: no contig has targets; .*has no contig 'c0'"),
    "another length": ("short.bw", {}, r"no targets: c0 has 90 bases in .*short.bw and 2,000 in the FASTA"),
    "no target at all": ("gap.bw", {"table": "some"}, r"some.bed: no base of its 12 windows has a target"),
    "constant": ("flat.bw", {}, r"flat is 2 at every base in the training windows; nothing can be learned"),
    "never inside": (
        "far.bed",
        {"table": "some"},
        r"no base is inside in the training windows; nothing can be learned",
    ),
    "no label": ("unnamed.bed", {"label": ("4",)}, r"unnamed.bed: line 2: no label for this interval"),
    "no such column": ("plain", {"label": ("4",)}, r"--label 4: .*plain.bed has no such column"),
    "bedGraph": ("graph.bed", {}, r"graph.bed: line 1: column 4 holds the number '0.5', as in bedGraph; convert"),
    "labels of a track": ("bigwig", {"task": "binary"}, r"--task binary: a bigWig contains numbers"),
    "damaged": ("cut.bw", {}, r"cut.bw: damaged, or not a bigWig"),
    "outside the genome": (
        "long.bed",
        {},
        r"long.bed: line 1: the interval ends at 9,999, but 'c0' has only 2,000 bases",
    ),
}


def odd_files(genome: Genome, folder: Path) -> None:
    import pybigtools

    sizes = {name: len(sequence) for name, sequence in genome.sequences.items()}
    every = [(name, 0, size) for name, size in sizes.items()]
    for name, contigs, values in (
        ("chr.bw", {"chrZ": 50}, [("chrZ", 0, 9, 1.0)]),
        ("short.bw", {**sizes, "c0": 90}, [("c0", 0, 9, 1.0)]),
        ("gap.bw", sizes, [(name, 1990, 1991, 1.0) for name in sizes]),
        ("flat.bw", sizes, [(*place, 2.0) for place in every]),
    ):
        pybigtools.open(str(folder / name), "w").write(contigs, iter(values))
    (folder / "cut.bw").write_bytes(genome.bigwig.read_bytes()[:300])
    (folder / "far.bed").write_text("c0\t1900\t1950\n")
    (folder / "unnamed.bed").write_text("c0\t0\t9\ta\nc0\t20\t29\t.\n")
    (folder / "graph.bed").write_text("c0\t0\t9\t0.5\nc0\t20\t29\t1.5\n")
    (folder / "long.bed").write_text("c0\t0\t9999\n")
    (folder / "some.bed").write_text("".join(f"c{n}\t{s}\t{s + 100}\n" for n in range(4) for s in (0, 100, 200)))
    classed_table(folder / "table.csv")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(genome: Genome, folder: Path, fault: str) -> None:
    if not (folder / "table.csv").exists():
        odd_files(genome, folder)
    targets, options, message = FAULTS[fault]
    places = {"table": folder / "table.csv", "fasta": genome.fasta, "some": folder / "some.bed"}
    options = {key: places[value] if key == "table" else value for key, value in options.items()}
    if options.get("table") == places["table"]:
        options["fasta"] = None
    path = {"plain": genome.plain, "bigwig": genome.bigwig}.get(targets, folder / targets)
    with pytest.raises((DataError, UsageError), match=message) as caught:
        gathered(genome, path, **options)
    assert "\n" not in str(caught.value)


def test_two_kinds_of_targets_are_refused(genome: Genome) -> None:
    with pytest.raises(UsageError, match=r"plain.bed is not a bigWig, but .*t.bw is"):
        gathered(genome, genome.plain, genome.bigwig)
    with pytest.raises(UsageError, match=r"2 BED files; give one"):
        gathered(genome, genome.plain, genome.stranded)
    with pytest.raises(UsageError, match=r"two tracks are named t"):
        gathered(genome, genome.bigwig, genome.bigwig)


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_a_resumed_run_ends_as_an_uninterrupted_one(
    genome: Genome, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (genome.windows, "-f", genome.fasta, "--per-base", genome.stranded, "-m", base, *LEARN, "--no-baselines")
    words = (*words, "--set", "run.max_steps=12", "--set", "run.checkpoint_every=4")
    words = (*words, "--set", "data.reverse_complement=true")
    call("finetune", *words, "-o", tmp_path / "whole")
    original, calls = Learner.training_step, [0]

    def step(self: Learner, *arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 7:
            raise Killed
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "training_step", step)
        with pytest.raises(Killed):
            call("finetune", *words, "-o", tmp_path / "again")
    calls[0] = -100
    call("finetune", "--resume", tmp_path / "again")
    whole, again = (load_model(tmp_path / name).state_dict() for name in ("whole", "again"))
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())
    results = [json.loads((tmp_path / name / "config.json").read_text())["provenance"] for name in ("whole", "again")]
    assert results[0]["results"] == results[1]["results"]
    assert results[0]["steps"] == 12
