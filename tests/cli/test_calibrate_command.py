"""``genoconv models calibrate``, and what score-variants and scan make of it; every option has an effect."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calls import call
from embed_files import model_folder
from option_effects.effects import Effects
from toy_scoring import write_fasta
from vcf_files import info, lines, text, tiny_model

from genoconv.errors import DataError, DownloadError, GenoconvError, OutputError, UsageError
from genoconv.models import load_model, save_model
from genoconv.pipelines.models.options import CalibrateOptions
from genoconv.pipelines.options import parameters
from genoconv.tasks.calibration import NAME, Calibration

RNG = np.random.default_rng(7)
CONTIGS = {
    "c": "".join(RNG.choice(list("ACGT"), 3000)),
    "b": "".join(RNG.choice(list("acgt"), 600)) + "N" * 400,
}


class Bench:
    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, model
        self.fasta = write_fasta(folder / "g.fa", CONTIGS)
        self.vcf = folder / "in.vcf"
        ref = {p: CONTIGS["c"][p - 1] for p in range(1, 3001)}
        other = {p: next(b for b in "ACGT" if b != ref[p]) for p in ref}
        rows = [
            (900, ref[900], f"{other[900]},{'ACGT'.replace(ref[900], '').replace(other[900], '')[0]}"),
            (1000, ref[1000], ref[1000] + "ACGT"),
            (1100, CONTIGS["c"][1099:1102], ref[1100]),
            (1200, CONTIGS["c"][1199:1201], other[1200] + other[1201]),
            (1300, ref[1300], "<DEL>"),
            (1400, ref[1400], f"{other[1400]},*"),
        ]
        self.vcf.write_text(
            "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
            + "".join(f"c\t{pos}\t.\t{r}\t{alt}\t.\t.\t.\n" for pos, r, alt in rows)
        )

    def calibrate(self, *words: object, **instead: object) -> Calibration:
        base = {"--fasta": self.fasta, "--sample": 1000, "--variants": 0, "--window": 64, "--device": "cpu"}
        base |= {f"--{name}": value for name, value in instead.items()}
        options = [word for pair in base.items() if pair[1] is not None for word in pair]
        call("models", "calibrate", self.model, *options, *words)
        found = Calibration.load(self.model)
        assert found is not None
        return found

    def scored(self, *words: object) -> list[dict[str, str]]:
        out = self.folder / "out.vcf"
        call("score-variants", self.vcf, "-f", self.fasta, "-m", self.model, "-o", out, "--force", *words)
        return [info(line) for line in lines(out)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, tiny_model(tmp_path / "model", max_length=602))


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A calibrated model that tests leave as it is."""
    folder = tmp_path_factory.mktemp("ready")
    found = Bench(folder, tiny_model(folder / "model", max_length=602))
    found.calibrate(sample=3000, variants=1000)
    return found


def test_scores_get_percentile_and_z(ready: Bench) -> None:
    snvs, insertion, deletion, mnv, symbolic, star = ready.scored("-w", 64)
    for one, count in ((snvs, 2), (insertion, 1), (deletion, 1)):
        for key in ("GCONV_PCT", "GCONV_Z"):
            assert len(one[key].split(",")) == count
        assert all(0 < float(value) < 100 for value in one["GCONV_PCT"].split(","))
    assert (mnv["GCONV_PCT"], mnv["GCONV_Z"]) == (".", ".")
    assert mnv["GCONV_LLR"] != "."
    assert symbolic["GCONV_PCT"] == "."
    assert star["GCONV_PCT"].split(",")[1] == "."
    # A z is the score on the scale of its class.
    calibration = Calibration.load(ready.model)
    assert calibration is not None
    table = calibration.tables["sum"]
    row = table.ids.tolist().index(4096 + 256 + 16 + 1 + 3)  # insertions of four to six bases
    z = (float(insertion["GCONV_LLR"]) - table.means[row]) / table.deviations[row]
    assert float(insertion["GCONV_Z"]) == pytest.approx(z, abs=2e-3)
    header = text(ready.folder / "out.vcf")
    assert "##INFO=<ID=GCONV_PCT,Number=A,Type=Float," in header
    assert "##genoconvCalibration=sha256=" in header


def test_scores_made_again_leave_no_line_of_the_calibration_before(ready: Bench, tmp_path: Path) -> None:
    ready.scored("-w", 64)
    again, other, none = (tmp_path / f"{name}.vcf" for name in ("again", "other", "none"))
    options = ("-f", ready.fasta, "-w", 64, "-q")
    call("score-variants", ready.folder / "out.vcf", *options, "-m", ready.model, "-o", again)
    assert text(again).count("##genoconvCalibration=") == 1
    call("score-variants", again, *options, "-m", ready.model, "-o", other, "--info-prefix", "OTHER")
    assert text(other).count("##genoconvCalibration=") == 2
    bare = tmp_path / "model"
    shutil.copytree(ready.model, bare, ignore=lambda *_: [NAME])
    call("score-variants", again, *options, "-m", bare, "-o", none)
    assert "alibration" not in text(none)


def test_a_table_has_them_too(ready: Bench) -> None:
    table = ready.folder / "t.tsv"
    base = ("score-variants", ready.vcf, "-f", ready.fasta, "-m", ready.model)
    call(*base, "--tsv", table, "-w", "64,128", "--force")
    names, *rows = [line.split("\t") for line in table.read_text().splitlines()]
    assert names[5:] == [
        *(f"{name}_64" for name in ("llr", "forward", "reverse", "pct", "z", "status")),
        *(f"{name}_128" for name in ("llr", "forward", "reverse", "status")),
    ]
    found = {(row[1], row[4]): row[8] for row in rows}
    expected = {
        (line.split("\t")[1], alt): value
        for line in lines(ready.folder / "out.vcf")
        for alt, value in zip(line.split("\t")[4].split(","), info(line)["GCONV_PCT"].split(","), strict=True)
    } if ready.scored("-w", 64) else {}  # fmt: skip
    assert {key: value or "." for key, value in found.items()} == expected


def test_scan_has_them_and_they_are_uniform(ready: Bench) -> None:
    import pandas as pd

    base = ("scan", ready.fasta, "-m", ready.model, "-w", 64, "--force", "--quiet")
    for name in ("s.tsv.gz", "s.vcf.gz", "s.parquet", "s.npy"):
        call(*base, "-o", ready.folder / name)
    rows = [line.split("\t") for line in text(ready.folder / "s.tsv.gz").splitlines() if not line.startswith("##")]
    assert rows[0][-2:] == ["pct", "z"]
    percentiles = np.array([float(row[-2]) for row in rows[1:]])
    assert len(percentiles) == 3 * (3600 - 8)  # a tile that is mostly N with its context
    assert 0 < percentiles.min() < percentiles.max() < 100
    counts, _ = np.histogram(percentiles, bins=10, range=(0, 100))  # most of these SNVs are the sample itself
    assert abs(counts - 1078).max() < 250
    frame = pd.read_parquet(ready.folder / "s.parquet")
    np.testing.assert_allclose(frame["pct"], percentiles, rtol=1e-5)
    found = [float(v) for line in lines(ready.folder / "s.vcf.gz") for v in info(line)["GCONV_PCT"].split(",")]
    np.testing.assert_allclose(found, percentiles)
    assert "calibration" not in json.loads((ready.folder / "s.npy.json").read_text())
    # Scores at the site are those of a scan, and so are their percentiles, but for what else the windows hold.
    [first, *_] = ready.scored("-w", 64, "--reduce", "site")
    assert len(first["GCONV_PCT"].split(",")) == 2


def test_a_resumed_run_has_the_same_bytes(ready: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from genoconv.tasks.journal import Journal

    ready.scored("-w", 64)
    expected = (ready.folder / "out.vcf").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "remove", lambda self: self._file.close())
        ready.scored("-w", 64)
    (ready.folder / "out.vcf").unlink()
    base = ("score-variants", ready.vcf, "-f", ready.fasta, "-m", ready.model)
    call(*base, "-o", ready.folder / "out.vcf", "-w", 64, "--resume")
    assert (ready.folder / "out.vcf").read_bytes() == expected


def test_without_one_the_log_says_how_to_make_it(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="genoconv"):
        assert "GCONV_PCT" not in bench.scored("-w", 64)[0]
        call("scan", bench.fasta, "-m", bench.model, "-w", 64, "-r", "c:9-9", "-o", bench.folder / "o.tsv.gz")
    advice = f"genoconv models calibrate {bench.model} -f {bench.fasta}"
    found = [line for line in caplog.messages if "not calibrated" in line]
    assert len(found) == 2
    assert all(line.endswith(advice) for line in found)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-w", 128), "made for --window 64, not for 128"),
        (("-w", 64, "--strand", "forward"), "not for --strand forward"),
        (("--context", "gene", "--annotation", "genes.gtf"), "not for genes"),
    ],
)
def test_a_run_that_computes_otherwise_has_none(
    ready: Bench, caplog: pytest.LogCaptureFixture, words: tuple[Any, ...], message: str
) -> None:
    genes = ready.folder / "genes.gtf"
    genes.write_text('c\tx\tgene\t850\t1400\t.\t+\t.\tgene_id "G"; gene_biotype "protein_coding";\n')
    found = ready.scored(*(genes if word == "genes.gtf" else word for word in words))
    assert found[0]["GCONV_LLR"] != "."
    assert "GCONV_PCT" not in found[0]
    [warning] = [line for line in caplog.messages if NAME in line]
    assert message in warning


def test_a_scan_with_another_context_has_none(ready: Bench, caplog: pytest.LogCaptureFixture) -> None:
    out = ready.folder / "k.tsv.gz"
    call("scan", ready.fasta, "-m", ready.model, "-w", 64, "-c", 48, "-r", "c:9-9", "-o", out)
    assert "\tpct" not in text(out)
    assert any("made for --context 32, not for 48" in line for line in caplog.messages)


def test_other_weights_and_other_genomes_are_noticed(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.calibrate()
    other = write_fasta(bench.folder / "other.fa", {"c": CONTIGS["c"][:-1] + "A" + "ACGTACGT" * 9})
    call("scan", other, "-m", bench.model, "-w", 64, "-r", "c:9-9", "-o", bench.folder / "o.tsv.gz")
    assert any("shares no sequence with this genome" in line for line in caplog.messages)
    assert "\tpct" in text(bench.folder / "o.tsv.gz")
    model = load_model(bench.model)
    model.lm_head.weight.data.mul_(2)
    save_model(model, bench.model, provenance={})
    call("scan", bench.fasta, "-m", bench.model, "-w", 64, "-r", "c:9-9", "-o", bench.folder / "p.tsv.gz")
    assert any("made for other weights" in line and "--force" in line for line in caplog.messages)
    assert "\tpct" not in text(bench.folder / "p.tsv.gz")


def test_what_it_refuses(bench: Bench) -> None:
    with pytest.raises(UsageError, match="this model reads up to 602 bases"):
        bench.calibrate(window=603)
    with pytest.raises(UsageError, match="pass exactly one of --fasta FILE and --genome"):
        bench.calibrate(genome="hg38")
    with pytest.raises(DataError, match="mostly A, C, G, T"):
        bench.calibrate(fasta=write_fasta(bench.folder / "n.fa", {"n": "N" * 500}))
    for variants in (0, 5):
        with pytest.raises(DataError, match=r"n\.fa: no class of changes has 100 scores; calibrate with a larger"):
            bench.calibrate(fasta=write_fasta(bench.folder / "n.fa", {"n": "ACGT" * 5}), variants=variants)
    with pytest.raises(UsageError, match="--sample"):
        bench.calibrate(sample="many")
    assert not list(bench.model.glob("*.npz"))
    assert not list(bench.model.glob(".*"))


def test_a_long_calibration_says_it_before_it_starts(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genoconv.pipelines.models.calibrate._SHORT", 1)
    with caplog.at_level(logging.INFO, logger="genoconv"):
        bench.calibrate()
    assert any(line.startswith("1,024 positions, about ") for line in caplog.messages)
    with caplog.at_level(logging.INFO, logger="genoconv"):
        bench.calibrate("--dry-run", "--force", variants=7)
    assert any(line.startswith("1,024 positions and 14 variants, about ") for line in caplog.messages)


def test_windows_beyond_training_where_filters_are_shorter(bench: Bench) -> None:
    bench.model = model_folder(bench.folder / "short", max_length=66, filter_length=16)
    facts = bench.calibrate(window=100, variants=110).facts
    assert (facts["window"], facts["scan_window"]) == (100, 100)
    shown = call("models", "show", bench.model)
    assert f"calibration  {facts['positions']:,} positions and 220 variants of g.fa, window 100\n" in shown.output


def test_a_fine_tuned_model_is_calibrated_by_its_backbone(bench: Bench) -> None:
    from genoconv.models.heads import HeadConfig, Predictor

    before = bench.calibrate(variants=110)
    head = HeadConfig(kind="binary", labels=("a", "b"))
    tuned = Predictor.on(load_model(bench.model), head)
    bench.model = bench.folder / "tuned"
    save_model(tuned, bench.model, provenance={})
    found = bench.calibrate(variants=110)
    assert found.facts["model"] != before.facts["model"]
    for name, table in before.tables.items():
        np.testing.assert_array_equal(found.tables[name].quantiles, table.quantiles)
    [first, *_] = bench.scored("-w", 64)
    assert 0 < float(first["GCONV_PCT"].split(",")[0]) < 100


EFFECTS = Effects()
shows = EFFECTS.shows


@pytest.mark.parametrize("key", [parameter.key for parameter in parameters(CalibrateOptions)])
def test_option(key: str, bench: Bench) -> None:
    EFFECTS[key](bench)


@shows("model")
@shows("fasta")
def _(bench: Bench) -> None:
    facts = bench.calibrate().facts
    assert (bench.model / NAME).is_file()
    assert facts["genome"]["name"] == "g.fa"
    assert facts["command"].startswith(f"genoconv models calibrate {bench.model} --fasta {bench.fasta}")


@shows("genome")
def _(bench: Bench) -> None:
    from genoconv.genome.assemblies.store import register

    register("mine", fasta=bench.fasta, annotation=None, force=False)
    assert bench.calibrate("--genome", "mine", fasta=None).facts["genome"] == bench.calibrate("--force").facts["genome"]


@shows("offline")
def _(bench: Bench) -> None:
    with pytest.raises(DownloadError, match="offline"):
        bench.calibrate("--genome", "phix174", "--offline", fasta=None)


@shows("sample")
def _(bench: Bench) -> None:
    assert bench.calibrate(sample="1k").facts["positions"] == 1024
    assert bench.calibrate("--force", sample="2k").facts["positions"] == 2016


@shows("variants")
def _(bench: Bench) -> None:
    assert set(bench.calibrate().tables) == {"site"}
    found = bench.calibrate("--force", variants=110)
    assert (set(found.tables), found.facts["variants"]) == ({"site", "sum", "mean"}, 220)


@shows("window")
def _(bench: Bench) -> None:
    assert bench.calibrate(window=96).facts["window"] == 96
    assert bench.calibrate("--force", window=None).facts["window"] == 602


@shows("seed")
def _(bench: Bench) -> None:
    first = bench.calibrate()
    same, other = bench.calibrate("--force"), bench.calibrate("--force", seed=1)
    assert (same.tables["site"].quantiles == first.tables["site"].quantiles).all()
    assert other.tables["site"].means[0] != first.tables["site"].means[0]


@shows("batch_size")
def _(bench: Bench) -> None:
    from genoconv.tasks.scan import Scanner

    seen: list[int] = []
    real = Scanner._log_p

    def spy(self: Scanner, wanted: Any) -> Any:
        seen.append(len(wanted.ids))
        return real(self, wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scanner, "_log_p", spy)
        bench.calibrate("-b", 3)
    assert max(seen) == 3


@shows("device")
def _(bench: Bench) -> None:
    with pytest.raises(GenoconvError, match="cuda:63"):
        bench.calibrate(device="cuda:63")


@shows("precision")
def _(bench: Bench) -> None:
    exact, rounded = bench.calibrate(), bench.calibrate("--force", "--precision", "bf16")
    assert (exact.tables["site"].means != rounded.tables["site"].means).any()


@shows("force")
def _(bench: Bench) -> None:
    bench.calibrate()
    with pytest.raises(OutputError, match=r"calibration.npz exists already;.*--force"):
        bench.calibrate()
    before = (bench.model / NAME).read_bytes()
    bench.calibrate("--force")
    assert (bench.model / NAME).read_bytes() == before


def test_a_model_that_ships_with_genoconv_stays_as_it_is(bench: Bench) -> None:
    with pytest.raises(UsageError, match=r"^mammal-1k: the model is included with genoconv.*calibrate the copy$"):
        call("models", "calibrate", "mammal-1k", "-f", bench.fasta, "--force")


def test_a_shipped_folder_that_is_named_as_one_is_calibrated(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genoconv.pipelines.models.calibrate.SHIPPED", bench.model.parent)
    assert bench.calibrate().tables["site"].counts.size


@shows("dry_run")
def _(bench: Bench) -> None:  # what it says is tested above
    call("models", "calibrate", bench.model, "-f", bench.fasta, "-w", 64, "--variants", 0, "--dry-run")
    assert not (bench.model / NAME).exists()


@shows("quiet")
def _(bench: Bench) -> None:
    level = logging.getLogger("genoconv").level
    bench.calibrate("--quiet")
    assert logging.getLogger("genoconv").level == logging.WARNING
    logging.getLogger("genoconv").setLevel(level)
