"""Classes of like variants, their distributions, and places in them, against what can be worked out by hand."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy_scoring import rc, record, write_fasta

from genoconv import tokens
from genoconv.errors import ModelError
from genoconv.genome.fasta.access import Fasta
from genoconv.tasks.calibration import FRACTIONS, LEAST, NAME, Calibration, Table, fit
from genoconv.tasks.likelihood import CausalLikelihood
from genoconv.tasks.likeness import (
    CLASSES,
    DELETION,
    INSERTION,
    LENGTHS,
    LEVELS,
    coarser,
    indel_class,
    snv_classes,
)
from genoconv.tasks.planning import Settings
from genoconv.tasks.samples import random_variants, scan_sample, score_sample, spread, usable_places
from genoconv.tasks.scan import Scanner
from genoconv.tasks.score import VariantScorer
from genoconv.variants.reference import Reference

RNG = np.random.default_rng(5)
GENOME = {
    "one": "".join(RNG.choice(list("ACGT"), 30_000)),
    "two": "".join(RNG.choice(list("acgt"), 10_000)) + "N" * 20_000,
}


class OneBefore(nn.Module):
    """P(next base | the base before it): an SNV's score depends on its two neighbours alone."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(16, 16, generator=torch.Generator().manual_seed(1)))

    def forward(self, ids: Tensor) -> Tensor:
        return self.table[ids]

    def ratio(self, before: str, ref: str, alt: str) -> float:
        row = self.table[int(tokens.encode(before)[0])].tolist()
        return row[int(tokens.encode(alt)[0])] - row[int(tokens.encode(ref)[0])]

    def score(self, context: str, alt: str) -> float:
        """Of ``context[1]`` > alt, by both strands."""
        left, ref, right = context
        return (self.ratio(left, ref, alt) + self.ratio(rc(right), rc(ref), rc(alt))) / 2


def scanner(path: Path, *, model: nn.Module | None = None) -> Scanner:
    return Scanner(model or OneBefore(), reference=Reference(Fasta(path)), context=16, step=16)


def class_of(context: str, alt: str, level: int = 0) -> int:
    return int(snv_classes(tokens.encode(context))[level, 0, "ACGT".index(alt)])


def test_an_snv_and_its_other_strand_are_one_class() -> None:
    contexts = ["".join(letters) for letters in itertools.product("ACGT", repeat=5)]
    classes = snv_classes(tokens.encode("".join(contexts)))[:, ::5].tolist()
    assert [len(classes), len(classes[0])] == [LEVELS, 4**5]
    of = {
        (context, alt): [level[place][at] for level in classes]
        for place, context in enumerate(contexts)
        for at, alt in enumerate("ACGT")
    }
    seen: dict[int, set[tuple[str, str]]] = {}
    for (context, alt), (one, *_) in of.items():
        if alt == context[2]:
            assert one == -1
            continue
        assert one == of[rc(context), rc(alt)][0]
        seen.setdefault(one, set()).add((context, alt))
        assert coarser()[:, one].tolist() == of[context, alt]
    assert len(seen) == 4**5 * 3 // 2
    assert all(len(members) == 2 for members in seen.values())
    assert len({class_of("AACAA", alt, 1) for alt in "AGT"}) == 3
    assert class_of("AACAA", "G", 1) == class_of("CACAG", "G", 1) != class_of("CACGG", "G", 1)
    assert class_of("AACAA", "G", 2) == class_of("GGCTT", "G", 2)


def test_unknown_bases_leave_the_coarser_classes() -> None:
    classes = snv_classes(tokens.encode("NACGTACRTAC"))
    assert (classes[0, :, :] >= 0).any(axis=1).tolist() == [False, True, True, False, False, False, False]
    assert (classes[1, :, :] >= 0).any(axis=1).tolist() == [True, True, True, True, False, False, False]
    assert (classes[2, :, :] >= 0).any(axis=1).tolist() == [True, True, True, True, True, False, True]
    assert ((classes[3] >= 0).sum(axis=1) == [3, 3, 3, 3, 3, 0, 3]).all()


def test_indels_by_length() -> None:
    assert indel_class(0, 1) == INSERTION
    assert indel_class(2, 0) == DELETION + 1
    assert indel_class(0, 50) == INSERTION + len(LENGTHS) - 1
    of_length = [indel_class(length, 0) - DELETION for length in range(1, 51)]
    assert [of_length.index(class_) + 1 for class_ in range(len(LENGTHS))] == [1, 2, 3, 4, 7, 13, 25]
    assert of_length == sorted(of_length)
    assert [indel_class(*pair) for pair in ((1, 2), (0, 51), (0, 0), (2, 2))] == [-1] * 4


def test_percentiles_of_a_sample_are_uniform_on_another_of_its_kind() -> None:
    first, second = (np.random.default_rng(seed).normal(3, 2, 20_000).astype(np.float32) for seed in (1, 2))
    table = fit(np.full(20_000, INSERTION, np.int32), first)
    percentile, z = table.place(np.full((LEVELS, 20_000), INSERTION, np.int32), second)
    counts, _ = np.histogram(percentile, bins=20, range=(0, 100))
    assert abs(counts - 1000).max() < 150  # four standard deviations of both samples together
    assert z.mean() == pytest.approx(0, abs=0.03)
    assert z.std() == pytest.approx(1, abs=0.03)
    exact = np.searchsorted(np.sort(first), second) / 20_001 * 100
    assert abs(percentile - exact).max() < 0.3


def test_the_ends_of_a_sample_are_never_0_or_100() -> None:
    sample = np.arange(LEAST, dtype=np.float32)
    table = fit(np.full(LEAST, DELETION, np.int32), sample)
    values = np.array([-1e9, 0, LEAST - 1, 1e9])
    percentile, _ = table.place(np.full((1, 4), DELETION, np.int32), values)
    share = 100 / (LEAST + 1)
    assert percentile == pytest.approx([share, share, 100 - share, 100 - share])


def test_equal_scores_share_the_middle_of_their_range() -> None:
    sample = np.repeat(np.array([1, 2, 3, 4], np.float32), 250)
    table = fit(np.full(1000, DELETION, np.int32), sample)
    percentile, z = table.place(np.full((1, 7), DELETION, np.int32), np.array([0.5, 1, 2, 3, 4, 2.5, np.nan]))
    assert percentile[:5] == pytest.approx([0.1, 12.5, 37.5, 62.5, 87.5], abs=0.6)
    assert percentile[5] == pytest.approx(50, abs=0.6)
    assert np.isnan(percentile[6])
    assert z[2] == pytest.approx(-0.5 / np.std(sample, ddof=1))


def test_a_class_that_is_too_small_falls_back_on_a_coarser_one() -> None:
    many, few = class_of("AACAA", "G"), class_of("GACAG", "G")
    classes = np.array([many] * 200 + [few] * (LEAST - 1), np.int32)
    scores = np.concatenate([np.zeros(200), np.full(LEAST - 1, -5.0)]).astype(np.float32)
    table = fit(classes, scores)
    assert many in table.ids
    assert few not in table.ids
    ids = snv_classes(tokens.encode("GACAG"))[:, 0, 2][:, None]
    percentile, _ = table.place(ids, np.array([-5.0]))
    assert percentile[0] == pytest.approx(100 * (LEAST - 1) / 2 / (LEAST + 199), abs=1)
    other = snv_classes(tokens.encode("GATAG"))[:, 0, 2][:, None]
    assert table.place(other, np.array([0.0]))[0][0] == pytest.approx(66, abs=2)  # of all SNVs
    lone = fit(np.array([INSERTION] * (LEAST - 1), np.int32), np.zeros(LEAST - 1, np.float32))
    assert np.isnan(lone.place(np.full((LEVELS, 1), INSERTION, np.int32), np.zeros(1))[0][0])


def test_a_model_whose_distribution_is_known(tmp_path: Path) -> None:
    model = OneBefore()
    one = scanner(write_fasta(tmp_path / "g.fa", GENOME), model=model)
    places = usable_places(one, advance=lambda amount: None)
    sample = scan_sample(places, range(len(places)), advance=lambda amount: None)
    table = fit(sample.classes, sample.scores)
    level = 1  # three bases decide
    for context, alt in (("ACA", "G"), ("GTC", "A"), ("CCG", "T"), ("TCT", "A")):
        row = table.ids.tolist().index(int(coarser()[level, class_of(f"A{context}A", alt)]))
        expected = model.score(context, alt)
        assert table.means[row] == pytest.approx(expected, abs=1e-5)
        assert table.deviations[row] == pytest.approx(0, abs=1e-5)
        # The mean over the outer bases of the class of the middle alone: sixteen equally likely values.
        middle = table.ids.tolist().index(int(coarser()[2, class_of(f"A{context}A", alt)]))
        values = [model.score(f"{a}{context[1]}{b}", alt) for a in "ACGT" for b in "ACGT"]
        assert table.means[middle] == pytest.approx(np.mean(values), abs=0.02)
        assert table.deviations[middle] == pytest.approx(np.std(values), abs=0.02)
        quantiles = table.quantiles[middle]
        assert quantiles[0] == pytest.approx(min(values), abs=1e-5)
        assert quantiles[-1] == pytest.approx(max(values), abs=1e-5)
        at = int(np.argmin(abs(FRACTIONS - 0.53)))  # between the eighth and the ninth of sixteen
        assert quantiles[at] == pytest.approx(sorted(values)[8], abs=1e-5)


def test_the_sample_spreads_over_known_sequence(tmp_path: Path) -> None:
    one = scanner(write_fasta(tmp_path / "g.fa", GENOME | {"short": "ACGTACGTAC", "none": "N" * 99}))
    seen: list[float] = []
    places = usable_places(one, advance=seen.append)
    assert sum(seen) == 60_109
    tiles = [places.tile(number) for number in range(len(places))]
    by_contig = {name: sum(tile.end - tile.start for tile in tiles if tile.contig == name) for name in GENOME}
    assert by_contig["one"] == pytest.approx(30_000, abs=32)
    assert by_contig["two"] == pytest.approx(10_000, abs=32)
    assert {tile.contig for tile in tiles} == {"one", "two", "short"}
    numbers = spread(len(places), 250, seed=3)
    assert len(set(numbers)) == 250
    assert numbers == spread(len(places), 250, seed=3) != spread(len(places), 250, seed=4)
    assert sum(tiles[n].contig == "one" for n in numbers) == pytest.approx(187, abs=2)
    assert max(b - a for a, b in itertools.pairwise(numbers)) <= 2 * len(places) // 250 + 1


def test_random_variants_are_what_their_class_says(tmp_path: Path) -> None:
    places = usable_places(scanner(write_fasta(tmp_path / "g.fa", GENOME)), advance=lambda amount: None)
    every = list(random_variants(places, count=140, longest=50, grid=8, seed=1))
    assert len(every) == 280
    assert [str(one) for one in every] == [
        str(one) for one in random_variants(places, count=140, longest=50, grid=8, seed=1)
    ]
    counts = np.bincount([class_ for _, class_ in every if class_ >= INSERTION], minlength=CLASSES)
    assert set(counts[INSERTION:]) == {10}
    for one, class_ in every:
        sequence = GENOME[one.contig].upper()
        assert sequence[one.start : one.end] == one.ref
        if class_ >= INSERTION:
            ref, alt = len(one.ref) - 1, len(one.alts[0]) - 1
            assert indel_class(ref, alt) == class_
        else:
            around = sequence[one.start - 2 : one.start + 3]
            assert class_of(around, one.alts[0]) == class_
    assert len(list(random_variants(places, count=30, longest=3, grid=8, seed=1))) == 60


def test_scores_of_random_variants_are_those_of_score_variants(tmp_path: Path) -> None:
    model = OneBefore()
    one = scanner(write_fasta(tmp_path / "g.fa", GENOME), model=model)
    places = usable_places(one, advance=lambda amount: None)
    settings = Settings(widths=(64,), grid=(4,), max_length=64, max_indel=16)
    names = {name: name for name in GENOME}
    scorer = VariantScorer(CausalLikelihood(model), reference=one.reference, names=names, settings=settings)
    variants = list(random_variants(places, count=60, longest=12, grid=4, seed=1))
    summed, averaged = score_sample(scorer, variants, advance=lambda amount: None)
    assert len(summed.scores) == 120
    for (variant, class_), found, ours, mean in zip(
        variants, summed.classes, summed.scores, averaged.scores, strict=True
    ):
        [[[alone]]] = scorer.score([record(variant.contig, variant.start, variant.ref, *variant.alts)])
        assert ours == pytest.approx(alone.llr, abs=1e-5)
        assert mean == pytest.approx(ours / 63)
        assert found == class_


def test_it_is_stored_whole_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    table = fit(np.full(500, INSERTION, np.int32), np.arange(500, dtype=np.float32))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Calibration({"window": 64}, {"sum": table}).save(tmp_path / folder)
    assert (tmp_path / "a" / NAME).read_bytes() == (tmp_path / "b" / NAME).read_bytes()
    found = Calibration.load(tmp_path / "a")
    assert found is not None
    assert found.facts["window"] == 64
    for part in ("ids", "counts", "means", "deviations", "quantiles"):
        assert (getattr(found.tables["sum"], part) == getattr(table, part)).all()
    (tmp_path / "c").mkdir()
    assert Calibration.load(tmp_path / "c") is None


@pytest.mark.parametrize("damage", ["cut", "text", "pickle", "classes", "format", "version"])
def test_a_damaged_one_is_refused(tmp_path: Path, damage: str) -> None:
    table = fit(np.full(500, INSERTION, np.int32), np.arange(500, dtype=np.float32))
    Calibration({}, {"sum": table}).save(tmp_path)
    path = tmp_path / NAME
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "text":
        path.write_text("not a calibration")
    elif damage == "pickle":
        with path.open("wb") as out:
            np.savez(out, about=np.array({"format": 1}, dtype=object))
    elif damage == "classes":
        rest = (getattr(table, part)[:1] for part in ("counts", "means", "deviations", "quantiles"))
        wrong = Table(np.array([CLASSES], np.int32), *rest)
        Calibration({}, {"sum": wrong}).save(tmp_path)
    elif damage == "format":
        Calibration({"format": "another"}, {"sum": table}).save(tmp_path)
    else:
        Calibration({"format_version": 99}, {"sum": table}).save(tmp_path)
    with pytest.raises(ModelError, match=r"calibration.npz: .*genoconv models calibrate .* --force") as refused:
        Calibration.load(tmp_path)
    assert "pickle" not in str(refused.value)
