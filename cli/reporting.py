"""``--json`` and ``--log-file``, which every command has: what was done, for programs and for later.

The command line is scanned for both before it is parsed, so that a command line that is refused is reported too.
"""

import datetime
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from genoconv.cli import console
from genoconv.errors import GenoconvError, UsageError
from genoconv.pipelines.options import Options
from genoconv.pipelines.outcome import (
    STANDARD_STREAM,
    Outcome,
    check_place,
    described,
    described_inputs,
    named_paths,
    paths_of,
    to_json,
    write_json,
)
from genoconv.pipelines.version import VERSION

_LOG_LINE = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")


class Report:
    """One run of the command: where to report, and what.

    Attributes:
        json: where the summary goes; None for nowhere.
        log_file: file that every log line is appended to; None for none.
    """

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.words = list(words)
        self.json = _given(words, "--json")
        self.log_file = _given(words, "--log-file")
        self.command = ""
        self.options: BaseModel | None = None
        self.outcome = Outcome()
        self.finished = False
        self._started = datetime.datetime.now(datetime.UTC)
        self._began = time.monotonic()

    def begin(self) -> None:
        """Check both targets and open the log.

        Raises:
            UsageError: a target exists that is something else, or cannot be written.
        """
        if self.json is not None and not self.on_stdout:
            target, self.json = self.json, None  # a target that is refused is not written, whatever happens
            _check_target(target, "--json", "a summary that genoconv wrote", _is_summary)
            check_place(target, option="--json")
            self.json = target
        if self.log_file is not None:
            _check_target(self.log_file, "--log-file", "a log of genoconv", _LOG_LINE.match)
            try:
                console.log_to(self.log_file)
            except OSError as error:
                raise UsageError(f"--log-file {self.log_file}: cannot be written: {error.strerror}") from None
            console.note("genoconv %s: genoconv %s", VERSION, " ".join(self.words))
        if self.on_stdout:
            console.reserve_stdout()

    @property
    def on_stdout(self) -> bool:
        """Whether the summary takes standard output, where nothing else goes then."""
        return self.json is not None and str(self.json) == STANDARD_STREAM

    def runs(self, options: BaseModel) -> None:
        """The command is about to run with ``options``.

        Raises:
            UsageError: the summary or the log would land on a file of the run.
        """
        self.options = options
        if self.on_stdout and isinstance(options, Options) and options.writes_stdout():
            raise UsageError(
                "--json -: the output of this command goes to standard output; write one of them to a file"
            )
        for name, target in (("--json", self.json), ("--log-file", self.log_file)):
            if target is None or str(target) == STANDARD_STREAM:
                continue
            for label, path in named_paths(options):
                if _same(target, path):
                    self.json = None if self.json == target else self.json
                    raise UsageError(f"{name} {target}: this file is also {label} of the run; choose another name")

    def done(self, outcome: Any) -> None:
        """The command has returned; an :class:`.Outcome` counts, and its closing line is printed."""
        if isinstance(outcome, Outcome):
            self.outcome = outcome
            self.options = outcome.options or self.options
            if outcome.line:
                console.summary(outcome.line)

    def finish(self, code: int) -> int:
        """Write the summary of a run that ends with ``code``; the exit code, which is 1 if that fails."""
        if self.json is None or self.finished or not self.outcome.first:
            return code
        self.finished = True
        document = self._document(code)
        try:
            if self.on_stdout:
                console.release_stdout()
                console.data(to_json(document))
                console.flush()
            else:
                write_json(self.json, document)
        except GenoconvError as error:
            console.error(f"--json {error}")
            return code or 1
        return code

    def _document(self, code: int) -> dict[str, Any]:
        options = self.options
        outputs: dict[str, Any] = {}
        if options is not None and code == 0:
            outputs = {
                key: [described(path) for path in paths if str(path) != STANDARD_STREAM]
                for key, paths in paths_of(options, written=True).items()
            }
            outputs |= {key: [described(path) for path in paths] for key, paths in self.outcome.outputs.items()}
        inputs = described_inputs(options) if options is not None and code == 0 else {}
        return {
            "command": self.command or None,
            "version": VERSION,
            "arguments": self.words,
            "exit_code": code,
            "error": console.recorder.error if code else None,
            "warnings": console.recorder.warnings,
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._began, 3),
            "counts": self.outcome.counts,
            "model": next(iter(inputs.get("model", ())), None),
            "inputs": inputs,
            "outputs": outputs,
            "options": None if options is None else options.model_dump(mode="json"),
            "result": self.outcome.result,
        }


def _given(words: Sequence[str], option: str) -> Path | None:
    """The value of an option as the parser will find it: the last one wins."""
    found = None
    for number, word in enumerate(words):
        if word == "--":
            break
        if word == option and number + 1 < len(words):
            found = words[number + 1]
        elif word.startswith(f"{option}="):
            found = word.partition("=")[2]
    return None if found is None else Path(found)


def _same(one: Path, other: Path) -> bool:
    if str(other) == STANDARD_STREAM:
        return False
    try:
        return one.samefile(other)
    except OSError:
        return one.absolute() == other.absolute()


def _check_target(target: Path, option: str, what: str, known: Any) -> None:
    """Refuse a target that would destroy something else: only our own files are replaced or appended to."""
    try:
        if target.is_dir():
            raise UsageError(f"{option} {target}: this is a folder; name a file")
        if target.is_file() and target.stat().st_size:
            with target.open("rb") as stream:
                if not known(stream.read(1 << 16)):
                    raise UsageError(f"{option} {target} exists and is not {what}; choose another name")
    except OSError as error:
        raise UsageError(f"{option} {target}: {error.strerror}") from None


def _is_summary(head: bytes) -> bool:
    return head.startswith(b"{") and all(json.dumps(key).encode() in head for key in ("command", "version"))


current = Report()
"""The report of this process; replaced where the process begins."""


def start(words: Sequence[str]) -> Report:
    """Make ``current`` the report of this command line."""
    global current
    current = Report(words)
    return current
