"""``genoconv train`` as a person, a scheduler or a power cut meets it: whole processes, real signals."""

import contextlib
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from calls import call
from fasta_files import write_fasta
from train_runs import TINY, patterned_genome, same_weights, train_tiny, weights
from typer.testing import CliRunner

from genoconv.cli.app import app
from genoconv.errors import GenoconvError, UsageError
from genoconv.models.checkpoint import read_config
from genoconv.train.metrics import read_rows
from support import HANG, Running, cli_environment, file_limit, one_clear_line, run_cli

HARD = ("data.accumulate=2", "data.workers=1", "model.embed_dropout=0.1", "run.checkpoint_every=4")


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return patterned_genome(tmp_path / "genome.fa")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where matplotlib keeps its list of fonts, which takes it seconds to make."""
    return str(tmp_path_factory.mktemp("fonts"))


def sets(*assignments: str) -> list[str]:
    return [word for text in (*TINY, *assignments) for word in ("--set", text)]


def environment(home: Path, fonts: str, **more: str) -> dict[str, str]:
    return cli_environment(home, {"MPLCONFIGDIR": fonts, "OMP_NUM_THREADS": "1", **more})


def test_a_kill_in_the_middle_of_a_checkpoint_loses_nothing(
    fasta: Path, tmp_path: Path, home: Path, fonts: str
) -> None:
    cut_down = (
        "import os, signal\n"
        "from genoconv import atomic\n"
        "commit, calls = atomic.commit, []\n"
        "def struck(temporary, final):\n"
        "    if temporary.name == 'partial.ckpt':\n"
        "        calls.append(final)\n"
        "        if len(calls) == 2:\n"
        "            os.truncate(temporary, 1000)\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "    commit(temporary, final)\n"
        "atomic.commit = struck\n"
    )
    folder = tmp_path / "run"
    words = ["train", "-f", str(fasta), "-o", str(folder), "--max-steps", "10", *sets(*HARD)]
    killed = run_cli(*words, home=home, env=environment(home, fonts), before=cut_down)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["partial.ckpt", "step-00000004.ckpt"]
    resumed = run_cli("train", "--resume", folder, home=home, env=environment(home, fonts))
    assert resumed.returncode == 0, resumed.stderr.decode()
    assert "resuming from" in resumed.stderr.decode()
    assert same_weights(folder, train_tiny(tmp_path / "whole", fasta, *HARD, max_steps=10))
    steps = [row.step for row in read_rows(folder / "metrics.csv") if row.split == "train"]
    assert steps == list(range(1, 11))
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "step-00000008.ckpt",
        "step-00000010.ckpt",
    ]


def wait_for_rows(folder: Path, count: int, run: Running) -> None:
    deadline = time.monotonic() + HANG
    while len(read_rows(folder / "metrics.csv")) < count:
        assert run.alive(), run.said()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_whole_group_saves_a_checkpoint(
    fasta: Path, tmp_path: Path, home: Path, fonts: str, number: int, code: int
) -> None:
    folder = tmp_path / "run"
    words = ["train", "-f", str(fasta), "-o", str(folder), "--max-steps", "100000", *sets("data.workers=1")]
    run = Running(words, env=environment(home, fonts))
    wait_for_rows(folder, 3, run)
    os.killpg(run.pid, number)
    ended, text = run.end()
    assert ended == code, text
    assert f"resume with: genoconv train --resume {folder}" in text
    assert "Traceback" not in text
    step = read_rows(folder / "metrics.csv")[-1].step
    assert (folder / "checkpoints" / f"step-{step:08d}.ckpt").exists()
    assert not (folder / "config.json").exists()


PAIR = ("run.devices=2", "model.embed_dropout=0", "data.reverse_complement=false")
LEAVES_BEFORE_IT_WAITS = """
import torch.distributed as dist
from genoconv.train import workers
wait = workers._Worker.finish
def finish(worker):
    assert not dist.is_initialized(), "NCCL keeps a process in its group until all leave it"
    wait(worker)
workers._Worker.finish = finish
"""
ONE_HELD_OUT = ("max_length=1024", "data.tokens_per_batch=2048", "data.packing=true")


def test_two_processes_learn_what_one_does_with_twice_the_batches(tmp_path: Path, home: Path, fonts: str) -> None:
    """Of a genome with a single held-out window, so that one of them has none to measure; packed, unequal batches."""
    fasta = patterned_genome(tmp_path / "small.fa", length=9_000)
    folder = tmp_path / "pair"
    result = run_cli(
        *("train", "-f", fasta, "-o", folder, "--max-steps", 5, *sets(*PAIR, *ONE_HELD_OUT)),
        home=home,
        env=environment(home, fonts),
        before=LEAVES_BEFORE_IT_WAITS,
    )
    text = result.stderr.decode()
    assert result.returncode == 0, text
    assert len([line for line in text.splitlines() if "below" in line or "above" in line]) == 1
    assert len([line for line in text.splitlines() if "training on" in line]) == 1, text
    alone = train_tiny(tmp_path / "alone", fasta, *PAIR[1:], *ONE_HELD_OUT, "data.accumulate=2", max_steps=5)
    pair, single = weights(folder), weights(alone)
    assert all(torch.allclose(pair[name], single[name], rtol=1e-3, atol=1e-5) for name in pair)
    ours, theirs = (read_rows(f / "metrics.csv") for f in (folder, alone))
    assert [row.step for row in ours] == [row.step for row in theirs]
    assert [row.loss for row in ours] == pytest.approx([row.loss for row in theirs], rel=1e-4)
    assert [row.tokens for row in ours] == [row.tokens for row in theirs]
    done = read_config(folder)["provenance"]
    assert (done["device"], done["windows"]["valid"]["windows"]) == ("2 x cpu", 1)
    assert "Traceback" not in text


def failing(path: Path, *, how: str, moment: str) -> Path:
    """A script that is the command; as the second process of a run it fails at a moment of its own."""
    path.write_text(
        "import os, signal, sys\n"
        "from genoconv.cli import main\n"
        "if os.environ.get('LOCAL_RANK') == '1':\n"
        "    from genoconv.errors import DataError\n"
        "    from genoconv.train import module, readers\n"
        "    def fail(*args, **kwargs):\n"
        f"        {how}\n"
        f"    {moment} = fail\n"
        "main()\n"
    )
    return path


@pytest.mark.parametrize(
    ("how", "moment", "message"),
    [
        (
            "raise DataError('genome.fa: gone')",
            "module.Learner.training_step",
            "process 2 of 2 failed: genome.fa: gone",
        ),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "readers.WindowReader.__init__",
            "process 2 of 2 failed: killed by SIG",
        ),
    ],
)
def test_a_process_that_fails_ends_the_command_with_its_message(
    fasta: Path, tmp_path: Path, home: Path, fonts: str, how: str, moment: str, message: str
) -> None:
    script = failing(tmp_path / "command.py", how=how, moment=moment)
    folder = tmp_path / "run"
    words = ["train", "-f", str(fasta), "-o", str(folder), "--max-steps", "100000", *sets(*PAIR)]
    before = f"import sys; from genoconv.train import workers; sys.argv[0], workers._STUCK = {str(script)!r}, 0.2"
    result = run_cli(*words, home=home, env=environment(home, fonts), before=before)
    assert message in one_clear_line(result, code=1)
    call("train", "-f", fasta, "-o", folder, "--max-steps", 1, *sets(), "-q")


def free_job() -> int:
    """The number of a SLURM job whose port, which Lightning derives from it, nobody listens at."""
    for job in range(10_000 + os.getpid() % 5_000, 20_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", 15_000 + job % 10_000))
            return job
    raise AssertionError("no free port")


def test_processes_that_slurm_has_started_find_each_other(fasta: Path, tmp_path: Path, home: Path, fonts: str) -> None:
    folder = tmp_path / "run"
    words = ["train", "-f", str(fasta), "-o", str(folder), "--max-steps", "3", *sets(*PAIR)]
    shared = {
        **{"SLURM_JOB_ID": str(free_job()), "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2"},
        **{"SLURM_NTASKS_PER_NODE": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NNODES": "1", "SLURM_NODEID": "0"},
        "SLURM_NODELIST": "localhost",
    }
    tasks = [
        Running(words, env=environment(home, fonts, **shared, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank)))
        for rank in (1, 0)
    ]
    ends = [task.end() for task in tasks]
    assert [code for code, _ in ends] == [0, 0], ends
    assert ends[0][1] == ""
    assert "after 3 steps" in ends[1][1]
    assert read_config(folder)["provenance"]["steps"] == 3


def test_the_demo_beats_every_markov_model_in_little_memory(tmp_path: Path, home: Path, fonts: str) -> None:
    words = ["train", "--max-steps", "46", "--set", "data.valid_tokens=40000", "--set", "run.device=cpu"]
    words += ["--set", "run.max_minutes=null"]  # a busy machine takes longer, and must learn as much
    words += ["--set", "run.validate_every=46", "--no-calibrate"]  # which others test
    folder, peak = tmp_path / "runs" / "demo", tmp_path / "peak"
    # Of this process alone: it is forked, so that the peak of none that ran before it counts.
    before = (
        "import os, resource\nfrom pathlib import Path\nend = os._exit\n"
        "def ending(code):\n"
        f"    Path({str(peak)!r}).write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))\n"
        "    end(code)\n"
        "os._exit = ending\n"
    )
    ended = run_cli(*words, home=home, env=environment(home, fonts), cwd=tmp_path, before=before, timeout=3 * HANG)
    text = ended.stderr.decode()
    assert ended.returncode == 0, text
    assert "synthetic" in text
    done = read_config(folder)["provenance"]
    ours, theirs = done["validation_perplexity"], done["markov_perplexities"]
    assert len(theirs) == 9
    assert ours < min(theirs) < 3.6
    line = r"validation perplexity \d\.\d+, test perplexity \d\.\d+ after 46 steps"
    assert re.search(line + r".*% below the best Markov model \(order \d", text)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(peak.read_text()) * unit < 2e9


def refused(*words: object, error: type[GenoconvError] = UsageError) -> str:
    result = CliRunner().invoke(app, ["train", *map(str, words)])
    assert isinstance(result.exception, error), result.exception
    return str(result.exception)


def test_options_that_exclude_each_other(fasta: Path, tmp_path: Path) -> None:
    assert "--annotation is given 1 time and --fasta 2 times" in refused("-f", fasta, "-f", "b.fa", "-a", "x.gff3")
    assert "--demo generates its own sequence" in refused("-f", fasta, "--demo", "long")
    assert "--annotation needs the FASTA" in refused("-a", "x.gff3")
    assert "drop one of them" in refused("-f", fasta, "-a", "x.gff3", "--tiles")
    assert "drop RUN.yaml, --output and --force" in refused("--resume", tmp_path, "-o", tmp_path / "x")
    assert "cannot change within a run" in refused("--resume", train_tiny(tmp_path / "run", fasta), "-f", "other.fa")
    assert "did you mean optim.lr" in refused("--set", "optim.l=1")
    (tmp_path / "run.yaml").write_text(f"fasta: {fasta}\n")
    assert "two configurations" in refused(tmp_path / "run.yaml", "--config", tmp_path / "run.yaml")


def test_print_config_prints_and_does_nothing(fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("train", "-f", "genome.fa", "--max-length", 128, "--print-config")
    file = tmp_path / "printed.yaml"
    file.write_text(result.stdout)
    assert call("train", file, "--print-config").stdout == result.stdout
    assert f"fasta: {fasta}" in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"genome.fa", "printed.yaml"}


def test_a_full_disk_gets_one_clear_line(fasta: Path, tmp_path: Path, home: Path, fonts: str) -> None:
    words = ["train", "-f", str(fasta), "-o", str(tmp_path / "run"), "--max-steps", "3", *sets()]
    result = run_cli(*words, home=home, env=environment(home, fonts), before=file_limit(60_000))
    line = one_clear_line(result, code=1)
    assert "File too large" in line
    assert not (tmp_path / "run" / "config.json").exists()


def test_the_summary_is_on_stderr_and_quiet_is_quiet(tmp_path: Path) -> None:
    path = write_fasta(tmp_path / "g.fa", {"c": "ACGT" * 3000})
    result = call("train", "-f", path, "-o", tmp_path / "run", "--max-steps", 1, "-q", *sets())
    assert result.output == ""
    assert json.loads((tmp_path / "run" / "config.json").read_text())["provenance"]["genome"] == "g.fa"
