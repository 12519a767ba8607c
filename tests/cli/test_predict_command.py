"""``genoconv predict``: every input and format has the same numbers, those of ``model.predict``; options arrive."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from embed_files import small_model
from fasta_files import random_bases, write_fasta
from finetune_runs import call, write_table
from option_effects.effects import Effects

from genoconv.errors import DataError, GenoconvError, ModelError, OutputError, UsageError
from genoconv.models import load_model, save_model
from genoconv.models.heads import HeadConfig, Predictor
from genoconv.pipelines.options import parameters
from genoconv.pipelines.predict.options import PredictOptions
from genoconv.tokens import encode

SEQUENCES = {
    name: random_bases(length, seed=length, letters="ACGT") for name, length in (("a", 40), ("b", 250), ("c", 97))
}


def head_folder(folder: Path, **head: object) -> Path:
    """A model with a head of random weights."""
    config = HeadConfig(**{"kind": "multiclass", "labels": ("x", "y"), **head})  # type: ignore[arg-type]
    model = Predictor.on(small_model(), config)
    torch.manual_seed(3)
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter)
    save_model(model, folder, provenance={"source": "random weights for tests"})
    return folder


class Bench:
    def __init__(self, folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.model, self.monkeypatch = folder, model, monkeypatch
        self.fasta = write_fasta(folder / "in.fa", SEQUENCES)
        self.out = folder / "out.tsv"

    def run(self, *words: object, source: Path | None = None) -> pd.DataFrame:
        call("predict", source or self.fasta, "-m", self.model, "-o", self.out, "--force", "--device", "cpu", *words)
        return self.table()

    def table(self) -> pd.DataFrame:
        return pd.read_csv(self.out, sep="\t", skiprows=1)

    def facts(self) -> dict[str, object]:
        return json.loads(self.out.read_text().partition("\n")[0].removeprefix("## "))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return head_folder(tmp_path_factory.mktemp("models") / "tuned")


@pytest.fixture
def bench(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, model, monkeypatch)


def expected(model: Path, *sequences: str) -> np.ndarray:
    predictor = load_model(model)
    assert isinstance(predictor, Predictor)
    return np.concatenate([predictor.predict(torch.from_numpy(encode(s))[None].long()).numpy() for s in sequences])


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
    with pytest.raises(UsageError, match="give their length with --window"):
        bench.run("--stride", 5)
    bed = bench.folder / "x.bed"
    bed.write_text("b\t0\t50\nb\t40\t60\n")
    with pytest.raises(DataError, match=r"rows overlap at b:41"):
        call("predict", bed, "-f", bench.fasta, "-m", bench.model, "-o", bench.folder / "o.bw", "--force")


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
    with pytest.raises(UsageError, match=r"--resume: .* is not, up to b, what the interrupted run read"):
        call(*words, "--resume", "--force")


@shows("quiet")
def _(bench: Bench) -> None:
    bench.run("-q")
    assert logging.getLogger("genoconv").level == logging.WARNING


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        (">a\nACGT\n>b\n", (), r"line 3: record 'b' is empty"),
        ("id,letters\na,ACGT\n", (), "line 1: no column for the sequence"),
        ("sequence\nACGT\n\n,\n", (), "line 4: 2 cells, the header has 1"),
        ("sequence,x\nACGT,1\n,2\n", (), "line 3: no sequence"),
        ("sequence\n", (), "no record below the header"),
        (">a\nACGT\n", ("-f", "FASTA"), "--fasta goes with a BED file"),
        (">a\nACGT\n", ("-o", os.fsdecode(b"\xff.bw")), r"\\xff.*: a bigWig needs a path that is UTF-8"),
        (">a\nACGT\n", ("-o", "out.txt"), "the name should end in .tsv, .parquet, .bw"),
    ],
)
def test_a_fault_is_one_line(bench: Bench, text: str, words: tuple[str, ...], message: str) -> None:
    source = bench.folder / "odd"
    source.write_text(text)
    options = [str(bench.fasta) if word == "FASTA" else word for word in words]
    with pytest.raises(GenoconvError, match=message) as caught:
        bench.run(*options, source=source)
    assert "\n" not in str(caught.value)
    assert not bench.out.exists()


def test_a_model_without_a_head_is_refused(bench: Bench) -> None:
    save_model(small_model(), bench.folder / "plain", provenance={})
    bench.model = bench.folder / "plain"
    with pytest.raises(ModelError, match=r"predicts the next base alone; `genoconv finetune`"):
        bench.run()


def test_every_option_has_an_effect() -> None:
    assert set(EFFECTS) - {"chunk"} == {parameter.key for parameter in parameters(PredictOptions)}


@pytest.mark.parametrize("key", {test: key for key, test in EFFECTS.items()}.values())
def test_option(key: str, bench: Bench) -> None:
    EFFECTS[key](bench)


def test_variants_get_the_difference_of_the_outputs(bench: Bench) -> None:
    sequence = SEQUENCES["b"]
    alt = "C" if sequence[120] != "C" else "G"
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    vcf = bench.folder / "in.vcf"
    vcf.write_text(f"##fileformat=VCFv4.2\n{columns}b\t121\t.\t{sequence[120]}\t{alt},<DEL>\t.\t.\t.\n")
    table = bench.folder / "out.tsv"
    words = ("score-variants", vcf, "-f", bench.fasta, "-o", bench.folder / "out.vcf", "--tsv", table, "-w", 80)
    call(*words, "-m", bench.model, "--grid", 1, "--strand", "forward", "--device", "cpu")
    window = sequence[80:160]
    ref, changed = expected_logits(bench.model, window), expected_logits(bench.model, window[:40] + alt + window[41:])
    *_, record = (bench.folder / "out.vcf").read_text().splitlines()[-2:]
    assert "##INFO=<ID=GCONV_DELTA_x,Number=A,Type=Float" in (bench.folder / "out.vcf").read_text()
    info = dict(item.split("=") for item in record.split("\t")[7].split(";"))
    first, second = info["GCONV_DELTA_y"].split(",")
    assert float(first) == pytest.approx(float(changed[1] - ref[1]), abs=2e-5)
    assert second == "."
    rows = pd.read_csv(table, sep="\t")
    assert rows.loc[0, "delta_x"] == pytest.approx(float(changed[0] - ref[0]), abs=2e-5)
    call(*words, "-m", bench.model, "--force", "--device", "cpu")  # the mean over both strands is another number
    assert pd.read_csv(table, sep="\t").loc[0, "delta_x"] != rows.loc[0, "delta_x"]


def expected_logits(model: Path, sequence: str) -> np.ndarray:
    predictor = load_model(model)
    assert isinstance(predictor, Predictor)
    with torch.no_grad():
        return predictor.outputs(torch.from_numpy(encode(sequence))[None].long())[0].numpy()


@pytest.fixture(scope="module")
def base_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return head_folder(tmp_path_factory.mktemp("models") / "bases", pooling="none", both_strands=True)


@pytest.fixture
def each(bench: Bench, base_model_folder: Path) -> Bench:
    """A bench whose model predicts every base."""
    bench.model = base_model_folder
    return bench


def each_base(model: Path, sequence: str) -> np.ndarray:
    predictor = load_model(model)
    assert isinstance(predictor, Predictor)
    return predictor.predict(torch.from_numpy(encode(sequence))[None].long())[0].numpy()


def test_every_base_has_a_prediction_in_every_format(each: Bench) -> None:
    import pybigtools

    write_fasta(each.fasta, {**SEQUENCES, "n": "N" * 70, "m": "ACGTN" + SEQUENCES["a"]})
    found = each.run()
    assert len(found) == 40 + 250 + 97 + 70 + 45
    assert found.columns.tolist() == ["name", "contig", "start", "end", "strand", "x", "y"]
    for name, sequence in SEQUENCES.items():
        rows = found[found["contig"] == name]
        assert rows["start"].tolist() == list(range(len(sequence)))
        assert (rows["end"] == rows["start"] + 1).all()
        np.testing.assert_allclose(rows[["x", "y"]], each_base(each.model, sequence), atol=1e-5)
    assert found[found["contig"] == "n"]["x"].isna().all()
    assert found[found["contig"] == "m"]["x"].isna().tolist() == [False] * 4 + [True] + [False] * 40
    call("predict", each.fasta, "-m", each.model, "-o", each.folder / "o.parquet", "--device", "cpu")
    pd.testing.assert_frame_equal(pd.read_parquet(each.folder / "o.parquet"), found, check_dtype=False, atol=1e-6)
    call("predict", each.fasta, "-m", each.model, "-o", each.folder / "o.bw", "--device", "cpu")
    with pybigtools.open(str(each.folder / "o.y.bw")) as track:
        assert track.chroms() == {"a": 40, "b": 250, "c": 97, "m": 45}
        values = np.asarray(track.values("b", fillna=None))
        np.testing.assert_allclose(values, found[found["contig"] == "b"]["y"], atol=1e-6)
        assert np.isnan(track.values("m", fillna=None)).sum() == 1


def test_an_interval_on_the_reverse_strand_has_its_predictions_in_place(each: Bench) -> None:
    bed = each.folder / "x.bed"
    bed.write_text("b\t10\t230\tn1\t0\t+\nb\t10\t230\tn2\t0\t-\n")
    found = each.run("-f", each.fasta, source=bed)
    one, two = (found[found["name"] == name] for name in ("n1", "n2"))
    assert two["start"].tolist() == list(range(10, 230))
    opposite = SEQUENCES["b"][10:230].translate(str.maketrans("ACGT", "TGCA"))[::-1]
    np.testing.assert_allclose(two[["x", "y"]], each_base(each.model, opposite)[::-1], atol=1e-5)
    # Averaged over the strands, a base has one prediction, whichever strand its interval is on.
    np.testing.assert_allclose(one[["x", "y"]], two[["x", "y"]], atol=1e-5)
    each.model = head_folder(each.folder / "one", pooling="none")
    found = each.run("-f", each.fasta, source=bed)
    one, two = (found[found["name"] == name] for name in ("n1", "n2"))
    assert not np.allclose(one["x"], two["x"], atol=1e-3)
    with pytest.raises(DataError, match=r"intervals overlap at b:11, and a track has one value per base"):
        call("predict", bed, "-f", each.fasta, "-m", each.model, "-o", each.folder / "o.bw", "--device", "cpu")


def test_bases_of_an_interrupted_run_are_kept(each: Bench) -> None:
    each.run("--set", "chunk=64")
    whole = each.out.read_bytes()
    each.out.unlink()
    words = ("predict", each.fasta, "-m", each.model, "-o", each.out, "--set", "chunk=64", "--device", "cpu")
    from genoconv.tasks.bases import BaseOutputs

    read, calls = BaseOutputs.predictions, [0]

    def stop(self: BaseOutputs, stretches: object, **rest: object) -> object:
        calls[0] += 1
        if calls[0] == 4:
            raise DataError("stop")
        return read(self, stretches, **rest)  # type: ignore[arg-type]

    with each.monkeypatch.context() as patch:
        patch.setattr(BaseOutputs, "predictions", stop)
        with pytest.raises(DataError, match="stop"):
            call(*words)
        calls[0] = 10
        call(*words, "--resume")
        assert calls[0] == 10 + 4  # 387 bases in pieces of 64: seven, of which three were finished
    assert each.out.read_bytes() == whole


def test_options_that_a_model_of_bases_has_not(each: Bench) -> None:
    with pytest.raises(UsageError, match="--window makes one row per window; this model predicts every base"):
        each.run("-w", 20)
    each.model = head_folder(each.folder / "two", pooling="none", both_strands=True, stranded=True)
    with pytest.raises(UsageError, match="--strand forward: this model was trained to read both strands"):
        each.run("--strand", "forward")
    each.model = head_folder(each.folder / "own", pooling="none", stranded=True)
    with pytest.raises(UsageError, match="--strand both: what this model predicts belongs to one strand"):
        each.run("--strand", "both")


def scored(each: Bench, variants: list[tuple[int, str, str]], *words: object) -> pd.DataFrame:
    vcf, table = each.folder / "in.vcf", each.folder / "out.tsv"
    rows = "".join(f"b\t{position}\t.\t{ref}\t{alt}\t.\t.\t.\n" for position, ref, alt in variants)
    vcf.write_text(f"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n{rows}")
    out = ("-o", each.folder / "out.vcf", "--tsv", table, "--force", "-w", 80, "--grid", 1, "--device", "cpu")
    call("score-variants", vcf, "-f", each.fasta, "-m", each.model, *out, *words)
    return pd.read_csv(table, sep="\t")


@pytest.mark.parametrize("strand", ["both", "forward", "reverse"])
def test_a_variant_has_the_greatest_change_of_a_base(each: Bench, strand: str) -> None:
    sequence = SEQUENCES["b"]
    alt = "C" if sequence[120] != "C" else "G"
    assert sequence[121:126] == "CGCAA"  # alleles are trimmed at the start alone
    variants = [(121, sequence[120], alt), (122, "C", "CGATTACA"), (122, "CGCAA", "C")]
    found = scored(each, variants, "--strand", strand)
    window = sequence[80:160]
    ref = each_base(each.model, window)
    changed = each_base(each.model, window[:40] + alt + window[41:])
    assert found.loc[0, ["delta_x", "delta_y"]].tolist() == pytest.approx(greatest(changed - ref), abs=2e-5)
    window = sequence[82:162]  # centred on the first base that differs
    ref, longer = each_base(each.model, window), each_base(each.model, (window[:40] + "GATTACA" + window[40:])[:80])
    change = np.concatenate([longer[:40] - ref[:40], longer[47:] - ref[40:73]])
    assert found.loc[1, ["delta_x", "delta_y"]].tolist() == pytest.approx(greatest(change), abs=2e-5)
    shorter = each_base(each.model, window[:40] + sequence[126:166])
    change = np.concatenate([shorter[:40] - ref[:40], shorter[40:76] - ref[44:]])
    assert found.loc[2, ["delta_x", "delta_y"]].tolist() == pytest.approx(greatest(change), abs=2e-5)
    header = (each.folder / "out.vcf").read_text()
    assert "greatest change at a base of the 80 bp window of predicted x, ALT minus REF" in header


def greatest(change: np.ndarray) -> list[float]:
    return [float(column[np.abs(column).argmax()]) for column in change.T]


def test_stranded_predictions_change_on_either_strand(each: Bench) -> None:
    each.model = head_folder(each.folder / "own", pooling="none", both_strands=True, stranded=True)
    sequence = SEQUENCES["b"]
    alt = "C" if sequence[120] != "C" else "G"
    variants = [(121, sequence[120], alt)]
    forward, reverse, both = (
        scored(each, variants, "--strand", s)["delta_x"][0] for s in ("forward", "reverse", "both")
    )
    assert both == max(forward, reverse, key=abs)
    assert forward != pytest.approx(reverse, abs=1e-4)
