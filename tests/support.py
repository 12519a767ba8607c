"""What the tests share: where the real data is, and how to run the installed command."""

import functools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from warm_command import WarmCommand

ROOT = Path(__file__).resolve().parent.parent
HANG = 400
"""Seconds that a test waits at most: however busy the machine, only what hangs takes longer."""
DATA = Path(os.environ.get("GENOCONV_TEST_DATA", ROOT.parent / "shared" / "data")).resolve()


def needs_data(*names: str) -> pytest.MarkDecorator:
    """Skip, saying what is missing, unless every named file or folder of the test data is there."""
    missing = [name for name in names or ("README.md",) if not (DATA / name).exists()]
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)} in {DATA} (set GENOCONV_TEST_DATA)")


def command() -> Path:
    """The installed ``genoconv`` of this interpreter's environment."""
    return Path(sys.executable).with_name("genoconv")


def cli_environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment in which the command finds its cache in ``home`` and draws nothing."""
    environment = {**os.environ, "GENOCONV_HOME": str(home), "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    environment.update(extra or {})
    return environment


@functools.cache
def _warm() -> WarmCommand:
    return WarmCommand()


def shell_path() -> str:
    """A search path on which ``genoconv`` is the command in a process that starts quickly."""
    return f"{_warm().folder}:{command().parent}:/usr/bin:/bin"


class Running:
    """The command on its way, in a process group of its own; standard error is kept."""

    def __init__(self, words: Sequence[object], *, env: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        with Path(os.devnull).open("r+b") as null:
            self._run = _warm().start(
                [str(command()), *map(str, words)],
                environment=env,
                cwd=Path.cwd(),
                streams=(null, null, self._errors),
                group=True,
            )
        self.pid = self._run.pid

    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._run.alive()

    def end(self, timeout: float = HANG) -> tuple[int, str]:
        """Wait for it; its exit code and standard error."""
        code = self._run.wait(timeout)
        with self._errors:
            return code, self.said()

    def said(self) -> str:
        """Standard error so far."""
        self._errors.seek(0)
        return self._errors.read().decode()


def run_cli(
    *arguments: str | Path | int,
    home: Path,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = HANG,
    cwd: Path | None = None,
    before: str = "",
    fresh: bool = False,
) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end in a process of its own; output is bytes because VCF and npz go to stdout.

    The process is forked from one that has imported torch; with ``fresh`` the installed script is started.
    ``before`` is Python code that runs in the process first.
    """
    words = [str(command()), *map(str, arguments)]
    environment = cli_environment(home, env)
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        given.write(stdin or b"")
        given.seek(0)
        if fresh:
            assert not before
            code = subprocess.run(
                words, stdin=given, stdout=out, stderr=errors, env=environment, timeout=timeout, cwd=cwd, check=False
            ).returncode
        else:
            streams = (given, out, errors)
            run = _warm().start(words, environment=environment, cwd=cwd or Path.cwd(), streams=streams, before=before)
            code = run.wait(timeout)
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(words, code, out.read(), errors.read())


def file_limit(size: int) -> str:
    """Code to run ``before`` a command: no file may grow beyond ``size`` bytes, as on a full disk."""
    return f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"


def one_clear_line(result: subprocess.CompletedProcess[bytes], *, code: int) -> str:
    """Assert that a run failed with ``code`` and one line of explanation, no traceback; return that line."""
    text = result.stderr.decode()
    assert result.returncode == code, (result.returncode, text)
    assert "Traceback" not in text, text
    lines = [line for line in text.splitlines() if line.startswith("genoconv: error:")]
    assert len(lines) == 1, text
    return lines[0]


def _printed(page: str, mark: str) -> tuple[str, str, str]:
    """The text of a page before, within and after ``<!-- mark -->`` and ``<!-- end of mark -->``."""
    text = (ROOT / page).read_text(encoding="utf-8")
    before, begin, rest = text.partition(f"<!-- {mark} -->\n")
    within, end, after = rest.partition(f"<!-- end of {mark} -->")
    assert end, f"{page} lacks the marks of {mark!r}"
    return before + begin, within, end + after


def print_into(page: str, mark: str, text: str) -> None:
    """Replace what stands between two marks of a Markdown page."""
    before, _, after = _printed(page, mark)
    (ROOT / page).write_text(f"{before}\n{text}\n\n{after}", encoding="utf-8")


def check_printed(page: str, mark: str, text: str) -> None:
    """Assert that a Markdown page holds ``text`` between two marks."""
    assert _printed(page, mark)[1] == f"\n{text}\n\n", f"{page}: {mark} is out of date; run the test file as a script"


_STRUCK = """
import os, signal
from genoconv.pipelines.pieces import Pieces
from genoconv.tasks.journal import Journal
append, keep, left = Journal.append, Pieces.append, [{pieces}]
def at_once(self, *parts, **facts):  # on a slow disk more pieces would wait, and be written after the signal
    keep(self, *parts, **facts)
    self.flush()
Pieces.append = at_once
def struck(self, value):
    append(self, value)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.{stop})
Journal.append = struck
"""


def run_until(arguments: Sequence[str | Path], home: Path, stop: signal.Signals, pieces: int) -> int:
    """Run the command, which gets the signal when it has finished ``pieces`` more pieces; its exit code."""
    result = run_cli(*arguments, home=home, before=_STRUCK.format(pieces=pieces, stop=stop.name))
    assert b"Traceback" not in result.stderr, result.stderr
    return result.returncode


def ci_script(name: str) -> ModuleType:
    """A script of ``.ci`` as a module."""
    loader = SourceFileLoader(name, str(ROOT / ".ci" / name))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module
