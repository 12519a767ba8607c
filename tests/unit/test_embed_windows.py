"""Windows over the records of a FASTA that streams by: those of whole records, wherever its blocks end."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genoconv.genome.fasta import scan
from genoconv.genome.fasta.records import read_records, read_streams
from genoconv.pipelines.embed import windows as embed_windows
from genoconv.pipelines.embed.windows import FastaSpans
from genoconv.tasks import spans as task_spans
from genoconv.tasks.spans import Places, Span, chunked
from genoconv.tokens import encode


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    random = np.random.default_rng(5)
    text = ""
    for number, length in enumerate([0, 1, 99, 100, 101, 2500, 0, 640]):
        letters = "".join(random.choice(list("ACGTacgtN"), length))
        if length == 2500:
            letters = letters[:800] + "N" * 900 + letters[1700:]
        text += f">r{number} x\n" + "".join(letters[n : n + 70] + "\n" for n in range(0, length, 70))
    path = tmp_path / "in.fa"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("window", "stride"), [(100, None), (100, 30), (100, 250), (7, 1), (3000, 10), (99, 1), (101, 2)]
)
def test_windows_are_those_of_whole_records(
    fasta: Path, monkeypatch: pytest.MonkeyPatch, window: int, stride: int | None
) -> None:
    monkeypatch.setattr(scan, "_BLOCK", 64)
    spans = FastaSpans(fasta, window=window, stride=stride)
    spans.pieces = lambda length: -(-length // 64)
    advanced: list[float] = []
    assert spans.survey(advanced.append)
    surveyed, digest = spans.counted(), spans.origin["input"]
    found = list(spans.spans())
    wanted, step = [], stride or window
    for record in read_records(fasta):
        tokens = encode(record.sequence)
        for start in range(0, max(1, len(tokens) - max(window - step, 0)), step) if len(tokens) else ():
            wanted.append((record.name, start, tokens[start : start + window]))
    assert [(span.contig, span.start, span.end) for span in found] == [(n, s, s + len(t)) for n, s, t in wanted]
    for span, (_, _, tokens) in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(span.tokens, tokens)
    assert spans.digest() == digest
    assert not spans.changed()
    assert surveyed.unknown.count == 0  # they are seen in the spans alone
    assert replace(spans.counts, unknown=surveyed.unknown) == surveyed
    assert spans.counts.bases == sum(len(tokens) for _, _, tokens in wanted)
    assert sum(advanced) == sum(len(record.sequence) for record in read_records(fasta))
    assert spans.counts.longer == sum(len(tokens) > 64 for _, _, tokens in wanted)
    assert spans.counts.unknown.count == sum(not ((t >= 7) & (t <= 10)).any() for _, _, t in wanted)
    assert (spans.counts.empty.count, spans.counts.empty.first) == (2, "r0")


@pytest.mark.parametrize("tokens", [1, 250, 640, 1 << 20])
@pytest.mark.parametrize(("window", "stride"), [(100, None), (100, 30), (100, 250), (7, 1), (3000, 10), (None, None)])
def test_runs_of_windows_are_those_of_single_spans(
    fasta: Path, monkeypatch: pytest.MonkeyPatch, window: int | None, stride: int | None, tokens: int
) -> None:
    monkeypatch.setattr(scan, "_BLOCK", 600)
    for module in (embed_windows, task_spans):
        monkeypatch.setattr(module, "RUN_SPANS", 9)
    source = FastaSpans(fasta, window=window, stride=stride)
    source.survey(lambda amount: None)

    def flat(runs: Iterable[Sequence[Span]]) -> list[tuple[list[tuple[object, ...]], str]]:
        # With the digest of what was read up to the end of each run.
        return [([(*span[:5], span.tokens.tobytes()) for span in run], source.digest()) for run in runs]

    assert flat(source.runs(tokens=tokens)) == flat(chunked(source.spans(), tokens=tokens))


def test_places_of_each_base_follow_the_strand() -> None:
    places = Places.of([("a", "c", 5, 8, "-"), ("b", "c", 3, 3, "+"), ("b", "c", 3, 5, "+")]).each_base()
    assert places.start.tolist() == [7, 6, 5, 3, 4]
    assert places.end.tolist() == [8, 7, 6, 4, 5]
    assert [places.texts[number] for number in places.name] == ["a", "a", "a", "b", "b"]
    assert [places.texts[number] for number in places.contig] == ["c"] * 5
    assert places.strand.tolist() == [b"-", b"-", b"-", b"+", b"+"]


def test_streams_are_the_records(fasta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_BLOCK", 64)
    found = [(name, b"".join(parts)) for name, parts in read_streams(fasta)]
    assert found == [(record.name, record.sequence) for record in read_records(fasta)]
    assert [name for name, _ in read_streams(fasta)] == [name for name, _ in found]  # parts may be left
