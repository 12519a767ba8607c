"""The survey of ``genoconv embed`` beside its computing: faults, interruptions and changes at every stage of both."""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from embed_files import model_folder
from fasta_files import random_bases, write_fasta

from genoconv.errors import DataError, Interrupted, OutputError, UsageError
from genoconv.pipelines.embed.options import EmbedOptions
from genoconv.pipelines.embed.run import embed
from genoconv.pipelines.embed.survey import Survey
from genoconv.tasks.embed import Embedder
from genoconv.tasks.journal import journal_path
from genoconv.workfiles import work_path
from support import HANG

RECORDS = {f"r{n}": random_bases(120, seed=n) for n in range(6)}


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + HANG
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return write_fasta(tmp_path / "in.fa", RECORDS)


@pytest.fixture
def options(model: Path, fasta: Path, tmp_path: Path) -> EmbedOptions:
    output = tmp_path / "out" / "o.npz"
    return EmbedOptions(fasta=fasta, model=model, output=output, chunk=120, device="cpu", quiet=True)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Until it is set no survey goes on after its first record."""
    gate, advance = threading.Event(), Survey._advance

    def held(self: Survey, bases: float) -> None:
        advance(self, bases)
        until(lambda: gate.is_set() or self._stopped.is_set())

    monkeypatch.setattr(Survey, "_advance", held)
    yield gate
    gate.set()


@pytest.fixture
def before_rows(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], object]], list[int]]:
    """``before_rows(act)`` calls ``act`` with a number before each piece is computed; gives those numbers."""

    def install(act: Callable[[int], object]) -> list[int]:
        rows, calls = Embedder.rows, []

        def watched(self: Embedder, spans: Any, **rest: Any) -> Any:
            calls.append(len(calls) + 1)
            act(len(calls))
            return rows(self, spans, **rest)

        monkeypatch.setattr(Embedder, "rows", watched)
        return calls

    return install


def surveying() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "genoconv survey"]


def left(options: EmbedOptions) -> list[str]:
    return sorted(path.name for path in options.output.parent.iterdir())


@pytest.mark.parametrize("kind", ["windows", "records", "bases", "intervals"])
def test_computing_does_not_wait_for_the_survey(
    options: EmbedOptions, gate: threading.Event, before_rows: Any, caplog: Any, monkeypatch: Any, kind: str
) -> None:
    monkeypatch.setattr("genoconv.pipelines.embed.run.SHORT", 100)
    logging.getLogger("genoconv").propagate = True
    bed = options.output.parent.parent / "in.bed"
    bed.write_text("".join(f"{name}\t0\t{len(bases)}\n" for name, bases in RECORDS.items()))
    changes = {"windows": {"window": 50}, "bases": {"pool": "none", "chunk": 1920}, "intervals": {"bed": bed}}
    options = options.model_copy(update={"quiet": False, **changes.get(kind, {})})

    journal = journal_path(options.output)
    computed = []

    def open_gate(number: int) -> None:
        computed.extend([number] if journal.exists() else [])  # the first are for the forecast
        if len(computed) < 4:
            assert surveying()
            assert "about" not in caplog.text
            assert not computed or journal.stat().st_size == 0
        else:
            gate.set()

    before_rows(open_gate)
    caplog.set_level("INFO")
    embed(options)
    assert len(computed) >= 4
    said = [record.getMessage() for record in caplog.records]
    assert sum("longer than the maximum" in line for line in said) == (kind != "windows")
    assert sum(line.startswith("720 bases, about 0 s on cpu") for line in said) == 1
    assert left(options) == ["o.npz"]
    whole = options.output.read_bytes()
    before_rows(lambda number: until(lambda: not surveying()))
    embed(options.model_copy(update={"force": True, "quiet": True}))
    assert options.output.read_bytes() == whole


def test_a_fault_that_the_survey_finds_ends_the_run_and_leaves_nothing(
    options: EmbedOptions, gate: threading.Event, before_rows: Any
) -> None:
    with options.fasta.open("a") as stream:
        stream.write(">r7\nACGT\n>r2\nACGT\n")

    def find(number: int) -> None:
        if number == 2:
            gate.set()
            until(lambda: not surveying())

    calls = before_rows(find)
    with pytest.raises(DataError, match=r"in\.fa: two records are named 'r2', on lines 7 and 21; rename one"):
        embed(options)
    assert calls == [1, 2]
    assert left(options) == []


def test_an_earlier_run_survives_a_fault(options: EmbedOptions, before_rows: Any) -> None:
    """The input is looked at before anything that was left is touched."""

    def stop(number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    before_rows(stop)
    with pytest.raises(Interrupted):
        embed(options)
    kept = {path.name: path.read_bytes() for path in options.output.parent.iterdir()}
    assert len(kept) == 4
    sound = options.fasta.read_bytes()
    options.fasta.write_bytes(sound + b">r2\nACGT\n")
    with pytest.raises(DataError, match="two records are named 'r2'"):
        embed(options.model_copy(update={"resume": True}))
    assert {path.name: path.read_bytes() for path in options.output.parent.iterdir()} == kept


@pytest.mark.parametrize("over", [False, True])
def test_what_a_kill_leaves_is_resumed_if_the_survey_was_over(
    options: EmbedOptions, gate: threading.Event, before_rows: Any, tmp_path: Path, over: bool
) -> None:
    files = [work_path(options.output, what) for what in ("rows", "table", "texts", "journal")]
    kill = tmp_path / "kill"
    kill.mkdir()

    def copy(number: int) -> None:
        if number == 4:  # of what is computed before, only so much is waited for
            until(lambda: files[1].stat().st_size > 0)
            assert files[-1].stat().st_size == 0
            if over:
                gate.set()
                until(lambda: not surveying())
        if number == 5:
            until(lambda: not over or files[-1].read_bytes().count(b"\n") > 1)
            for path in files:
                shutil.copy(path, kill)
            raise KeyboardInterrupt

    before_rows(copy)
    with pytest.raises(KeyboardInterrupt) as caught:
        embed(options)
    assert isinstance(caught.value, Interrupted) == over
    assert len(left(options)) == (4 if over else 0)
    for path in kill.iterdir():
        shutil.copy(path, options.output.parent)
    gate.set()
    if over:
        with pytest.raises(OutputError, match="pass --resume to continue from there"):
            embed(options)
    calls = before_rows(lambda number: None)
    summary: Any = embed(options.model_copy(update={"resume": True}))
    assert (summary.resumed > 0) == over
    assert (len(calls) < 6) == over
    whole = options.output.read_bytes()
    embed(options.model_copy(update={"force": True}))
    assert options.output.read_bytes() == whole
    assert left(options) == ["o.npz"]


@pytest.mark.parametrize("over", [False, True])
def test_a_file_that_changes_while_it_is_read(
    options: EmbedOptions, gate: threading.Event, before_rows: Any, over: bool
) -> None:
    def change(number: int) -> None:
        if number == 2:
            if over:
                gate.set()
                until(lambda: not surveying())
            options.fasta.write_text(options.fasta.read_text().replace("A", "C", 1))
            gate.set()

    before_rows(change)
    with pytest.raises(DataError, match=r"in\.fa: the file changed while it was being read; run the command again"):
        embed(options)
    assert not options.output.exists()


@pytest.mark.parametrize("ctrl_c", [False, True])
def test_only_the_survey_is_left(
    options: EmbedOptions, gate: threading.Event, before_rows: Any, monkeypatch: pytest.MonkeyPatch, ctrl_c: bool
) -> None:
    def waited(description: str, **rest: object) -> Any:
        assert description == "Checking"
        assert len(calls) == 6
        if ctrl_c:
            raise KeyboardInterrupt
        gate.set()
        return nullcontext(lambda amount: None)

    monkeypatch.setattr("genoconv.pipelines.embed.survey._BAR_SECONDS", 0.01)
    monkeypatch.setattr("genoconv.pipelines.embed.survey.progress_bar", waited)
    calls = before_rows(lambda number: None)
    with pytest.raises(KeyboardInterrupt) if ctrl_c else nullcontext():
        embed(options)
    assert left(options) == ([] if ctrl_c else ["o.npz"])
    assert not surveying()


def test_a_wrong_model_does_not_wait_for_the_survey(options: EmbedOptions, gate: threading.Event) -> None:
    with pytest.raises(UsageError, match="--window 101: this model reads 1 to 100 bases at once"):
        embed(options.model_copy(update={"window": 101}))
    assert not surveying()
