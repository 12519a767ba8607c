"""Windows cover what they should, and train, valid and test never share a base."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fasta_files import random_bases, write_fasta
from hypothesis import given, settings
from hypothesis import strategies as st

from genoconv.errors import DataError, UsageError
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.intervals import Region, gene_windows, read_bed, tile_windows, window_frame
from genoconv.genome.windows.splits import (
    SplitPlan,
    _gene_units,
    by_chromosome,
    divide,
    named_splits,
    split_windows,
    tile_regions,
)
from genoconv.genome.windows.training import WindowPlan, make_windows
from genoconv.genome.windows.unknown import unknown_bases

CONTIGS = {"a": 3000, "b": 1000, "c": 400}


def gene_table(rows: list[tuple[str, int, int, str]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["contig", "start", "end", "strand"])
    return table.assign(name=[f"g{number}" for number in range(len(rows))])


@st.composite
def gene_rows(draw: st.DrawFn) -> list[tuple[str, int, int, str]]:
    rows = []
    for _ in range(draw(st.integers(1, 40))):
        contig = draw(st.sampled_from(list(CONTIGS)))
        start = draw(st.integers(0, CONTIGS[contig] - 1))
        # Now and then a gene past the contig's end, as one that spans a circular contig's origin.
        end = start + draw(st.integers(1, 300))
        rows.append((contig, start, end, draw(st.sampled_from("+-"))))
    return rows


def shared_bases(frame: pd.DataFrame) -> list[tuple[str, int]]:
    """Bases that lie in windows of more than one split, counted one by one."""
    owners: dict[tuple[str, int], set[str]] = {}
    for contig, start, end, split in zip(frame["contig"], frame["start"], frame["end"], frame["split"], strict=True):
        for base in range(start, end):
            owners.setdefault((contig, base), set()).add(split)
    return [base for base, splits in owners.items() if len(splits) > 1]


@settings(max_examples=60, deadline=None)
@given(
    rows=gene_rows(),
    flank=st.integers(0, 30),
    max_length=st.integers(20, 400),
    by=st.sampled_from(["chromosome", "block"]),
    seed=st.integers(0, 9),
)
def test_no_base_and_no_gene_is_in_two_sets(
    rows: list[tuple[str, int, int, str]], flank: int, max_length: int, by: str, seed: int
) -> None:
    windows, _ = gene_windows(gene_table(rows), CONTIGS, max_length=max_length, flank=flank)
    plan = SplitPlan(by=by, seed=seed, valid_fraction=0.3, test_fraction=0.3)  # type: ignore[arg-type]
    frame = split_windows(plan, windows, CONTIGS, tiles=False)
    assert shared_bases(frame) == []
    genes = frame.assign(gene=frame["name"].str.split(":").str[0])
    assert (genes.groupby("gene")["split"].nunique() == 1).all()
    assert set(frame["split"]) <= {"train", "valid", "test"}


@settings(max_examples=30, deadline=None)
@given(rows=gene_rows(), flank=st.integers(0, 30), max_length=st.integers(20, 400))
def test_the_parts_of_a_gene_are_the_gene(rows: list[tuple[str, int, int, str]], flank: int, max_length: int) -> None:
    windows, counts = gene_windows(gene_table(rows), CONTIGS, max_length=max_length, flank=flank)
    assert (windows["end"] - windows["start"]).max() <= max_length
    for number, (contig, start, end, _) in enumerate(rows):
        parts = windows[windows["locus"] == number].sort_values("start")
        covered = Counter(base for s, e in zip(parts["start"], parts["end"], strict=True) for base in range(s, e))
        length = CONTIGS[contig]
        expected = {base % length if end > length else base for base in range(start, end)}
        around = {base for base in range(start - flank, end + flank) if 0 <= base < length} if end <= length else set()
        assert set(covered) >= expected | around
        assert set(covered.values()) == {1}
        if end <= length:
            assert set(covered) == expected | around
    assert counts["origin"] == sum(end > CONTIGS[contig] for contig, _, end, _ in rows)


@pytest.mark.parametrize(
    ("flank", "parts"),
    [(0, [(0, 90), (300, 400)]), (60, [(0, 150), (240, 400)]), (120, [(0, 180), (180, 400)]), (300, [(0, 400)])],
)
def test_flanks_of_a_gene_across_the_origin_do_not_overlap(flank: int, parts: list[tuple[int, int]]) -> None:
    windows, counts = gene_windows(gene_table([("c", 300, 490, "+")]), CONTIGS, max_length=400, flank=flank)
    assert list(zip(windows["start"], windows["end"], strict=True)) == parts
    assert counts["origin"] == 1


@pytest.mark.parametrize(
    ("sizes", "chromosomes"),
    [([10] * 8, True), ([10] * 7, False), ([10] * 4, False), ([30, *[10] * 7], True), ([31, *[10] * 7], False)],
)
def test_whole_chromosomes_are_divided_where_there_are_many_alike(sizes: list[int], chromosomes: bool) -> None:
    contigs = {f"chr{number}": size for number, size in enumerate(sizes)}
    assert by_chromosome(SplitPlan(), contigs) is chromosomes
    assert by_chromosome(SplitPlan(by="chromosome"), contigs)
    assert not by_chromosome(SplitPlan(by="block"), contigs)


def test_long_genes_are_split_in_the_direction_of_their_strand_or_skipped() -> None:
    table = gene_table([("a", 100, 200, "+"), ("a", 500, 600, "-"), ("a", 700, 730, "+")])
    windows, counts = gene_windows(table, CONTIGS, max_length=40)
    assert counts["long"] == 2
    assert windows[["start", "end", "strand", "name"]].to_numpy().tolist() == [
        [100, 133, "+", "g0:1/3"],
        [133, 166, "+", "g0:2/3"],
        [166, 200, "+", "g0:3/3"],
        [500, 533, "-", "g1:3/3"],
        [533, 566, "-", "g1:2/3"],
        [566, 600, "-", "g1:1/3"],
        [700, 730, "+", "g2"],
    ]
    skipped, counts = gene_windows(table, CONTIGS, max_length=40, long_genes="skip")
    assert (skipped["name"].tolist(), counts["long"]) == (["g2"], 2)
    short, counts = gene_windows(table, CONTIGS, max_length=100, min_length=31)
    assert (short["name"].tolist(), counts["short"]) == (["g0", "g1"], 1)


@given(
    start=st.integers(0, 50),
    size=st.integers(1, 300),
    length=st.integers(1, 80),
    step=st.integers(1, 80),
    least=st.integers(1, 20),
)
def test_tiles_cover_their_region_once(start: int, size: int, length: int, step: int, least: int) -> None:
    step, least = min(step, length), min(least, length)
    tiles = tile_windows([Region("a", start, start + size)], length=length, step=step, min_length=least)
    covered = {base for s, e in zip(tiles["start"], tiles["end"], strict=True) for base in range(s, e)}
    missing = set(range(start, start + size)) - covered
    assert covered <= set(range(start, start + size))
    assert len(missing) < least
    assert not missing or min(missing) >= start + size - least
    ends = tiles["end"].tolist()
    assert ends == sorted(set(ends)), "a tile lies inside the one before it"


@settings(max_examples=40, deadline=None)
@given(length=st.integers(5, 400), step=st.integers(1, 400), by=st.sampled_from(["chromosome", "block"]))
def test_tiles_of_two_sets_share_no_base(length: int, step: int, by: str) -> None:
    plan = SplitPlan(by=by, valid_fraction=0.2, test_fraction=0.2)  # type: ignore[arg-type]
    regions = tile_regions(plan, CONTIGS, length=length, step=min(step, length))
    tiles = tile_windows(regions, length=length, step=min(step, length))
    assert shared_bases(split_windows(plan, tiles, CONTIGS, tiles=True)) == []
    assert sum(region.end - region.start for region in regions) == sum(CONTIGS.values())


def test_blocks_come_near_the_fractions_and_depend_on_the_seed() -> None:
    units = {("a", start): 100 + start % 7 for start in range(200)}
    total = sum(units.values())
    divisions = [divide(SplitPlan(seed=seed, valid_fraction=0.1, test_fraction=0.2), units) for seed in range(3)]
    for division in divisions:
        shares = Counter()
        for unit, split in division.items():
            shares[split] += units[unit] / total
        assert shares == pytest.approx({"train": 0.7, "valid": 0.1, "test": 0.2}, abs=0.01)
    assert divisions[0] != divisions[1]
    shuffled = dict(reversed(units.items()))
    assert divide(SplitPlan(seed=1, valid_fraction=0.1, test_fraction=0.2), shuffled) == divisions[1]
    # Pinned: another machine, or a later version, must give the same sets.
    assert sorted(start for (_, start), split in divisions[0].items() if split == "valid")[:4] == [0, 25, 37, 57]


def test_few_units_still_give_every_set_one() -> None:
    units = {("a", 0): 500, ("b", 0): 300, ("c", 0): 200}
    assert sorted(divide(SplitPlan(), units).values()) == ["test", "train", "valid"]
    assert list(divide(SplitPlan(), {("a", 0): 5}).values()) == ["train"]
    assert set(divide(SplitPlan(valid_fraction=0, test_fraction=0), units).values()) == {"train"}


def test_named_contigs_by_any_of_their_names() -> None:
    contigs = {"chr1": 5, "chr9": 4, "chr22": 3, "chrM": 2}
    plan = SplitPlan(valid=("9", "MT"), test=("NC_000022.11",))
    assert named_splits(plan, contigs) == {"chr1": "train", "chr9": "valid", "chr22": "test", "chrM": "valid"}
    with pytest.raises(UsageError, match="--test chr99: the FASTA has no such contig; it has chr1, chr9"):
        named_splits(SplitPlan(test=("chr99",)), contigs)
    with pytest.raises(UsageError, match="contig 9 is named for both valid and test"):
        named_splits(SplitPlan(valid=("chr9",), test=("9",)), contigs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"valid_fraction": -0.1}, "valid fraction is -0.1"),
        ({"test_fraction": 1.0}, "test fraction is 1.0"),
        ({"valid_fraction": 0.5, "test_fraction": 0.5}, "sum to 1; nothing is left for training"),
        ({"valid": ("a",), "by": "block"}, "exclude each other"),
    ],
)
def test_plans_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SplitPlan(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_length": 0}, "expected 1 <= min <= max"),
        ({"min_length": 101}, "expected 1 <= min <= max"),
        ({"flank": -1}, "flank of -1"),
        ({"step": 101}, "step 101 should lie between 1 and max length, 100"),
        ({"max_unknown": 1.5}, "max unknown is 1.5"),
    ],
)
def test_windows_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        WindowPlan(max_length=100, **options)  # type: ignore[arg-type]


def test_windows_of_unknown_bases_are_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genoconv.genome.windows.unknown._CHUNK", 7)  # several reads per window
    sequence = random_bases(100, seed=1, letters="ACGT") + "N" * 51 + random_bases(149, seed=2, letters="acgt")
    fasta = Fasta(write_fasta(tmp_path / "x.fa", {"a": sequence}))
    seen: list[float] = []
    windows = make_windows(fasta, WindowPlan(max_length=100, max_unknown=0.5), advance=seen.append)
    assert windows.frame["start"].tolist() == [0, 200]
    assert windows.counts["unknown"] == 1
    assert sum(seen) == 300
    kept = make_windows(fasta, WindowPlan(max_length=100, max_unknown=0.51))
    assert kept.frame["start"].tolist() == [0, 100, 200]
    empty = Fasta(write_fasta(tmp_path / "n.fa", {"a": "N" * 300}))
    with pytest.raises(DataError, match=r"n\.fa: no windows: 3 windows left out with more than 50% unknown bases"):
        make_windows(empty, WindowPlan(max_length=100))


def test_unknown_bases_of_windows_that_overlap_touch_and_leave_gaps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genoconv.genome.windows.unknown._CHUNK", 16)
    contigs = {name: random_bases(200, seed=seed, letters="ACGTacgtNnRY") for seed, name in enumerate("abc")}
    fasta = Fasta(write_fasta(tmp_path / "x.fa", contigs))
    random = np.random.default_rng(0)
    starts = random.integers(0, 190, 60)
    ends = starts + random.integers(1, 11, 60)
    starts[:4], ends[:4] = (0, 16, 16, 199), (16, 32, 17, 200)  # whole reads, and both ends of a contig
    names = random.choice(list("ac"), 60)
    seen: list[float] = []
    found = unknown_bases(fasta, pd.DataFrame({"contig": names, "start": starts, "end": ends}), advance=seen.append)
    rows = list(zip(names, starts, ends, strict=True))
    known = [sum(base not in "ACGTacgt" for base in contigs[name][start:end]) for name, start, end in rows]
    assert found.tolist() == known
    places = {(name, place) for name, start, end in rows for place in range(start, end)}
    assert sum(seen) == len(places)  # each base once


def test_bed_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.bed"
    path.write_bytes(
        b"track name=x\n#c\nchr1\t0\t5\n\nchr1\t7\t9\tn\t0\t-\tvalid\r\nchr2 1 2 m 0 + other\ntracks\t1\t2\n"
    )
    twelve = tmp_path / "12.bed"
    twelve.write_bytes(b"c\t0\t9\tm\t0\t-\nc\t0\t9\tn\t0\t+\t0\t9\t0,0,0\t1\t9,\t0,\n")
    assert read_bed(twelve)["name"].tolist() == ["m", "n"]
    assert read_bed(path).to_numpy().tolist() == [
        ["chr1", 0, 5, ".", "", ""],
        ["chr1", 7, 9, "-", "n", "valid"],
        ["chr2", 1, 2, "+", "m", ""],
        ["tracks", 1, 2, ".", "", ""],
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"gi|1|\t0\n", "line 1: 2 columns, but BED has at least 3"),
        (b"a\t0\t5\na\tx\t5\n", "line 2: start 'x' and end '5' should be whole numbers"),
        (b"a\t0\t12345678901234567890\n", "line 1: start '0' and end '12345678901234567890' should be whole numbers"),
        (b"a\t0\t" + b"9" * 4400 + b"\n", r"line 1: start '0' and end '9{60}'... of 4,400 characters should be whole"),
        (b"a\t0\t\xd9\xa5\n", "line 1: start '0' and end '\u0665' should be whole numbers"),
        (b"a\t5\t5\n", "line 1: interval 5-5 should have 0 <= start < end"),
        (b"a\t-1\t5\n", "line 1: interval -1-5 should have"),
        (b"##fileformat=VCFv4.2\n", "not BED but VCF"),
        (b"", "no intervals in this BED file"),
    ],
)
def test_bed_rows_that_are_not(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.bed").write_bytes(content)
    with pytest.raises(DataError, match=f"x.bed: {message}"):
        read_bed(tmp_path / "x.bed")


def test_windows_that_touch_are_one_unit() -> None:
    rows = [("c", 0, 20, "+", "a", ""), ("c", 20, 30, "+", "b", ""), ("c", 31, 40, "+", "d", "")]
    windows = window_frame(rows).assign(locus=range(3))
    assert _gene_units(windows, size=10) == [("c", 0), ("c", 0), ("c", 3)]
