"""Windows over the records of a FASTA that streams by: those of whole records, wherever its blocks end."""

from pathlib import Path

import numpy as np
import pytest

from genoconv.genome.fasta import scan
from genoconv.genome.fasta.records import read_records, read_streams
from genoconv.pipelines.embed.windows import FastaSpans
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


@pytest.mark.parametrize(("window", "stride"), [(100, None), (100, 30), (100, 250), (7, 1), (3000, 10)])
def test_windows_are_those_of_whole_records(
    fasta: Path, monkeypatch: pytest.MonkeyPatch, window: int, stride: int | None
) -> None:
    monkeypatch.setattr(scan, "_BLOCK", 64)
    spans = FastaSpans(fasta, window=window, stride=stride, pieces=lambda length: -(-length // 64))
    advanced: list[float] = []
    assert spans.survey(advanced.append) is not None
    surveyed, digest = spans.counts, spans.origin["input"]
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
    assert spans.counts == surveyed
    assert spans.counts.bases == sum(advanced) == sum(len(tokens) for _, _, tokens in wanted)
    assert spans.counts.longer == sum(len(tokens) > 64 for _, _, tokens in wanted)
    assert spans.counts.unknown.count == sum(not ((t >= 7) & (t <= 10)).any() for _, _, t in wanted)
    assert (spans.counts.empty.count, spans.counts.empty.first) == (2, "r0")


def test_streams_are_the_records(fasta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_BLOCK", 64)
    found = [(name, b"".join(parts)) for name, parts in read_streams(fasta)]
    assert found == [(record.name, record.sequence) for record in read_records(fasta)]
    assert [name for name, _ in read_streams(fasta)] == [name for name, _ in found]  # parts may be left
