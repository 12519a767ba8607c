"""``genoconv scan``: every format holds the same numbers, which are those of score-variants."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pysam.bcftools
import pytest
from calls import call
from scan_runs import CONTIGS, REGION, Bench
from toy_scoring import write_fasta
from vcf_files import info, lines

from genoconv.errors import DataError, Interrupted, ModelError, OutputError, UsageError
from genoconv.pipelines.scan import run as scan_run
from genoconv.pipelines.scan.options import ScanOptions
from genoconv.pipelines.scan.spool import Spool
from genoconv.tasks.scan import Scanner


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_run, "_PIECE_POSITIONS", (64, 1 << 19))


def test_every_snv_once_and_none_where_there_is_no_reference(bench: Bench) -> None:
    table = bench.table()
    assert len(table) == 3 * (900 + 400)
    assert table["chrom"].unique().tolist() == ["c", "b"]
    places = table.groupby("chrom", sort=False)["pos"]
    assert places.apply(lambda column: column.is_monotonic_increasing).all()
    for row in table.sample(50, random_state=1).itertuples():
        assert row.ref == CONTIGS[row.chrom][row.pos - 1].upper()
        assert row.alt != row.ref
        assert row.score == pytest.approx((row.forward + row.reverse) / 2, abs=1e-5)
        assert 0 < row.entropy <= 2
    assert not table["score"].isna().any()
    # The ends of a contig have one strand.
    assert table[table["forward"].isna()][["chrom", "pos"]].drop_duplicates().values.tolist() == [["c", 1], ["b", 1]]


def test_it_is_what_score_variants_says(bench: Bench) -> None:
    vcf, scored = bench.folder / "o.vcf.gz", bench.folder / "scored.vcf"
    bench.call(output=vcf)
    words = ["score-variants", vcf, "-f", bench.fasta, "-m", bench.model, "-w", 160, "--grid", 32, "--reduce", "site"]
    words += ["-o", scored, "--info-prefix", "S", "--device", "cpu", "-r", "c:161-740"]
    call(*words)
    found = [info(line) for line in lines(scored)]
    assert len(found) == 580
    ours, theirs = ([[float(v) for v in one[key].split(",")] for one in found] for key in ("GCONV_LLR", "S_LLR"))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.std(theirs) > 0.1


def test_all_formats_hold_the_same(bench: Bench) -> None:
    import pybigtools
    import zarr

    table = bench.table()
    assert bench.out.with_name("o.tsv.gz.tbi").exists()
    with pysam.TabixFile(str(bench.out)) as indexed:
        assert len(list(indexed.fetch("b", 10, 20))) == 30
    for name in ("o.vcf.gz", "o.parquet", "o.npy", "o.zarr", "o.bw"):
        bench.call(output=bench.folder / name)
    vcf = lines(bench.folder / "o.vcf.gz")
    assert [float(v) for line in vcf for v in info(line)["GCONV_LLR"].split(",")] == table["score"].tolist()
    assert pysam.bcftools.view("-H", str(bench.folder / "o.vcf.gz"), "b:11-20").count("\n") == 10
    assert pysam.bcftools.norm("--check-ref", "e", "-f", str(bench.fasta), str(bench.folder / "o.vcf.gz"))
    parquet = pd.read_parquet(bench.folder / "o.parquet")
    assert parquet.columns.tolist() == table.columns.tolist()
    assert (
        parquet[["chrom", "pos", "ref", "alt"]].values.tolist() == table[["chrom", "pos", "ref", "alt"]].values.tolist()
    )
    for column in ("score", "forward", "reverse", "ref_log_p", "entropy"):
        np.testing.assert_allclose(parquet[column].astype(float), table[column], rtol=1e-5, atol=1e-6)
    store = zarr.open_group(bench.folder / "o.zarr", mode="r")
    assert sorted(store) == sorted(CONTIGS)
    assert store.attrs["command"].startswith("genoconv scan ")
    by_place = table.set_index(["chrom", "pos", "alt"])["score"]
    for contig, sequence in CONTIGS.items():
        array = np.load(bench.folder / f"o.{contig}.npy")
        assert (array.shape, array.dtype) == ((len(sequence), 4), np.float16)
        stored = store[contig]
        assert (stored.shape, stored.dtype) == (array.shape, array.dtype)
        assert stored[:].tobytes() == array.tobytes()
        for pos in (1, 50, 150, len(sequence)):
            for column, base in enumerate("ACGT"):
                expected = by_place.get((contig, pos, base), 0.0)
                assert array[pos - 1, column] == pytest.approx(expected, rel=2e-3, abs=1e-3)
    assert np.isnan(np.load(bench.folder / "o.b.npy")[200:230]).all()
    grouped = table.groupby(["chrom", "pos"])
    expected = {
        "entropy": grouped["entropy"].first(), "ref": grouped["ref_log_p"].first(),
        "mean": grouped["score"].mean(), "worst": grouped["score"].min(),
    }  # fmt: skip
    for track, values in expected.items():
        with pybigtools.open(str(bench.folder / f"o.{track}.bw")) as opened:
            assert dict(opened.chroms()) == {name: len(sequence) for name, sequence in CONTIGS.items()}
            for contig, sequence in CONTIGS.items():
                found = np.asarray(opened.values(contig, 0, len(sequence), fillna=np.nan))
                known = ~np.isnan(found)
                assert known.sum() == sum(letter in "ACGTacgt" for letter in sequence)
                np.testing.assert_allclose(found[known], values[contig], rtol=1e-4, atol=1e-5)
    facts = json.loads((bench.folder / "o.bw.json").read_text())
    assert facts["command"].startswith("genoconv scan ")
    assert "context=64;step=32" in facts["scan"]


@pytest.mark.parametrize("name", ["o.tsv.gz", "o.npy", "o.parquet", "o.zarr"])
def test_interrupted_and_resumed_equals_uninterrupted(
    bench: Bench, small_pieces: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bench.call(output=bench.folder / "whole" / name)
    real, left = Spool.append, [3]

    def append(self: Spool, rows: object) -> None:
        real(self, rows)  # type: ignore[arg-type]
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    out = bench.folder / name
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "append", append)
        with pytest.raises(Interrupted, match="repeat the command with --resume"):
            bench.call(output=out)
    assert not list(bench.folder.glob("o.*"))
    with pytest.raises(OutputError, match="3 finished pieces; pass --resume"):
        bench.call(output=out)
    with pytest.raises(UsageError, match="had command"):
        bench.call("--resume", output=out, context=48)
    bench.call("--resume", output=out)
    whole = {path.relative_to(bench.folder / "whole"): path for path in (bench.folder / "whole").rglob("*")}
    assert whole
    for place, path in whole.items():
        assert path.is_dir() or bench.folder.joinpath(place).read_bytes() == path.read_bytes()
    assert not list(bench.folder.glob(".o*"))


def test_an_interruption_while_writing_is_resumed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from genoconv.tracks import tables

    with monkeypatch.context() as patch:
        patch.setattr(tables, "_index", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(Interrupted, match="repeat the command with --resume"):
            bench.call(*REGION)
    assert not list(bench.folder.glob("o.*"))
    bench.call(*REGION, "--resume")
    assert (bench.folder / "o.tsv.gz.tbi").exists()


def test_names_of_contigs_that_are_no_names_of_files(bench: Bench) -> None:
    fasta = write_fasta(
        bench.folder / "hla.fa", {"HLA-A*01:01:01:01": CONTIGS["c"][:60], "a/b|c": CONTIGS["c"][60:120]}
    )
    bench.call(output=bench.folder / "n.npy", fasta=fasta)
    assert sorted(path.name for path in bench.folder.glob("n.*")) == [
        "n.HLA-A_01_01_01_01.npy",
        "n.a_b_c.npy",
        "n.npy.json",
    ]
    bench.call("-r", "HLA-A*01:01:01:01", "-r", "a/b|c:2-3", fasta=fasta)
    table = bench.table("-r", "HLA-A*01:01:01:01:5-6", fasta=fasta)
    assert table["pos"].tolist() == [5, 5, 5, 6, 6, 6]


def test_names_that_are_not_utf8(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (b"\xff.tsv.gz", b"\xff.vcf.gz", b"\xff.parquet", b"\xff.npy", b"\xff.zarr"):
        bench.call("-r", "c:1-50", output=bench.folder / os.fsdecode(name))
        assert (bench.folder / os.fsdecode(name).replace("npy", "c.npy")).exists()
    monkeypatch.setattr(scan_run, "load", lambda *_, **__: pytest.fail("begun"))
    with pytest.raises(OutputError, match=r"\\xff.*: a bigWig needs a path that is UTF-8"):
        bench.call("-r", "c:1-50", output=bench.folder / os.fsdecode(b"\xff.bw"))


def test_finished_positions_that_were_altered_are_refused(
    bench: Bench, small_pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "remove", lambda self: None)
        bench.call()
    bench.out.unlink()
    rows = bench.folder / ".o.tsv.gz.genoconv-rows"
    data = bytearray(rows.read_bytes())
    data[500] ^= 1
    rows.write_bytes(data)
    with pytest.raises(DataError, match="altered since"):
        bench.call("--resume")


def test_shards_together_are_the_whole(bench: Bench, small_pieces: None) -> None:
    whole = bench.table()
    parts = [bench.table("--shard", f"{part}/3") for part in (1, 2, 3)]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)
    assert max(map(len, parts)) < 1.4 * min(map(len, parts))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "x.txt"], "ending in .tsv.gz, .vcf.gz, .parquet, .bw, .npy, .zarr"),
        (["-c", 95], "--context 95: must be at least 2 less than the window of 96"),
        (["-w", 99999], "this model reads up to 2,050 bases"),
        (["-r", "d:1-5"], "the FASTA has no such contig; it has c, b"),
        (["-r", "c:5-4"], "counted from 1, and the first must not exceed the last"),
        (["-r", "c:1-901"], "beyond the end of c, which has 900 bases"),
        (["-r", "c:0-5"], "counted from 1"),
        (["--genome", "hg38"], "pass exactly one of FASTA and --genome"),
        (["--plot", "p.png"], "can draw one region of at most 2,000"),
        (["--plot", "p.txt", "-r", "c:1-50"], "ending in .png"),
        (["--shard", "500/500"], "too little to scan for 500 parts"),
    ],
)
def test_what_it_refuses(bench: Bench, words: list[object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bench.call(*words)
    assert not list(bench.folder.glob("o.*"))
    assert not list(bench.folder.glob(".o*"))


def test_a_picture_without_a_place_is_refused_before_the_scan(bench: Bench) -> None:
    with pytest.raises(OutputError, match=r"/proc/new/x\.png: cannot write in /proc"):
        bench.call("-r", "c:1-10", "--plot", "/proc/new/x.png")
    assert not list(bench.folder.glob("*o.*"))


def test_the_estimate_counts_the_writing_of_tables(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from genoconv.pipelines.scan import estimate

    written: list[float] = []
    monkeypatch.setattr(estimate, "speed", lambda work, **_: written.append(work(1)) or 1.0)
    seconds = {}
    for suffix in (".tsv.gz", ".vcf.gz", ".parquet", ".npy"):
        output = bench.folder / f"o{suffix}"
        counts = scan_run.scan(
            ScanOptions(fasta=bench.fasta, model=bench.model, output=output, window=96, device="cpu", dry_run=True)
        ).counts()
        assert counts["positions"] == sum(map(len, CONTIGS.values()))
        seconds[suffix] = counts["estimated_seconds"] >= counts["positions"]  # at the one row per second from above
    assert seconds == {".tsv.gz": True, ".vcf.gz": True, ".parquet": True, ".npy": False}
    assert written == [1024.0] * 3


def test_not_every_error_is_of_the_numbers_of_the_model(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ModelError("the process on cpu ended early")

    monkeypatch.setattr(Scanner, "read", fails)
    with pytest.raises(ModelError, match=r"^the process on cpu ended early$"):
        bench.call()


def test_contigs_that_would_have_one_file_are_named(bench: Bench) -> None:
    fasta = write_fasta(bench.folder / "alike.fa", {"a:1": "ACGT" * 50, "b": "ACGT" * 50, "a_1": "ACGA" * 50})
    for suffix in (".npy", ".zarr"):
        with pytest.raises(OutputError, match="contigs a:1 and a_1 would both be named a_1"):
            bench.call(fasta=fasta, output=bench.folder / f"o{suffix}")


def test_arrays_in_shards_and_what_a_store_does_not_replace(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import zarr

    from genoconv.tracks import arrays

    whole = bench.folder / "o.npy"
    bench.call(output=whole)
    monkeypatch.setattr(arrays, "CHUNK", 64)
    monkeypatch.setattr(arrays, "SHARD", 256)
    out = bench.folder / "s.zarr"
    bench.call(output=out)
    store = zarr.open_group(out, mode="r")
    assert (store["c"].chunks, store["c"].shards) == ((64, 4), (256, 4))
    assert store["c"][:].tobytes() == np.load(bench.folder / "o.c.npy").tobytes()
    assert len([path for path in (out / "c").rglob("*") if path.is_file()]) == 1 + 4
    bench.call("-r", "c:301-310", "--force", output=out)
    part = zarr.open_group(out, mode="r")["c"][:]
    assert np.isnan(part[:300]).all()
    assert part[300:310].tobytes() == np.load(bench.folder / "o.c.npy")[300:310].tobytes()
    assert len([path for path in (out / "c").rglob("*") if path.is_file()]) == 1 + 1  # what is not there takes no space
    other = bench.folder / "other.zarr"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not a Zarr store; it will not be replaced"):
        bench.call("--force", output=other)
    assert (other / "notes.txt").read_text() == "mine"


def test_an_output_that_is_an_input_is_refused(bench: Bench) -> None:
    bed = bench.folder / "o.tsv.gz"
    bed.write_text("c\t0\t10\n")
    with pytest.raises(UsageError, match="this output is the input --bed"):
        bench.call("--bed", bed, "--force")
    assert bed.read_text() == "c\t0\t10\n"
    bed.write_text('regions: ["c:1-10"]\n')
    with pytest.raises(UsageError, match="this output is the input --config"):
        bench.call("--config", bed, "--force")
    bench.model = shutil.copytree(bench.model, bench.folder / "model")
    table = bench.model / "calibration.npz"
    table.touch()
    with pytest.raises(UsageError, match=r"this output is the input --model \(calibration.npz\)"):
        bench.call("-r", "c:1-10", "--force", "--plot", table)
