"""The process boundary: exit codes, one line for an error, nothing heavy before it is needed."""

import contextlib
import errno
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import genoconv
from genoconv.cli import console, entry, signals
from support import HANG, cli_environment, command, run_cli


def test_the_version_is_bare(home: Path) -> None:
    result = run_cli("--version", home=home)
    assert (result.returncode, result.stdout.decode(), result.stderr) == (0, f"{genoconv.__version__}\n", b"")


def test_an_unknown_command_is_a_usage_error(home: Path) -> None:
    result = run_cli("scorevariants", home=home)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr.decode()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["doctor", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str], home: Path) -> None:
    watch = (
        "import sys; sys.argv[0] = 'genoconv'\n"
        "from genoconv.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'torch', 'pandas', 'numpy', 'pysam', 'pytorch_lightning', 'Bio', 'requests'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", watch, *arguments], capture_output=True, text=True, env=cli_environment(home), check=True
    )
    assert result.stdout.splitlines()[-1] == "LOADED []"


def test_doctor_says_what_will_be_used(home: Path) -> None:
    result = run_cli("doctor", home=home)
    text = result.stdout.decode()
    assert result.returncode == 0, text + result.stderr.decode()
    for subject in ("python", "torch", "CUDA", "driver", "NVRTC", "kernels", "cache", "disk"):
        assert subject in text
    assert text.splitlines()[-1].startswith("genoconv will compute on ")
    assert str(home) in text


def test_doctor_fails_where_the_cache_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    result = run_cli("doctor", home=blocked / "home")
    assert result.returncode == 1
    assert "GENOCONV_HOME" in result.stdout.decode()


def test_a_closed_pipe_is_quiet(home: Path) -> None:
    process = subprocess.Popen(
        f"'{command()}' --help | true", shell=True, stderr=subprocess.PIPE, env=cli_environment(home)
    )
    _, stderr = process.communicate(timeout=HANG)
    assert stderr == b""


def test_ctrl_c_is_one_line(home: Path, tmp_path: Path) -> None:
    fasta, genes, output = tmp_path / "g.fa", tmp_path / "g.gff3", tmp_path / "out.bed"
    fasta.write_text(">c\nACGTACGTACGT\n")
    os.mkfifo(genes)
    process = subprocess.Popen(
        [command(), "windows", "-f", fasta, "-a", genes, "-o", output],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=cli_environment(home),
    )
    deadline = time.monotonic() + HANG
    writer = None
    while writer is None:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        try:
            writer = os.open(genes, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # the command does not wait at the other end yet
            time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(BrokenPipeError):  # a signal that came just before a read is noticed after it
        os.write(writer, b"\n")
    stdout, stderr = process.communicate(timeout=HANG)
    os.close(writer)
    assert (process.returncode, stdout, stderr) == (130, b"", b"genoconv: error: interrupted\n")
    assert not output.exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("embed --foo", "no such option: --foo (Possible options: --force, --pool); see genoconv embed --help"),
        ("embed x.fa --window x -m m -o o.npz", "--window: 'x' is not a number such as 32768, 450k or 2.4m"),
        ("score-variants x.vcf --window 1k,1.x", "--window: '1k,1.x' is not a length in bases, or several with"),
        ("embed x.fa --window 0 -m m -o o.npz", "--window: must be at least 1, got '0'"),
        ("embed x.fa", "missing --output"),
        ("embed x.fa y.fa", "got unexpected extra argument(s) (y.fa); see genoconv embed --help"),
        ("embed --window", "option '--window' requires an argument"),
        (
            "windows --split-by x",
            "--split-by: 'x' is not one of 'auto', 'chromosome', 'block'; see genoconv windows --help",
        ),
        ("genomes fetch", "missing NAME"),
        ("nonsense", "no such command 'nonsense'; see genoconv --help"),
        ("score-variant", "no such command 'score-variant'. Did you mean 'score-variants'? see genoconv --help"),
        ("models nonsense", "no such command 'nonsense'; see genoconv models --help"),
        ("embed x.fa -m m -o o.npz --set pool=x", "--set pool: must be 'mean', 'max', 'last' or 'none', got 'x'"),
        (
            "embed x.fa -m m -o o.npz --config gone.yaml",
            "gone.yaml: No such file or directory; expected a configuration",
        ),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(words: str, line: str, home: Path) -> None:
    result = run_cli(*words.split(), home=home)
    assert result.returncode == 2
    assert result.stderr.decode().startswith(f"genoconv: error: {line}")
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("name", "advice"),
    [("genome.f", "; did you mean genome.fa?"), ("reads.fq", ""), ("gone/genome.fa", "")],
)
def test_a_missing_file_is_compared_with_its_neighbours(
    name: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "genome.fa").touch()
    assert entry._os_error(FileNotFoundError(errno.ENOENT, "No such file or directory", name)) == 1
    assert capsys.readouterr().err == f"genoconv: error: {name}: No such file or directory{advice}\n"


def test_control_characters_do_not_reach_the_terminal(home: Path, tmp_path: Path) -> None:
    result = run_cli("embed", "\x1b]0;owned\x07.fa", "-m", tmp_path, "-o", "x\u202e.npz", home=home, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.decode().rstrip("\n").isprintable()


def shell(line: str, home: Path, **extra: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell line in which $G is the command."""
    environment = cli_environment(home, {"G": str(command()), **extra})
    return subprocess.run(["bash", "-c", line], capture_output=True, env=environment, timeout=HANG, check=False)


@pytest.mark.parametrize(
    ("line", "code", "stderr"),
    [
        ("$G genomes list > /dev/full", 1, b"genoconv: error: standard output: No space left on device\n"),
        (
            "$G windows -f $FASTA --tiles --min-length 2 2>&1 > /dev/full | tail -n 1 >&2; exit ${PIPESTATUS[0]}",
            1,
            b"genoconv: error: standard output: No space",
        ),
        ("$G genomes list >&-", 1, b"genoconv: error: standard output: Bad file descriptor\n"),
        ("$G --version >&- 2>&-", 1, b""),
        ("$G --version <&-", 0, b""),
        (
            "$G windows -f $FASTA --tiles -o /dev/null/x.bed <&- >&-",
            1,
            b"genoconv: error: /dev/null/x.bed: /dev/null is",
        ),
        ("$G windows -f $FASTA --tiles --min-length 2 <&-", 0, b"genoconv: "),
        ("$G genomes list | true", 0, b""),
    ],
)
def test_streams_that_are_closed_or_full(line: str, code: int, stderr: bytes, home: Path, tmp_path: Path) -> None:
    fasta = tmp_path / "g.fa"
    fasta.write_text(">c\n" + "ACGT" * 50 + "\n>d\n" + "ACGA" * 50 + "\n")
    result = shell(line, home, FASTA=str(fasta))
    assert result.returncode == code, result.stderr
    assert result.stderr.startswith(stderr)
    assert b"Traceback" not in result.stderr
    assert stderr or not result.stderr


# Enters main() with a command that is slow to leave by its own clock, and sends itself signals.
SIGNALS = """
import os, signal, sys, types
from genoconv.cli import entry, signals
now = 1000.0
signals.time = types.SimpleNamespace(monotonic=lambda: now)
def slow():
    global now
    try:
        os.kill(os.getpid(), int(sys.argv[1]))
        signal.pause()
    finally:
        for number in map(int, sys.argv[2].split(",")):
            os.kill(os.getpid(), number)
            now += float(sys.argv[3])
        print("left", flush=True)
entry._run = slow
entry.main()
"""


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("then", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_is_no_traceback(first: int, then: int, home: Path) -> None:
    def run(pause: float) -> subprocess.CompletedProcess[bytes]:
        words = [sys.executable, "-c", SIGNALS, str(int(first)), f"{int(then)},{int(then)}", str(pause)]
        return subprocess.run(words, capture_output=True, env=cli_environment(home), timeout=HANG, check=False)

    # One key press can arrive several times, and must not keep a command from leaving in order.
    together = run(0.0)
    line = b"genoconv: error: interrupted\n" if first == signal.SIGINT else b""
    assert (together.returncode, together.stdout, together.stderr) == (128 + first, b"left\n", line)
    again = run(0.6)
    assert (again.returncode, again.stdout, again.stderr) == (128 + then, b"", b"")


@pytest.fixture
def main_in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What main() takes over of the process is given back."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(sys, "argv", ["genoconv"])
    monkeypatch.setattr(gc, "set_threshold", lambda count: None)
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("busy", [0, 1, 3])
@pytest.mark.usefixtures("main_in_this_process")
def test_a_signal_in_a_finaliser_is_not_lost(number: int, busy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dropped:
        def __del__(self) -> None:
            signal.raise_signal(number)  # Python drops what is raised here

    def run() -> int:
        Dropped()
        while True:
            time.sleep(0.01)

    class Early(threading.Timer):
        """The first of them has sent the signal before it is known to have started."""

        def start(self) -> None:
            super().start()
            if early.pop():
                self.join()

    early = [False, *[True] * busy]
    monkeypatch.setattr(signals.threading, "Timer", Early)
    monkeypatch.setattr(entry, "_run", run)
    with pytest.raises(SystemExit) as stop:
        entry.main()
    assert stop.value.code == 128 + number
    assert not early


def test_the_name_of_an_argument_keeps_its_case(capsys: pytest.CaptureFixture[str]) -> None:
    for message, line in (("FASTA: path 'x' is bad.", "FASTA: path 'x' is bad"), ("No such option.", "no such option")):
        assert console.refused(click.UsageError(message)) == 2
        assert capsys.readouterr().err == f"genoconv: error: {line}\n"


def test_ctrl_c_while_modules_load_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Struck:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "genoconv.cli.entry":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "genoconv.cli.entry")
    monkeypatch.setattr(sys, "meta_path", [Struck(), *sys.meta_path])
    with pytest.raises(SystemExit) as stop:
        genoconv.cli.main()
    assert stop.value.code == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("main_in_this_process")
def test_a_signal_while_a_failure_is_reported_is_no_traceback(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "x.vcf")

    monkeypatch.setattr(entry, "_run", run)
    monkeypatch.setattr(entry.console, "error", lambda text: signal.raise_signal(number))
    with pytest.raises(SystemExit) as stop:
        entry.main()
    assert stop.value.code == 128 + number


@pytest.mark.usefixtures("main_in_this_process")
def test_a_signal_during_the_last_words_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "_run", lambda: 0)
    monkeypatch.setattr(entry.console, "note", lambda *words: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as stop:
        entry.main()
    assert stop.value.code == 0
