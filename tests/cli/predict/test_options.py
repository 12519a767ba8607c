"""Every option of ``genoconv predict`` reaches the place that uses it."""

import errno
import logging
import os

import numpy as np
import pandas as pd
import pytest
from calls import call
from fasta_files import write_fasta
from finetune_runs import write_table
from option_effects.effects import Effects
from predict_runs import SEQUENCES, Bench, expected, head_folder

from genoconv.errors import DataError, OutputError, UsageError
from genoconv.models.heads import Predictor
from genoconv.pipelines.options import parameters
from genoconv.pipelines.predict.options import PredictOptions

EFFECTS = Effects()
shows = EFFECTS.shows


@shows("source", "model", "output", "fasta")
def _(bench: Bench) -> None:
    wanted = expected(bench.model, *SEQUENCES.values())
    found = bench.run()
    assert found.columns.tolist() == ["name", "contig", "start", "end", "strand", "x", "y"]
    assert found["name"].tolist() == list(SEQUENCES)
    assert found["end"].tolist() == [40, 250, 97]
    np.testing.assert_allclose(found[["x", "y"]], wanted, atol=1e-5)
    table = write_table(bench.folder / "t.csv", ["seq", "other"], [[s, 1] for s in SEQUENCES.values()])
    assert (bench.run(source=table)[["x", "y"]] == found[["x", "y"]]).all(None)
    bed = bench.folder / "x.bed"
    bed.write_text("b\t0\t250\tn1\t0\t+\nb\t10\t60\tn2\t0\t-\n")
    rows = bench.run("-f", bench.fasta, source=bed)
    assert rows["strand"].tolist() == ["+", "-"]
    assert rows.loc[0, ["x", "y"]].tolist() == found.loc[1, ["x", "y"]].tolist()
    opposite = SEQUENCES["b"][10:60].translate(str.maketrans("ACGT", "TGCA"))[::-1]
    np.testing.assert_allclose(rows.loc[1, ["x", "y"]].astype(float), expected(bench.model, opposite)[0], atol=1e-5)
    bench.out = bench.folder / "o.parquet"
    call("predict", bench.fasta, "-m", bench.model, "-o", bench.out, "--device", "cpu")
    frame = pd.read_parquet(bench.out)
    np.testing.assert_allclose(frame[["x", "y"]], wanted, atol=1e-5)
    assert frame["contig"].tolist() == list(SEQUENCES)


@shows("window", "stride")
def _(bench: Bench) -> None:
    import pybigtools

    found = bench.run("-w", 50, "--stride", 20)
    assert found[found["contig"] == "b"]["start"].tolist() == list(range(0, 201, 20))
    wanted = expected(bench.model, SEQUENCES["b"][40:90])[0]
    row = found[(found["contig"] == "b") & (found["start"] == 40)]
    np.testing.assert_allclose(row[["x", "y"]].to_numpy()[0], wanted, atol=1e-5)
    call("predict", bench.fasta, "-m", bench.model, "-o", bench.folder / "t.bw", "-w", 50, "--stride", 20)
    with pybigtools.open(str(bench.folder / "t.y.bw")) as track:
        values = track.values("b", fillna=None)
        assert values[55] == values[74] == pytest.approx(wanted[1], abs=1e-5)
        assert values[54] != values[55]
    assert (bench.folder / "t.x.bw").exists()

    written = []

    def fails(*words: object, **rest: object) -> None:
        written.append(words)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    words = ("predict", bench.fasta, "-m", bench.model, "-o", bench.folder / "u.bw", "-w", 50, "--stride", 20)
    with bench.monkeypatch.context() as patch:
        patch.setattr("genoconv.pipelines.predict.formats.write_spans", fails)
        with pytest.raises(OSError, match="No space left"):
            call(*words)
    assert not list(bench.folder.glob("u.*"))  # no track without the other
    call(*words, "--resume")
    assert (bench.folder / "u.x.bw").read_bytes() == (bench.folder / "t.x.bw").read_bytes()
    with pytest.raises(UsageError, match="--stride needs --window"):
        bench.run("--stride", 5)
    bed = bench.folder / "x.bed"
    bed.write_text("b\t0\t50\nb\t40\t60\n")
    with pytest.raises(DataError, match=r"x.bed: intervals overlap at b:41"):
        call("predict", bed, "-f", bench.fasta, "-m", bench.model, "-o", bench.folder / "o.bw", "--force")
    assert not list(bench.folder.glob(".o.bw*"))  # before any was read with the model


@shows("strand")
def _(bench: Bench) -> None:
    forward, both = bench.run(), bench.run("--strand", "both")
    assert bench.facts()["strand"] == "both"
    assert (forward["x"] != both["x"]).all()
    bench.model = head_folder(bench.folder / "both", both_strands=True)
    assert (bench.run()["x"] == both["x"]).all()
    assert (bench.run("--strand", "forward")["x"] == forward["x"]).all()


@shows("batch_size")
def _(bench: Bench) -> None:
    sizes, hidden = [], Predictor.hidden
    bench.monkeypatch.setattr(
        Predictor, "hidden", lambda self, ids, **r: sizes.append(len(ids)) or hidden(self, ids, **r)
    )
    many = bench.run("-w", 20, "-b", 4)
    assert max(sizes) == 4
    one = bench.run("-w", 20, "-b", 1)
    pd.testing.assert_frame_equal(one, many)


@shows("device", "precision")
def _(bench: Bench) -> None:
    with pytest.raises(UsageError, match="cuda:77"):
        bench.run("--device", "cuda:77")
    assert (bench.run()["x"] != bench.run("--precision", "bf16")["x"]).any()
    assert bench.facts()["precision"] == "bf16"


@shows("resume", "force", "chunk")
def _(bench: Bench) -> None:
    bench.run("-w", 20)
    whole = bench.out.read_bytes()
    bench.out.unlink()
    words = ("predict", bench.fasta, "-m", bench.model, "-o", bench.out, "-w", 20, "--set", "chunk=100")
    from genoconv.tasks.predict import PooledVectors

    read, calls = PooledVectors.__call__, [0]

    def stop(self: PooledVectors, spans: object, **rest: object) -> object:
        calls[0] += 1
        if calls[0] == 3:
            raise DataError("stop")
        return read(self, spans, **rest)  # type: ignore[arg-type]

    with bench.monkeypatch.context() as patch:
        patch.setattr(PooledVectors, "__call__", stop)
        with pytest.raises(DataError, match="stop"):
            call(*words)
        with pytest.raises(OutputError, match="--resume"):
            call(*words)
        calls[0] = 3
        call(*words, "--resume")
        assert calls[0] == 3 + 2  # 387 bases in pieces of 100 and more: two were finished
    assert bench.out.read_bytes() == whole
    with pytest.raises(OutputError, match="exists already"):
        call(*words)
    with bench.monkeypatch.context() as patch:
        patch.setattr("genoconv.pipelines.predict.run.write", lambda *_, **__: (_ for _ in ()).throw(DataError("stop")))
        with pytest.raises(DataError, match="stop"):
            call(*words, "--force")
    write_fasta(bench.fasta, {**SEQUENCES, "a": "ACGT" * 10})
    with pytest.raises(UsageError, match=r"--resume: .* differs from what the interrupted run read \(up to b\)"):
        call(*words, "--resume", "--force")


@shows("quiet")
def _(bench: Bench) -> None:
    bench.run("-q")
    assert logging.getLogger("genoconv").level == logging.WARNING


def test_every_option_has_an_effect() -> None:
    assert set(EFFECTS) - {"chunk"} == {parameter.key for parameter in parameters(PredictOptions)}


@pytest.mark.parametrize("key", {test: key for key, test in EFFECTS.items()}.values())
def test_option(key: str, bench: Bench) -> None:
    EFFECTS[key](bench)
