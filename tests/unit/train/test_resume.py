"""Resuming: the same run to the last row, never on other data, never from a file that is not this run's checkpoint."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fasta_files import write_fasta
from train_runs import patterned_bases, patterned_genome, resume, same_weights, train_tiny

from genoconv.errors import DataError, GenoconvError, ModelError
from genoconv.train.checkpoints import newest_checkpoint
from genoconv.train.metrics import read_rows
from genoconv.train.module import Learner


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the run's own may handle it."""


def killed_at(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, action: Callable[[], None] | None = None
) -> None:
    original, calls = getattr(owner, name), [0]

    def watched(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            if action is None:
                raise Killed
            action()
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, watched)


def figures(folder: Path) -> list[tuple[object, ...]]:
    """All of metrics.csv but the speed, which no two runs share."""
    return [(row.step, row.tokens, row.split, row.loss, row.learning_rate) for row in read_rows(folder / "metrics.csv")]


# Rows that span several checkpoints, checkpoints between validations, an end that is on none of these steps.
UNEVEN = ("run.log_every=5", "run.checkpoint_every=3", "run.validate_every=4", "model.embed_dropout=0.1")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A FASTA and the folder of a whole run of 13 steps on it."""
    place = tmp_path_factory.mktemp("whole")
    fasta = patterned_genome(place / "genome.fa")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genoconv.pipelines.train.report.write_plot", lambda *_, **__: True)
        return fasta, train_tiny(place / "run", fasta, *UNEVEN, max_steps=13)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("owner", "name", "call", "action"),
    [
        (Learner, "training_step", 8, None),  # in step 8; rows to 5, checkpoints to 6
        (Learner, "training_step", 8, interrupt),  # in step 8, which is on no schedule
        ("genoconv.train.validating", "measure", 1, None),  # between the checkpoint of step 3 and validation after 4
        ("genoconv.train.validating", "measure", 3, interrupt),  # in the validation after step 12
        ("genoconv.train.checkpoints", "atomic.commit", 4, None),  # while the checkpoint of step 12 is written
        ("genoconv.train.validating", "measure", 4, None),  # before the last validation
        ("genoconv.train.validating", "measure", 5, interrupt),  # before the test set
    ],
)
def test_the_rows_of_a_resumed_run_are_those_of_an_uninterrupted_one(
    uninterrupted: tuple[Path, Path],
    tmp_path: Path,
    owner: Any,
    name: str,
    call: int,
    action: Callable[[], None] | None,
) -> None:
    import importlib

    fasta, whole = uninterrupted
    folder = tmp_path / "run"
    target = importlib.import_module(owner) if isinstance(owner, str) else owner
    *path, name = name.split(".")
    for part in path:
        target = getattr(target, part)
    with pytest.MonkeyPatch.context() as patch:
        killed_at(patch, target, name, call, action)
        with pytest.raises((Killed, SystemExit)):
            train_tiny(folder, fasta, *UNEVEN, max_steps=13)
    assert resume(folder) == 0
    assert figures(folder) == figures(whole)
    assert same_weights(folder, whole)
    assert [(row.step, row.split) for row in read_rows(whole / "metrics.csv")] == [
        *[(4, "valid"), (5, "train"), (8, "valid"), (10, "train"), (12, "valid"), (13, "train")],
        *[(13, "valid"), (13, "test")],
    ]


def genes(path: Path, starts: list[int]) -> Path:
    rows = [f"chr1\tx\tgene\t{start + 1}\t{start + 150}\t.\t+\t.\tID=g{start}" for start in starts]
    path.write_text("\n".join(rows) + "\n")
    return path


CONTIGS = {"chr1": patterned_bases(20_000, seed=1), "chr2": patterned_bases(2_000, seed=2)}
CHANGES: dict[str, tuple[dict[str, str], list[int], str]] = {
    "other bases": (CONTIGS | {"chr2": patterned_bases(2_000, seed=3)}, [], "the FASTA has other bases on chr2"),
    "one base": (CONTIGS | {"chr1": "T" + CONTIGS["chr1"][1:]}, [], "the FASTA has other bases on chr1"),
    "a contig less": ({"chr1": CONTIGS["chr1"]}, [], "the FASTA no longer has chr2"),
    "a contig more": (CONTIGS | {"chr3": "ACGT" * 50}, [], "the FASTA now also has chr3"),
    "another order": (dict(reversed(CONTIGS.items())), [], "the FASTA has its contigs in another order"),
    "soft mask": (
        CONTIGS | {"chr1": CONTIGS["chr1"][:500].lower() + CONTIGS["chr1"][500:]},
        [],
        "the FASTA has another soft mask on chr1",
    ),
    "a gene less": (CONTIGS, list(range(0, 18_800, 200)), "genes.gff3 has changed: 94 genes where there were 95"),
    "a gene elsewhere": (CONTIGS, [50, *range(200, 19_000, 200)], "genes.gff3 has changed: other windows than before"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_is_not_resumed_on_other_data(tmp_path: Path, name: str) -> None:
    changed, starts, message = CHANGES[name]
    fasta = write_fasta(tmp_path / "genome.fa", CONTIGS)
    all_starts = list(range(0, 19_000, 200))
    annotation = genes(tmp_path / "genes.gff3", all_starts)
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        killed_at(patch, Learner, "training_step", 2)
        with pytest.raises(Killed):
            train_tiny(folder, fasta, f"annotation={annotation}", "data.soft_mask=keep", "run.checkpoint_every=1")
    before = (folder / "genome.json").read_bytes()
    write_fasta(fasta, changed)
    os.utime(fasta, ns=(1, 1))
    genes(annotation, starts or all_starts)
    with pytest.raises(DataError) as caught:
        resume(folder)
    assert message in str(caught.value)
    assert "restore the original, or start a new run with -o" in str(caught.value)
    assert (folder / "genome.json").read_bytes() == before
    write_fasta(fasta, CONTIGS)  # put back
    genes(annotation, all_starts)
    assert resume(folder, "run.max_steps=2") == 0


def test_the_file_that_a_run_began_with_may_be_written_otherwise(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "genome.fa", CONTIGS)
    folder = train_tiny(tmp_path / "run", fasta, max_steps=1)
    lines = fasta.read_text().splitlines()
    fasta.write_text("\n".join(line if line.startswith(">") else line.lower() for line in lines) + "\n")
    assert resume(folder, "run.max_steps=2") == 0  # soft mask is folded, so it decides nothing


def test_a_run_without_a_record_of_its_sequence_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = train_tiny(tmp_path / "run", patterned_genome(tmp_path / "genome.fa"), max_steps=1)
    (folder / "genome.json").unlink()
    assert resume(folder, "run.max_steps=2") == 0
    assert "changes of the sequence since the start of the run cannot be detected" in caplog.text
    (folder / "genome.json").write_text('{"contigs": [1, 2')
    with pytest.raises(ModelError, match=r"genome\.json: damaged"):
        resume(folder, "run.max_steps=3")


class Foreign:
    def __reduce__(self) -> Any:
        return print, ("you should not see this",)


def deep(value: Any, *path: Any, to: Any) -> None:
    for part in path[:-1]:
        value = value[part]
    if to is None:
        del value[path[-1]]
    else:
        value[path[-1]] = to


MALFORMED: dict[str, tuple[tuple[Any, ...], Any]] = {
    "no counters": (("genoconv",), None),
    "counters of a wrong type": (("genoconv",), [1]),
    "batches as text": (("genoconv", "batches"), "5"),
    "batches below zero": (("genoconv", "batches"), -1),
    "seconds that are not": (("genoconv", "seconds"), float("nan")),
    "pending sums of a wrong size": (("genoconv", "pending"), [[1.0]]),
    "limits of a wrong type": (("genoconv", "limits"), [0.5]),
    "step as text": (("global_step",), "2"),
    "step as a truth value": (("global_step",), True),
    "no weights": (("state_dict",), None),
    "a weight less": (("state_dict", "model.lm_head.weight"), None),
    "a weight more": (("state_dict", "model.\x1b[31m"), torch.zeros(1)),
    "a weight of another shape": (("state_dict", "model.lm_head.weight"), torch.zeros(3)),
    "a weight of another type": (("state_dict", "model.lm_head.weight"), "zeros"),
    "a weight that is not finite": (("state_dict", "model.backbone.ln_f.bias"), torch.full((16,), float("inf"))),
    "no optimiser": (("optimizer_states",), None),
    "two optimisers": (("optimizer_states",), [{}, {}]),
    "an optimiser of a wrong type": (("optimizer_states", 0), 7),
    "a moment of another shape": (("optimizer_states", 0, "state", 0, "exp_avg"), torch.zeros(2)),
    "a moment of a wrong type": (("optimizer_states", 0, "state", 0, "exp_avg_sq"), "x"),
    "no parameter groups": (("optimizer_states", 0, "param_groups"), None),
    "no loops": (("loops",), None),
    "loops of a wrong type": (("loops", "fit_loop"), 3),
    "a loop counter of a wrong type": (
        ("loops", "fit_loop", "epoch_loop.batch_progress", "current", "ready"),
        "many",
    ),
    "no schedule": (("lr_schedulers",), None),
    "a schedule of another step": (("lr_schedulers", 0, "last_epoch"), 77),
    "no version": (("pytorch-lightning_version",), None),
    "a version of a wrong type": (("pytorch-lightning_version",), 2),
    "a foreign class": (("extra",), Foreign()),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two steps."""
    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genoconv.pipelines.train.report.write_plot", lambda *_, **__: True)
        return train_tiny(place / "run", patterned_genome(place / "genome.fa"), max_steps=2)


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_checkpoint_gets_one_clear_line(trained: Path, name: str, capsys: Any) -> None:
    checkpoint = newest_checkpoint(trained / "checkpoints")
    assert checkpoint is not None
    good = checkpoint.read_bytes()
    path, value = MALFORMED[name]
    state = torch.load(checkpoint, weights_only=True)
    deep(state, *path, to=value)
    torch.save(state, checkpoint)
    try:
        with pytest.raises(ModelError) as caught:
            resume(trained, "run.max_steps=3")
    finally:
        checkpoint.write_bytes(good)
    message = str(caught.value)
    assert str(checkpoint) in message
    assert message.isprintable()
    assert "weights_only" not in message
    assert "you should not see" not in capsys.readouterr().out
    if isinstance(value, Foreign):
        assert "asks for the Python object print" in message
        assert "remove it unless you know its source" in message


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02.", b"not a checkpoint\n" * 100, b"\x80\x02K\x05."])
def test_what_is_not_a_checkpoint_is_named(trained: Path, content: bytes) -> None:
    checkpoint = newest_checkpoint(trained / "checkpoints")
    assert checkpoint is not None
    good = checkpoint.read_bytes()
    checkpoint.write_bytes(content)
    try:
        with pytest.raises(ModelError, match="damaged, or not a checkpoint of `genoconv train`; remove it"):
            resume(trained, "run.max_steps=3")
    finally:
        checkpoint.write_bytes(good)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,loss\n1,2\n", "line 1: not the header"),
        ("step,tokens,split,loss,perplexity,learning_rate,tokens_per_second\n1,2,train,x,4,1,1\n", "line 2"),
        ("step,tokens,split,loss,perplexity,learning_rate,tokens_per_second\n1,2\n", "line 2"),
        ("\x00\x00\n", "metrics.csv"),
        ('"\n', "metrics.csv"),
    ],
)
def test_a_damaged_metrics_file_gets_one_clear_line(trained: Path, text: str, message: str) -> None:
    metrics = trained / "metrics.csv"
    good = metrics.read_bytes()
    metrics.write_text(text)
    try:
        with pytest.raises(GenoconvError, match=message) as caught:
            resume(trained, "run.max_steps=3")
    finally:
        metrics.write_bytes(good)
    assert "metrics.csv" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_row_cut_short_by_a_kill_is_no_row(trained: Path, tmp_path: Path) -> None:
    text = (trained / "metrics.csv").read_text()
    whole = read_rows(trained / "metrics.csv")
    for cut in range(1, len(text.splitlines()[-1]) + 1):
        (tmp_path / "cut.csv").write_text(text[:-cut])
        assert read_rows(tmp_path / "cut.csv") == whole[:-1], cut
    assert json.loads((trained / "config.json").read_text())["provenance"]["steps"] == 2
