"""``genoconv embed`` as a person runs it: options, odd files, standard input. Mostly in this process."""

import gzip
import json
import logging
import os
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from calls import call
from embed_files import model_folder, places, rc, read_npz, small_model, states
from fasta_files import bgzipped, random_bases, write_fasta

from genoconv.errors import DataError, GenoconvError, Interrupted, OutputError, UsageError
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.fasta.digests import digest_of
from genoconv.models import model_digest
from genoconv.pipelines import spool as embed_spool
from genoconv.pipelines.embed.options import EmbedOptions
from genoconv.pipelines.embed.run import embed
from genoconv.tasks.journal import journal_path
from genoconv.tokens import encode
from genoconv.workfiles import claimed
from support import HANG, one_clear_line, run_cli

RECORDS = {f"r{n}:{n} text": random_bases(length, seed=n) for n, length in enumerate((50, 7, 100, 260, 64))}
NAMES = [name.split()[0] for name in RECORDS]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return model_folder(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def fasta(tmp_path) -> Path:
    return write_fasta(tmp_path / "in.fa", RECORDS)


@pytest.fixture
def run(model, tmp_path):
    def call(fasta, **options):
        options = {"output": tmp_path / "out.npz", "force": True, **options}
        embed(EmbedOptions(fasta=Path(fasta), model=model, **options))
        return read_npz(options["output"])

    return call


def test_records_windows_and_metadata(run, fasta, model):
    found = run(fasta)
    assert places(found) == [(name, 0, len(s), "+") for name, s in zip(NAMES, RECORDS.values(), strict=True)]
    facts = found["metadata"]
    assert facts["model"] == {"name": "small", "sha256": model_digest(model)}
    assert facts["genome"] == {"name": "in.fa", "sha256": digest_of(Fasta(fasta), NAMES)}
    assert (facts["genoconv"], facts["pool"], facts["layer"]) == ("0.1.0", "mean", "last, normalised")
    assert facts["command"].startswith(f"genoconv embed {fasta} --model {model} --pool mean")
    windows = run(fasta, window=50, stride=30)
    assert places(windows)[:2] == [(NAMES[0], 0, 50, "+"), (NAMES[1], 0, 7, "+")]
    assert [(s, e) for name, s, e, _ in places(windows) if name == NAMES[2]] == [(0, 50), (30, 80), (60, 100)]
    assert [(s, e) for name, s, e, _ in places(windows) if name == NAMES[4]] == [(0, 50), (30, 64)]
    truth = states(small_model(), RECORDS["r2:2 text"][30:80]).mean(0)
    np.testing.assert_allclose(windows["embeddings"][3], truth, atol=1e-5)
    apart = run(fasta, window=10, stride=40)
    assert [(s, e) for name, s, e, _ in places(apart) if name == NAMES[2]] == [(0, 10), (40, 50), (80, 90)]


def test_a_row_a_base_with_its_position(run, fasta, tmp_path):
    found = run(fasta, pool="none", strand="both")
    assert places(found)[49:51] == [(NAMES[0], 49, 50, "+"), (NAMES[1], 0, 1, "+")]
    sequence = RECORDS["r1:1 text"]
    there, back = states(small_model(), sequence), states(small_model(), rc(sequence))
    np.testing.assert_allclose(found["embeddings"][50:57], (there + back[::-1]) / 2, atol=1e-5)
    bed = tmp_path / "x.bed"
    bed.write_text(f"{NAMES[2]}\t10\t13\tn\t0\t-\n")
    found = run(fasta, pool="none", bed=bed)
    assert places(found) == [("n", 12, 13, "-"), ("n", 11, 12, "-"), ("n", 10, 11, "-")]
    np.testing.assert_allclose(found["embeddings"], states(small_model(), rc(RECORDS["r2:2 text"][10:13])), atol=1e-5)


def test_intervals_on_their_strand(run, fasta, tmp_path):
    bed = tmp_path / "x.bed.gz"
    rows = [
        (NAMES[3], 200, 260, "b", "0", "-"),
        (NAMES[0], 0, 50),
        (NAMES[3], 200, 260, "a", "0", "+"),
        (NAMES[3], 0, 260),
    ]
    bed.write_bytes(gzip.compress("\n".join("\t".join(map(str, row)) for row in rows).encode()))
    found = run(fasta, bed=bed, pool="last", dtype="float16", layer=0)
    assert places(found) == [
        ("b", 200, 260, "-"),
        (f"{NAMES[0]}:1-50", 0, 50, "."),
        ("a", 200, 260, "+"),
        (f"{NAMES[3]}:1-260", 0, 260, "."),
    ]
    assert found["contigs"].tolist() == [NAMES[3], NAMES[0], NAMES[3], NAMES[3]]
    assert found["embeddings"].dtype == np.float16
    assert found["metadata"]["layer"] == 0
    sequence = RECORDS["r3:3 text"]
    reads = (rc(sequence[200:]), RECORDS["r0:0 text"], sequence[200:], sequence[160:])
    truth = [states(small_model(), read, 0)[-1] for read in reads]
    np.testing.assert_allclose(found["embeddings"], truth, rtol=2e-3, atol=2e-3)


def test_the_same_rows_from_any_packing(run, fasta, model, home):
    plain = run(fasta)
    packed = fasta.with_name("plain.fa.gz")
    packed.write_bytes(gzip.compress(fasta.read_bytes()))
    crlf = write_fasta(fasta.with_name("crlf.fa"), RECORDS, width=13, end="\r\n")
    for path in (packed, bgzipped(fasta), crlf):
        other = run(path)
        assert np.array_equal(other["embeddings"], plain["embeddings"])
        assert other["metadata"]["genome"]["sha256"] == plain["metadata"]["genome"]["sha256"]
        assert places(other) == places(plain)
    out = fasta.with_name("piped.npz")
    result = run_cli("embed", "-", "-m", model, "-o", out, home=home, stdin=packed.read_bytes())
    assert result.returncode == 0, result.stderr.decode()
    lines = result.stderr.decode().splitlines()
    assert "1 sequence is longer than the maximum of 100 bases: read in 3 windows and" in lines[0]
    assert f"{out}: 5 records, 5 vectors of 8 dimensions, 481 bases; " in lines[1]
    assert len(lines) == 2
    assert np.array_equal(read_npz(out)["embeddings"], plain["embeddings"])
    assert read_npz(out)["metadata"]["genome"] == {**plain["metadata"]["genome"], "name": "standard input"}


def test_a_named_pipe_is_read_once(run, fasta, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", fasta, pipe]):
        assert places(run(pipe)) == places(run(fasta))


def test_odd_fasta(run, odd, tmp_path):
    """What is in such files, and what is refused: test_fasta_odd.py."""
    with pytest.raises(DataError, match=r"fa_dup_ids\.fasta: two records are named 'alpha', on lines 1 and 10"):
        run(odd / "fa_dup_ids.fasta")
    assert not any(tmp_path.iterdir())
    fasta = odd / "fa_unicode_header_lowercase.fasta"
    found = run(fasta)
    assert np.isfinite(found["embeddings"]).all()
    assert dict(zip(found["names"], found["ends"], strict=True)) == Fasta(fasta).contigs


def test_soft_mask_does_not_matter(run, odd, tmp_path):
    masked = run(odd / "fa_softmask_40kb.fa", window=100, max_length=64)
    text = (odd / "fa_softmask_40kb.fa").read_text()
    upper = tmp_path / "upper.fa"
    upper.write_text("".join(f"{line if line[0] == '>' else line.upper()}\n" for line in text.splitlines()))
    assert np.array_equal(masked["embeddings"], run(upper, window=100, max_length=64)["embeddings"])
    assert len(masked["names"]) == 400


def test_empty_and_unknown_records_are_rows_and_reported(run, tmp_path, caplog):
    path = tmp_path / "odd.fa"
    path.write_text(">a\nACGT\n>nothing here\n>ns\nNNNN\nNN\n>b\nGGGG\n>nothing2\n")
    logging.getLogger("genoconv").propagate = True
    found = run(path)
    assert found["names"].tolist() == ["a", "nothing", "ns", "b", "nothing2"]
    assert np.isnan(found["embeddings"]).all(1).tolist() == [False, True, False, False, True]
    assert "2 sequences without a base (first: nothing); each is a row of NaN" in caplog.text
    assert "1 sequence without A, C, G or T (first: ns)" in caplog.text
    assert run(path, pool="none")["names"].tolist() == ["a"] * 4 + ["ns"] * 6 + ["b"] * 4
    assert run(path, window=3)["starts"].tolist() == [0, 3, 0, 3, 0, 3]
    assert "each has no row" in caplog.text
    path.write_text(">only\n")
    assert run(path, window=3)["embeddings"].shape == (0, 8)


BEDS = {
    "r0:0\t40\t51\n": "line 1: the interval ends at 51, but r0:0 has only 50 bases",
    "r0:0\t1\t2\nchr7\t1\t2\n": "line 2: no contig 'chr7'",
    "r0:0\t5\t5\n": "line 1: interval 5-5 should have 0 <= start < end",
    "r0:0\t5\n": "line 1: 2 columns",
    "\n": "no intervals in this BED file",
}


@pytest.mark.parametrize("text", BEDS)
def test_odd_intervals(run, fasta, tmp_path, text):
    bed = tmp_path / "x.bed"
    bed.write_text(text)
    with pytest.raises(DataError) as caught:
        run(fasta, bed=bed)
    assert BEDS[text] in str(caught.value)
    assert "x.bed" in str(caught.value)


WRONG = {
    "suffix": (["-o", "x.csv"], UsageError, "x.csv: the name should end in .npz, .npy, .parquet, .h5ad"),
    "no model": (["-m", "nowhere"], GenoconvError, "nowhere: does not exist"),
    "both": (["--window", "5", "--bed", "x.bed"], UsageError, "--window and --bed cannot be combined"),
    "stride": (["--stride", "5"], UsageError, "--stride needs --window"),
    "window": (["--window", "101"], UsageError, "--window 101: this model reads 1 to 100 bases at once"),
    "length": (["--max-length", "101"], UsageError, "--max-length 101: this model reads 1 to 100 bases at once"),
    "layer": (["--layer", "2"], UsageError, "--layer 2: this model has 2 blocks, 0 to 1 or -2 to -1"),
    "pipe": (["--bed", "-"], UsageError, "--bed cannot be used with a pipe"),
    "device": (["--device", "tpu7"], UsageError, "device 'tpu7' is unknown"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_says_what_to_do(fasta, model, tmp_path, name):
    words, kind, message = WRONG[name]
    with pytest.raises(kind) as caught:
        call("embed", fasta, "-m", model, "-o", tmp_path / "x.npz", *words)
    assert message in str(caught.value)
    assert not list(tmp_path.glob(".x*"))
    assert not (tmp_path / "x.npz").exists()


def test_exit_codes_and_files_that_stay(run, fasta, model, home, tmp_path):
    out = tmp_path / "x.npz"
    out.write_text("mine")
    with pytest.raises(OutputError, match="pass --force to replace it"):
        run(fasta, output=out, force=False)
    assert out.read_text() == "mine"
    result = run_cli("embed", fasta, "-m", model, "-o", tmp_path / "y.npz", "--window", 5, "--bed", "x", home=home)
    assert "--window and --bed cannot be combined" in one_clear_line(result, code=2)


def test_a_failure_after_finished_rows_leaves_them_for_resume(run, fasta, tmp_path):
    """A duplicate at the end of a pipe: nothing under the final name; mended, the run goes on where it was."""
    out = tmp_path / "out.npz"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    bad = fasta.with_name("bad.fa")
    bad.write_text(fasta.read_text() + ">r0:0\nACGT\n")
    options = {"chunk": 60, "output": out}
    with subprocess.Popen(["cp", bad, pipe]), pytest.raises(DataError, match="two records are named 'r0:0'"):
        run(pipe, **options)
    assert not out.exists()
    assert journal_path(out).exists()
    other = write_fasta(fasta.with_name("other.fa"), {**RECORDS, "r1:1 text": "ACGTACG"})
    with (
        subprocess.Popen(["cp", other, pipe]),
        pytest.raises(UsageError, match=r"pipe differs from what the interrupted run read \(up to r2:2\)"),
    ):
        run(pipe, resume=True, **options)
    short = write_fasta(fasta.with_name("short.fa"), dict(list(RECORDS.items())[:3]))
    with (
        subprocess.Popen(["cp", short, pipe]),
        pytest.raises(UsageError, match="pipe ends before the point that the interrupted"),
    ):
        run(pipe, resume=True, **options)
    with subprocess.Popen(["cp", fasta, pipe]):
        resumed = run(pipe, resume=True, **options)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    resumed_bytes = out.read_bytes()
    with subprocess.Popen(["cp", fasta, pipe]):
        run(pipe, **options)
    assert out.read_bytes() == resumed_bytes
    assert places(resumed) == places(run(fasta))


def test_an_output_that_cannot_be_written_ends_the_run_at_once(run, fasta, tmp_path, monkeypatch):
    from genoconv.pipelines.embed import formats
    from genoconv.tasks.embed import Embedder

    whole, rows, out = run(fasta, window=20), Embedder.rows, tmp_path / "out.npz"
    (tmp_path / "out.npz").unlink()
    read, failed = [], threading.Event()

    def full(output, spool, finished):
        next(spool.vectors())
        failed.set()
        raise OutputError("full")

    def slowly(self, spans, **rest):
        read.append(spans)
        if len(read) > 2:
            failed.wait(HANG)
            time.sleep(0.05)
        return rows(self, spans, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(Embedder, "rows", slowly)
        patch.setitem(formats._FORMATS, ".npz", (full, "numpy", ""))
        patch.setattr(embed_spool, "_BLOCK_ROWS", 2)
        with pytest.raises(OutputError, match="full"):
            run(fasta, window=20, chunk=40)
    assert len(read) < 10  # of 12
    assert not out.exists()
    resumed = run(fasta, window=20, chunk=40, resume=True)
    np.testing.assert_allclose(resumed["embeddings"], whole["embeddings"], atol=1e-6)
    assert places(resumed) == places(whole)


def test_resume_refuses_another_run(run, fasta, model, tmp_path, monkeypatch):
    options = EmbedOptions(fasta=fasta, model=model, output=tmp_path / "o.npz", chunk=60)
    from genoconv.tasks.embed import Embedder

    whole, calls = Embedder.rows, []

    def stops(self, spans, **rest):
        calls.append(len(spans))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(self, spans, **rest)

    monkeypatch.setattr(Embedder, "rows", stops)
    with pytest.raises(Interrupted, match="to continue after them, repeat the command with --resume"):
        embed(options)
    monkeypatch.undo()
    with pytest.raises(OutputError, match=r"left 1 finished piece; pass --resume .* or --force to start again"):
        embed(options)
    with claimed(options.output), pytest.raises(OutputError, match=rf"o.npz: process {os.getpid()} .* is writing it"):
        embed(options.model_copy(update={"resume": True}))
    with pytest.raises(UsageError, match="the interrupted run had pool 'mean', this one has 'max'"):
        embed(options.model_copy(update={"pool": "max", "resume": True}))
    changed = fasta.read_text()
    fasta.write_text(changed[:-3] + "A\n")
    with pytest.raises(UsageError, match="the interrupted run had input"):
        embed(options.model_copy(update={"resume": True}))
    fasta.write_text(changed)
    embed(options.model_copy(update={"resume": True}))
    embed(options.model_copy(update={"output": tmp_path / "p.npz"}))
    assert (tmp_path / "o.npz").read_bytes() == (tmp_path / "p.npz").read_bytes()


def test_special_tokens_are_reported_resumed_and_off_by_default(run, fasta, model, tmp_path, monkeypatch):
    plain = tmp_path / "plain.npz"
    run(fasta, output=plain)
    assert "special_tokens" not in read_npz(plain)["metadata"]
    run(fasta, special_tokens="none")
    assert (tmp_path / "out.npz").read_bytes() == plain.read_bytes()
    found = run(fasta, special_tokens="cls-sep", left_padding=80)
    facts = found["metadata"]
    assert (facts["special_tokens"], facts["left_padding"], facts["max_length"]) == ("cls-sep", 80, 78)
    assert "--hyenadna-special-tokens cls-sep --hyenadna-left-padding 80" in facts["command"]
    ids = [4] * (78 - 50) + [0, *encode(RECORDS["r0:0 text"]).tolist(), 1]
    with torch.inference_mode():
        truth = small_model().hidden(torch.tensor([ids]))[0, -51:-1].mean(0)
    np.testing.assert_allclose(found["embeddings"][0], truth, atol=1e-5)

    # The model takes 100 tokens.
    for options, message in (
        ({"left_padding": 50}, "needs --hyenadna-special-tokens sep or cls-sep"),
        ({"special_tokens": "sep", "left_padding": 101}, "up to 100 tokens, and 1 of them is special; give 2 or more"),
        ({"special_tokens": "cls-sep", "left_padding": 2}, "2 of them are special; give 3 or more"),
        ({"special_tokens": "sep", "window": 100}, "--window 100: this model reads 1 to 99 bases at once beside the"),
        ({"special_tokens": "sep", "left_padding": 60, "max_length": 60}, "--max-length 60: this model reads 1 to 59"),
    ):
        with pytest.raises(UsageError, match=message):
            run(fasta, **options)

    def stops(self, *_: object, **__: object) -> None:
        raise KeyboardInterrupt

    options = EmbedOptions(fasta=fasta, model=model, output=tmp_path / "o.npz", chunk=60, special_tokens="sep")
    with monkeypatch.context() as patch:
        patch.setattr("genoconv.pipelines.embed.run.report_unusual", stops)
        with pytest.raises(KeyboardInterrupt):
            embed(options)
    with pytest.raises(UsageError, match="had special_tokens 'sep', this one has None"):
        embed(options.model_copy(update={"special_tokens": "none", "resume": True}))
    with pytest.raises(UsageError, match="had left_padding None, this one has 90"):
        embed(options.model_copy(update={"left_padding": 90, "resume": True}))


def test_nothing_finished_leaves_nothing(run, fasta, tmp_path, monkeypatch):
    from genoconv.tasks.embed import Embedder

    def full(self, spans, **rest):
        raise OutputError("no")

    monkeypatch.setattr(Embedder, "rows", full)
    with pytest.raises(OutputError):
        run(fasta)
    assert [path.name for path in tmp_path.iterdir()] == ["in.fa"]


def test_bfloat16_is_near(run, fasta):
    exact, rough = run(fasta, precision="32"), run(fasta, precision="bf16")
    difference = np.abs(exact["embeddings"] - rough["embeddings"]).max()
    assert 0 < difference < 0.1 * np.abs(exact["embeddings"]).max()
    assert json.dumps(rough["metadata"]).count('"bf16"') == 1
