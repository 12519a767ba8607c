"""``--json`` and ``--log-file``: one object for every command and every ending, and a log that misses nothing."""

import hashlib
import json
import logging
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_tree import COMMANDS
from embed_files import model_folder
from fasta_files import random_bases, write_fasta
from reports import enter, reported

import genoconv
from genoconv import paths
from genoconv.models import load_model, save_model
from genoconv.models.heads import HeadConfig, Predictor
from support import ROOT

KEYS = ["command", "version", "arguments", "exit_code", "error", "warnings", "started", "seconds"]
KEYS += ["counts", "model", "inputs", "outputs", "options", "result"]


class Bench:
    """Files that every command can run on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = model_folder(folder / "model")
        bases = {"a": random_bases(900, seed=1, letters="ACGT"), "b": random_bases(400, seed=2, letters="ACGT")}
        self.fasta = write_fasta(folder / "in.fa", bases)
        lines = [f"a\t{at + 1}\t.\t{bases['a'][at]}\t{'C' if bases['a'][at] != 'C' else 'G'}" for at in (300, 500)]
        header = "##fileformat=VCFv4.2\n##contig=<ID=a>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        self.vcf = folder / "in.vcf"
        self.vcf.write_text(header + "".join(f"{line}\t.\t.\t.\n" for line in [*lines, "a\t600\t.\tN\t<DEL>"]))

    def labelled(self) -> Path:
        """Records of two classes."""
        rows = [f"{random_bases(40, seed=n, letters='ACGT')},{n % 2}\n" for n in range(30)]
        (self.folder / "x.csv").write_text("sequence,label\n" + "".join(rows))
        return self.folder / "x.csv"

    def tuned(self) -> Path:
        """A model with a head that has learned nothing."""
        head = HeadConfig(kind="regression", labels=("x",))
        save_model(Predictor.on(load_model(self.model), head), self.folder / "tuned", provenance={})
        return self.folder / "tuned"

    def stored(self) -> str:
        """The name of a model in the store."""
        shutil.copytree(self.model, paths.models_dir() / "mine", dirs_exist_ok=True)
        return "mine"

    def copied(self) -> Path:
        """A model that a command may write into."""
        return Path(shutil.copytree(self.model, self.folder / "copied", dirs_exist_ok=True))

    def words(self, command: str, out: Path) -> tuple[object, ...]:
        """A small run of a command, its outputs in ``out``."""
        scored = self.folder / "scored.vcf"
        if command in ("workflow gather", "workflow report") and not scored.exists():
            enter("score-variants", *self.words("score-variants", self.folder), "--device", "cpu")
            (self.folder / "out.vcf").rename(scored)
        return {
            "genomes list": (),
            "genomes show": ("mine",),
            "genomes fetch": ("mine",),
            "genomes verify": ("mine",),
            "genomes path": ("mine",),
            "genomes add": ("mine", "-f", self.fasta, "--force"),
            "genomes remove": ("mine",),
            "windows": ("-f", self.fasta, "--tiles", "-l", 50, "-o", out / "out.bed"),
            "train": ("-f", self.fasta, "-l", 32, "--max-steps", 1, "-o", out / "run", "--device", "cpu"),
            "finetune": (self.labelled(), "-m", self.model, "-o", out / "tuned", "--epochs", 1, "--device", "cpu"),
            "predict": (self.fasta, "-m", self.tuned(), "-o", out / "out.tsv"),
            "embed": (self.fasta, "-m", self.model, "-o", out / "out.npy"),
            "score-variants": (self.vcf, "-f", self.fasta, "-m", self.model, "-o", out / "out.vcf", "-w", 32),
            "scan": (self.fasta, "-m", self.model, "-r", "a:1-60", "-o", out / "out.tsv.gz", "-w", 32),
            "workflow init": (out / "study",),
            "workflow gather": (scored, "-o", out / "all.vcf"),
            "workflow report": (scored, "--table", out / "t.tsv", "--plot", out / "p.png"),
            "models export": (self.model, "-o", out / "export"),
            "models import": (self.folder / "published", "-o", out / "imported"),
            "models calibrate": (self.copied(), "-f", self.fasta, "--sample", 1000, "--variants", 10, "-w", 32),
            "models show": (self.model,),
            "models list": (),
            "models remove": (self.stored(),),
            "plan": ("--length", 1000, "--gpu", "h200"),
            "kernels list": (),
            "kernels explain": ("--length", 4096),
            "kernels warm": ("--arch", "sm_90"),
            "kernels clear": (),
            "kernels doctor": ("--device", "cpu"),
            "doctor": (),
        }[command]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


# What a user counts on in "counts" and "result" of each command, as docs/json.md lists it.
PROMISED = dict(
    re.findall(r"^\| `([a-z -]+)` \| (.*?) \|$", (ROOT / "docs" / "json.md").read_text(encoding="utf-8"), re.M)
)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_reports_what_the_page_promises(
    command: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if command == "models import":
        enter("models", "export", bench.model, "-o", bench.folder / "published")
    if command.startswith("genomes ") and command != "genomes add":
        enter("genomes", "add", "mine", "-f", bench.fasta, "-q")
    monkeypatch.setattr("genoconv.pipelines.kernels.run.warm", lambda *_, **__: 3)
    monkeypatch.setattr("genoconv.pipelines.kernels.run.self_test", lambda device: iter(["fine"]))
    words = bench.words(command, tmp_path)
    found = reported(*command.split(), *words)
    assert list(found) == KEYS
    assert (found["command"], found["version"]) == (command, genoconv.__version__)
    assert (found["exit_code"], found["error"]) == (0, None)
    assert found["seconds"] > 0
    promised = set(re.findall(r"`(\w+)`", PROMISED[command]))
    assert promised <= {*found["counts"], *(found["result"] if isinstance(found["result"], dict) else ())}
    assert {*found["counts"]} <= promised
    for files in (*found["outputs"].values(), *found["inputs"].values()):
        for file in files:
            path = Path(file["path"])
            if path.is_file():
                assert file["bytes"] == path.stat().st_size
                assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    written = {Path(file["path"]) for files in found["outputs"].values() for file in files}
    written |= {path.parent for path in written}
    assert {path for path in tmp_path.iterdir() if path.suffix != ".tbi"} <= written
    if "-m" in words:
        assert found["model"]["sha256"] == genoconv_digest(Path(str(words[words.index("-m") + 1])))


def genoconv_digest(model: Path) -> str:
    from genoconv.models.checkpoint import model_digest

    return model_digest(model)


@pytest.mark.parametrize("command", ["genomes list", "models list", "plan", "doctor", "embed"])
def test_nothing_else_is_on_standard_output(
    command: str, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enter(*command.split(), *bench.words(command, tmp_path), "--json", "-")
    assert json.loads(capsys.readouterr().out)["command"] == command
    enter("genomes", "list")
    assert capsys.readouterr().out.startswith("chm13v2")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        ("embed x.fa --bad", 2, "no such option: --bad"),
        ("nonsense", 2, "no such command"),
        ("embed x.fa", 2, "missing --output"),
        ("embed gone.fa -m gone -o o.npz", 1, "gone: does not exist"),
        ("windows -f gone.fa --tiles", 1, "gone.fa"),
    ],
)
def test_a_failure_is_reported(words: str, code: int, error: str, tmp_path: Path) -> None:
    found = reported(*words.split(), code=code)
    assert list(found) == KEYS
    assert found["exit_code"] == code
    assert error in found["error"]
    assert "\n" not in found["error"]
    assert found["outputs"] == {}


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt("resume with X"), 130), (SystemExit(143), 143)])
def test_an_interrupted_run_is_reported(
    stop: BaseException, code: int, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(options: object) -> None:
        logging.getLogger("genoconv").warning("one")
        raise stop

    monkeypatch.setattr("genoconv.pipelines.windows.run.windows", interrupt)
    found = reported("windows", *bench.words("windows", tmp_path), code=code)
    assert found["exit_code"] == code
    assert found["warnings"] == 1
    assert found["error"] == ("interrupted; resume with X" if code == 128 + signal.SIGINT else None)


def test_a_summary_replaces_summaries_only(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("embed", bench.fasta, "-m", bench.model, "-o", tmp_path / "out.npz", "--force")
    before = bench.fasta.read_bytes()
    for option in ("--json", "--log-file"):
        for target, why in ((bench.fasta, "exists and is not"), (tmp_path / "out.npz", "--output of the run")):
            (tmp_path / "out.npz").unlink(missing_ok=True)
            assert enter(*words, option, target) == 2
            assert why in capsys.readouterr().err
        assert enter(*words, option, tmp_path) == 2
        assert "this is a folder" in capsys.readouterr().err
    assert bench.fasta.read_bytes() == before
    target = tmp_path / "run.json"
    for _ in range(2):
        assert enter("genomes", "list", "--json", target) == 0
    assert enter("windows", "-f", bench.fasta, "--tiles", "--json", "-") == 2
    assert "write one of them to a file" in capsys.readouterr().err


def test_a_summary_without_a_place_is_an_error_before_anything_is_done(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("embed", bench.fasta, "-m", bench.model, "-o", tmp_path / "out.npz", "--json")
    os.mkfifo(tmp_path / "pipe")
    for target, why in (
        (bench.fasta / "new" / "run.json", f"{bench.fasta} is not a folder"),
        (Path("/proc/new/run.json"), "cannot write in /"),  # where root cannot write either
        (tmp_path / "pipe", "a device or a pipe"),
    ):
        assert enter(*words, target) == 2
        assert why in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


def test_a_summary_that_cannot_be_written_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("x")
    assert enter("genomes", "list", "--json", blocked / "run.json") == 2
    error = capsys.readouterr().err
    assert error.startswith("genoconv: error: --json ")
    assert error.count("\n") == 1


def test_the_log_has_what_the_terminal_does_not_show(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "logs" / "run.log"
    monkeypatch.setattr("genoconv.progress._FIRST_LINE_SECONDS", 0.0)
    words = ("windows", *bench.words("windows", tmp_path), "--log-file", log)
    assert enter(*words, "-q") == 0
    assert capsys.readouterr().err == ""
    lines = log.read_text(encoding="utf-8").splitlines()
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d (DEBUG|INFO|WARNING) "
    assert all(re.match(stamp, line) for line in lines)
    text = "\n".join(lines)
    for word in (f"genoconv {genoconv.__version__}", "Making windows: ", " windows: train ", "exit code 0"):
        assert word in text
    assert enter(*words) == 1  # the output exists by now
    more = log.read_text(encoding="utf-8").splitlines()
    assert more[: len(lines)] == lines
    assert any(" ERROR " in line and "exists already" in line for line in more)


def test_a_line_beside_a_bar_stays_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import io
    import sys

    from genoconv.cli import console
    from genoconv.progress import progress_bar

    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("genoconv.progress._FIRST_LINE_SECONDS", 0.0)
    console.set_up_logging()
    console.log_to(tmp_path / "run.log")
    with progress_bar("Reading", total=2, unit="records") as advance:
        advance(1)
        logging.getLogger("genoconv").warning("odd")
        advance(1)
    console.end_log()
    written = (tmp_path / "run.log").read_text()
    assert "DEBUG Reading: 1 of 2 records" in written
    assert "WARNING odd" in written
    assert any(line.strip("\r\x1b[2K") == "genoconv: warning: odd" for line in screen.getvalue().splitlines())
    assert "Reading: 1 of 2" not in screen.getvalue()


def test_options_that_name_outputs_say_so() -> None:
    from genoconv.pipelines.options import Options, parameters

    def records(kind: type[Options]) -> Iterator[type[Options]]:
        for child in kind.__subclasses__():
            if child.__module__.startswith("genoconv."):  # other tests have records of their own
                yield child
                yield from records(child)

    found = {p.option.label: p.option.written for record in records(Options) for p in parameters(record)}
    for label in ("--output", "--tsv", "--plot", "--table"):
        assert found[label], label
    assert not found["--fasta"]
