"""How a run starts: alone in its folder, or not at all; and what is said and recorded of what it learns from."""

import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from fasta_files import write_fasta
from train_runs import (
    configuration,
    patterned_bases,
    resumed,
    same_weights,
    tiny_config,
    train_tiny,
    weights,
)

import genoconv
from genoconv.errors import DataError, OutputError, TrainingError, UsageError
from genoconv.models.checkpoint import read_config
from genoconv.pipelines.train import run as pipeline
from genoconv.pipelines.train.config import default_folder
from genoconv.train.checkpoints import newest_checkpoint
from genoconv.train.metrics import read_rows

FAILING = {
    "a device that is not there": ("run.device=cuda:99",),
    "slurm that never was": ("run.launcher=slurm",),
    "a contig that is not there": ("windows.valid=chr77",),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_failed_start_leaves_nothing_that_blocks_the_corrected_call(fasta: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "deep" / "run"
    with pytest.raises(UsageError):
        train_tiny(folder, fasta, *FAILING[name], max_steps=1)
    assert not folder.parent.exists()
    train_tiny(folder, fasta, max_steps=1)
    before = weights(folder)
    for _ in range(2):
        with pytest.raises(UsageError):
            pipeline.train(tiny_config(fasta, *FAILING[name]), folder=folder, force=True, quiet=True)
        assert all(torch.equal(before[key], value) for key, value in weights(folder).items())
        assert not (folder / "previous").exists()


def test_a_failure_before_the_first_step_is_taken_back(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished, new = train_tiny(tmp_path / "finished", fasta, max_steps=1), tmp_path / "new"
    twin = train_tiny(tmp_path / "twin", fasta, max_steps=1)

    def fail(*_: object) -> None:
        raise TrainingError("process 2 of 2 failed: out of memory")

    with monkeypatch.context() as patch:
        patch.setattr("genoconv.train.module.Learner.training_step", fail)
        for folder in (finished, new):
            with pytest.raises(TrainingError, match="process 2 of 2"):
                pipeline.train(tiny_config(fasta, "run.seed=5"), folder=folder, force=True, quiet=True)
    assert not new.exists()
    assert same_weights(finished, twin)
    assert (finished / "run.yaml").read_text() == (twin / "run.yaml").read_text()


def test_a_run_that_was_killed_before_it_learned_anything_is_replaced(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("genoconv.train.module.Learner.training_step", kill)
        with pytest.raises(Killed):
            train_tiny(folder, fasta)
    assert (folder / "run.yaml").exists()
    train_tiny(folder, fasta, max_steps=1)
    assert read_config(folder)["provenance"]["steps"] == 1


def test_a_folder_of_somebody_elses_is_left_alone_even_with_force(fasta: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "run.yaml").write_text("genome: hg38\n")  # a configuration, not a run
    (folder / "README.md").write_text("mine")
    for content in (None, '{"name": "a web site"}'):
        if content is not None:
            (folder / "config.json").write_text(content)
        before = {path.name: path.read_text() for path in folder.iterdir()}
        with pytest.raises(OutputError, match="is not a model folder"):
            pipeline.train(tiny_config(fasta), folder=folder, force=True, quiet=True)
        assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_two_runs_do_not_share_a_folder(fasta: Path, tmp_path: Path) -> None:
    folder = train_tiny(tmp_path / "run", fasta, max_steps=1)
    holder = (
        "import sys\nfrom pathlib import Path\nfrom genoconv.pipelines.train.folder import held_folder\n"
        f"with held_folder(Path({str(folder)!r})):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        config = resumed(folder, "run.max_steps=2")
        for attempt in (
            lambda: pipeline.train(tiny_config(fasta), folder=folder, force=True, quiet=True),
            lambda: pipeline.train(tiny_config(fasta), folder=folder, quiet=True),
            lambda: pipeline.resume(config, folder=folder, quiet=True),
        ):
            with pytest.raises(OutputError, match=rf"process {other.pid} on .* is writing it"):
                attempt()
        other.communicate("")
    assert pipeline.resume(config, folder=folder, quiet=True) == 0


def test_a_killed_run_does_not_hold_its_folder_through_its_reading_processes(fasta: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    holder = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom genoconv.pipelines.train.folder import held_folder\n"
        f"with held_folder(Path({str(folder)!r})):\n"
        "    if os.fork() == 0:\n        print(os.getpid(), flush=True)\n        signal.pause()\n"
        "    sys.stdin.read(1)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", holder], **streams, text=True) as other:
        assert other.stdin
        assert other.stdout
        reader = int(other.stdout.readline())
        try:
            other.stdin.write(".")
            other.stdin.flush()
            assert other.wait() == -signal.SIGKILL
            os.kill(reader, 0)  # still there
            train_tiny(folder, fasta, max_steps=1)
        finally:
            os.kill(reader, signal.SIGKILL)


def test_a_default_folder_is_never_inside_a_model_folder(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train_tiny(tmp_path / "runs" / "yeast", fasta, max_steps=1)
    (folder / "sub").mkdir()
    for inside in (folder, folder / "sub"):
        monkeypatch.chdir(inside)
        with pytest.raises(OutputError, match=re.escape(f"would lie inside the model folder {folder}; name another")):
            default_folder(tiny_config(fasta))
    monkeypatch.chdir(tmp_path)
    assert default_folder(tiny_config(fasta)) == Path("runs/genome")


def test_the_record_says_when_where_and_how(fasta: Path, tmp_path: Path) -> None:
    config = tiny_config(fasta, max_steps=2)
    folder = tmp_path / "run"
    command = "genoconv train -f genome.fa -o run"
    assert pipeline.train(config, folder=folder, quiet=True, command=command) == 0
    done = read_config(folder)["provenance"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", done["date"])
    assert (done["torch_version"], done["genoconv_version"]) == (torch.__version__, genoconv.__version__)
    assert (done["device"], done["precision"], done["command"], done["demo"]) == ("cpu", "32", command, False)
    genome = json.loads((folder / "genome.json").read_text())
    assert done["sequences_sha256"] == genome["sequences_sha256"]
    assert len(done["sequences_sha256"]) == 64
    assert done["better_than_markov"] is (done["validation_perplexity"] < min(done["markov_perplexities"]))
    other = train_tiny(tmp_path / "other", write_fasta(tmp_path / "o.fa", {"chr1": patterned_bases(20_000, seed=8)}))
    assert read_config(other)["provenance"]["sequences_sha256"] != done["sequences_sha256"]
    card = (folder / "README.md").read_text()
    warned = "no better than a table of k-mers" in card
    assert warned is not done["better_than_markov"]


def test_the_test_set_is_measured_at_the_end(fasta: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="genoconv")
    folder = train_tiny(tmp_path / "run", fasta, "data.valid_tokens=1000000")
    done = read_config(folder)["provenance"]
    last = read_rows(folder / "metrics.csv")[-1]
    assert (last.split, last.step) == ("test", 6)
    assert done["test_perplexity"] == pytest.approx(last.perplexity, rel=1e-5)
    genome = json.loads((folder / "genome.json").read_text())
    assert done["test_bases"] == genome["split"]["test"]["bases"]
    assert done["validation_bases"] == genome["split"]["valid"]["bases"]
    assert done["test_markov_perplexities"] != done["markov_perplexities"]
    assert len(done["test_markov_perplexities"]) == 9
    assert (
        f"| this model | {done['validation_perplexity']:.4f} | {done['test_perplexity']:.4f} |"
        in (folder / "README.md").read_text()
    )
    assert f"test perplexity {done['test_perplexity']:.3f}" in caplog.text
    without = train_tiny(tmp_path / "without", fasta, "windows.test_fraction=0", max_steps=1)
    assert "test_perplexity" not in read_config(without)["provenance"]
    assert all(row.split != "test" for row in read_rows(without / "metrics.csv"))


def test_genes_windows_and_cuts_are_distinguished(
    fasta: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="genoconv")
    genes = tmp_path / "genes.gff3"
    # 40 genes of 50 bases, and 20 of 150 bases, which windows of 64 cut into three.
    spans = [(s, 50) for s in range(0, 8_000, 200)] + [(s, 150) for s in range(8_000, 16_000, 400)]
    rows = [f"chr1\tx\tgene\t{s + 1}\t{s + length}\t.\t+\t.\tID=same" for s, length in spans]
    genes.write_text("\n".join(rows) + "\n")
    folder = train_tiny(tmp_path / "run", fasta, f"annotation={genes}", "windows.min_length=10", max_steps=1)
    genome = json.loads((folder / "genome.json").read_text())
    parts = genome["split"].values()
    assert sum(part["genes"] for part in parts) == 60
    assert sum(part["cut_genes"] for part in parts) == 20
    assert sum(part["windows"] for part in parts) == 40 + 3 * 20
    train = genome["split"]["train"]
    words = f"{train['windows']} windows of {train['genes']} genes ({train['cut_genes']} of them cut into parts)"
    assert f"training on {words}" in caplog.text
    card = (folder / "README.md").read_text()
    assert words in card
    assert "genes, some of them cut into parts" in card
    assert "20 genes longer than 64 split" in card
    recorded = read_config(folder)["provenance"]["windows"]
    assert recorded["kind"] == "genes"
    assert recorded["train"] == {key: train[key] for key in ("windows", "bases", "genes", "cut_genes")}
    whole = train_tiny(tmp_path / "whole", fasta, f"annotation={genes}", "max_length=256", max_steps=1)
    assert "whole genes" in (whole / "README.md").read_text()
    assert f"{genome_of(whole)['windows']} windows of {genome_of(whole)['genes']} genes, whole" in caplog.text


def genome_of(folder: Path) -> dict[str, int]:
    train: dict[str, int] = json.loads((folder / "genome.json").read_text())["split"]["train"]
    return train


def test_contigs_too_short_for_a_window_are_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="genoconv")
    short = {f"s{i}": "ACGTACGTAC" for i in range(44)}
    fasta = write_fasta(tmp_path / "g.fa", {"chr1": patterned_bases(5_000, seed=1), **short})
    folder = train_tiny(tmp_path / "run", fasta, max_steps=1)
    assert "44 contigs shorter than 32 left out (s0, s1, s2 and 41 more)" in caplog.text
    assert "44 contigs shorter than 32 left out" in (folder / "README.md").read_text()
    with pytest.raises(DataError, match="no windows: 44 contigs shorter than 32 left out"):
        train_tiny(tmp_path / "none", write_fasta(tmp_path / "short.fa", short))


def test_the_model_that_training_starts_from_is_not_replaced(fasta: Path, tmp_path: Path) -> None:
    folder = train_tiny(tmp_path / "run", fasta, max_steps=1)
    before = weights(folder)
    config = configuration(options={"fasta": str(fasta), "init": str(folder), "run.max_steps": 1})
    with pytest.raises(UsageError, match="this output is the input --init; choose another name"):
        pipeline.train(config, folder=folder, force=True, quiet=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(folder).items())


def test_a_full_disk_names_the_checkpoint(fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which nothing is written anywhere else first."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    folder = train_tiny(tmp_path / "run", fasta, "run.checkpoint_every=1", max_steps=1)
    checkpoint = newest_checkpoint(folder / "checkpoints")
    assert checkpoint is not None
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (checkpoint.stat().st_size // 2, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            train_tiny(tmp_path / "full", fasta, max_steps=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value.filename).endswith("partial.ckpt")
