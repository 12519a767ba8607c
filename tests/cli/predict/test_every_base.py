"""``genoconv predict`` and ``score-variants`` with a head that predicts every base."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from calls import call
from fasta_files import write_fasta
from predict_runs import SEQUENCES, Bench, head_folder

from genoconv.errors import DataError, UsageError
from genoconv.models import load_model
from genoconv.models.heads import Predictor
from genoconv.tokens import encode


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
    with pytest.raises(DataError, match=r"x.bed: intervals overlap at b:11, and a track has one value per base"):
        call("predict", bed, "-f", each.fasta, "-m", each.model, "-o", each.folder / "o.bw", "--device", "cpu")
    assert not list(each.folder.glob(".o.bw*"))  # before any was read with the model


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
    with pytest.raises(UsageError, match="this model predicts every base of whole records; drop --window"):
        each.run("-w", 20)
    each.model = head_folder(each.folder / "two", pooling="none", both_strands=True, stranded=True)
    with pytest.raises(UsageError, match="--strand forward: this model was trained to read both strands"):
        each.run("--strand", "forward")
    each.model = head_folder(each.folder / "own", pooling="none", stranded=True)
    with pytest.raises(UsageError, match="--strand both: the predictions of this model are specific to the strand"):
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
