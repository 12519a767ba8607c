"""Regions of a run: how they are written, what they change in reading and in the loss, and what is reported of them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from fasta_files import random_bases, write_fasta
from train_runs import TINY, configuration, patterned_bases, resume, resumed, same_weights

from genoconv import load_model
from genoconv.errors import DataError, UsageError
from genoconv.models.checkpoint import read_config
from genoconv.pipelines.train import run as pipeline
from genoconv.pipelines.train.inputs import Inputs, gather
from genoconv.pipelines.train.options import TrainConfig
from genoconv.pipelines.train.regions import Region
from genoconv.train.metrics import read_rows


def test_a_region_is_written_short_or_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = ["cds", "promoter:2", "hot.bed:3:0.5", "odd:name.bed", "./utr:1e-1"]
    found = configuration(options={"fasta": "x.fa", "annotation": "x.gtf", "windows.regions": written}).windows.regions
    assert [(r.feature, r.bed and r.bed.relative_to(tmp_path), r.weight, r.loss_weight) for r in found] == [
        ("cds", None, 1, 1),
        ("promoter", None, 2, 1),
        (None, Path("hot.bed"), 3, 0.5),
        (None, Path("odd:name.bed"), 1, 1),
        (None, Path("utr"), 0.1, 1),
    ]
    file = tmp_path / "run.yaml"
    file.write_text(
        "fasta: x.fa\nannotation: x.gtf\n"
        "windows: {regions: [utr:2, {feature: promoter, around: 300, loss_weight: 4}]}\n"
    )
    config = configuration(file=file)
    assert config.windows.regions == (
        Region(feature="utr", weight=2),
        Region(feature="promoter", around=300, loss_weight=4),
    )
    file.write_text(config.to_yaml())
    assert configuration(file=file) == config


REFUSED = {
    "unknown feature": (["exons:2"], "exons: neither a file nor a feature; did you mean exon?"),
    "no file": (["x.bed"], "x.bed: neither a file nor a feature; features are cds, utr,"),
    "weight of 0": (["cds:0"], "must be above 0.0, got '0'"),
    "weight below 0": (["cds:-1"], "must be above 0.0, got '-1'"),
    "endless weight": (["cds:inf"], "must be a finite number, got 'inf'"),
    "no number": (["cds:nan"], "must be"),
    "loss of 0": (["cds:1:0"], "must be above 0.0, got '0'"),
    "twice": (["cds", "cds:2"], "region cds: another region or source has this name"),
    "both": ([{"feature": "cds", "bed": "x"}], "a region has one of feature (of the annotation) and bed (a file)"),
    "around": ([{"feature": "cds", "around": 5}], "around applies only to the feature promoter; drop it"),
    "unknown key": ([{"feature": "cds", "wait": 5}], "unknown key windows.regions.0.wait"),
    "without annotation": (["intron"], "region intron needs an annotation: add --annotation FILE"),
    "a name for bases in none": ([{"feature": "cds", "name": "other"}], "region other: another region"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_region_that_cannot_be_is_refused_in_one_line(
    name: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    regions, message = REFUSED[name]
    options = {"fasta": str(place / "g.fa"), "windows.regions": regions, "run.max_steps": 1}
    if name != "without annotation":
        options["annotation"] = str(place / "g.gff3")
    with pytest.raises(UsageError) as caught:
        pipeline.train(configuration(*TINY, options=options), folder=tmp_path / "run", quiet=True)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20,000 bases of which the gene at 4,000 to 12,000 has a pattern; exons every 400 of it."""
    folder = tmp_path_factory.mktemp("regions")
    noise = random_bases(20_000, seed=3, letters="ACGT")
    write_fasta(folder / "g.fa", {"chr1": noise[:4000] + patterned_bases(8000, seed=1) + noise[12_000:]})
    rows = ["1\tx\tgene\t4001\t12000\t.\t+\t.\tID=g", "1\tx\tmRNA\t4001\t12000\t.\t+\t.\tID=t;Parent=g"]
    rows += [f"1\tx\texon\t{s + 1}\t{s + 200}\t.\t+\t.\tParent=t" for s in range(4000, 12_000, 400)]
    (folder / "g.gff3").write_text("\n".join(rows) + "\n")
    (folder / "end.bed").write_text("chr1\t15000\t20000\n")
    return folder


def config_of(place: Path, *regions: str, tiles: bool = True, **options: object) -> TrainConfig:
    values = {"fasta": str(place / "g.fa"), "annotation": str(place / "g.gff3"), "run.max_steps": 3}
    if tiles:
        values["genes"] = False
    beds = [str(place / region) if ".bed" in region else region for region in regions]
    return configuration(*TINY, *UNEVEN, options={**values, "windows.regions": beds, **options})


UNEVEN = ("data.valid_tokens=100000", "run.log_every=2", "run.checkpoint_every=2")


def inputs_of(config: TrainConfig) -> Inputs:
    return gather(config, max_length=64, offline=True, quiet=True)


def test_windows_are_read_as_often_as_their_bases_weigh(place: Path) -> None:
    inputs = inputs_of(config_of(place, "exon:5", "end.bed:0.5"))
    often = inputs.often()
    assert often is not None
    frame = inputs.assemblies[0].split("train")
    weights = np.ones(20_000)
    weights[15_000:] = 0.5
    for start in range(4000, 12_000, 400):
        weights[start : start + 200] = 5
    for start, end, number in zip(frame["start"], frame["end"], often, strict=True):
        assert number == pytest.approx(weights[start:end].mean())
    assert inputs_of(config_of(place, "exon", "end.bed")).often() is None


def test_windows_of_many_contigs_weigh_as_the_regions_of_their_own(tmp_path: Path) -> None:
    contigs = {f"s{number}": random_bases(80, seed=number, letters="ACGT") for number in range(300)}
    fasta = write_fasta(tmp_path / "g.fa", contigs)
    (tmp_path / "r.bed").write_text("".join(f"s{number}\t0\t{number % 60 + 1}\n" for number in range(300)))
    inputs = inputs_of(configuration(*TINY, f"fasta={fasta}", f"windows.regions=['{tmp_path}/r.bed:3']"))
    frame, often = inputs.assemblies[0].split("train"), inputs.often()
    assert often is not None
    assert len(often) > 200
    for contig, start, end, number in zip(frame["contig"], frame["start"], frame["end"], often, strict=True):
        weights = np.ones(80)
        weights[: int(contig[1:]) % 60 + 1] = 3
        assert number == pytest.approx(weights[start:end].mean())


def test_bases_weigh_in_the_loss_as_their_region_does_on_either_strand(place: Path) -> None:
    inputs = inputs_of(config_of(place, "exon:1:3", "intergenic:1:0.25"))
    reader, held_out = inputs.reader("train", learn=True), inputs.reader("train")
    frame = inputs.assemblies[0].split("train")
    expected = np.full(20_000, 0.25, np.float32)
    parts = np.full(20_000, 1, np.uint8)
    expected[4000:12_000], parts[4000:12_000] = 1, 2
    for start in range(4000, 12_000, 400):
        expected[start : start + 200], parts[start : start + 200] = 3, 0
    assert inputs.regions == ("exon", "intergenic", "other")
    for index, (start, end) in enumerate(zip(frame["start"], frame["end"], strict=True)):
        item = reader.read(index)
        assert np.array_equal(item.weights, expected[start:end])
        assert np.array_equal(item.strata, parts[start:end])
        turned = reader.read(index, flip=True, crop=(3, 20))
        assert np.array_equal(turned.weights, expected[start + 3 : start + 20][::-1])
        assert np.array_equal(turned.strata, parts[start + 3 : start + 20][::-1])
        assert held_out.read(index).weights is None  # perplexity counts every base once


def test_regions_change_what_is_learned_and_perplexity_is_reported_for_each(place: Path, tmp_path: Path) -> None:
    runs = {}
    for name, regions in {
        "plain": ("exon", "end.bed"),
        "loss": ("exon:1:9", "end.bed"),
        "often": ("exon:9", "end.bed"),
    }.items():
        runs[name] = tmp_path / name
        assert pipeline.train(config_of(place, *regions), folder=runs[name], quiet=True) == 0
    assert not any(same_weights(runs["plain"], runs[name]) for name in ("loss", "often"))
    bases = {n: read_config(run)["provenance"]["regions"]["exon"]["training_bases"] for n, run in runs.items()}
    assert bases["often"] > 1.5 * bases["plain"] == 1.5 * bases["loss"]
    done = read_config(runs["plain"])["provenance"]
    assert list(done["regions"]) == ["exon", "end", "other"]
    inputs, model = inputs_of(config_of(place, "exon", "end.bed")), load_model(runs["plain"])
    reader = inputs.reader("valid")
    losses, counts = np.zeros(3), np.zeros(3)
    for index in range(len(reader)):
        item = reader.read(index)
        ids = torch.from_numpy(np.array(item.tokens)).long()
        with torch.inference_mode():
            chances = torch.log_softmax(model(ids[None])[0, :-1, 7:11].double(), dim=-1)
        loss = -chances.gather(1, ids[1:, None] - 7)[:, 0].numpy()
        losses += np.bincount(item.strata[1:], weights=loss, minlength=3)
        counts += np.bincount(item.strata[1:], minlength=3)
    card = (runs["plain"] / "README.md").read_text()
    last = [row for row in read_rows(runs["plain"] / "metrics.csv") if row.split == "valid"][-1]
    for number, name in enumerate(("exon", "end", "other")):
        if not counts[number]:
            assert "validation_perplexity" not in done["regions"][name]
            continue
        expected = math.exp(losses[number] / counts[number])
        assert done["regions"][name]["validation_perplexity"] == pytest.approx(expected, rel=1e-4)
        assert done["regions"][name]["validation_bases"] == counts[number]
        assert last.figures[f"perplexity[{name}]"] == pytest.approx(expected, rel=1e-4)
        facts = done["regions"][name]
        assert f"| {name} | {facts['training_bases']:,} | {facts['validation_perplexity']:.4f}" in card
    record = json.loads((runs["loss"] / "genome.json").read_text())["regions"]
    assert record["exon"] == {"bases": 4000, "weight": 1.0, "loss_weight": 9.0}
    assert (record["end"]["bases"], record["other"]["bases"]) == (5000, 11_000)


def test_a_run_is_not_resumed_with_other_regions(place: Path, tmp_path: Path) -> None:
    bed = tmp_path / "x.bed"
    bed.write_text("chr1\t0\t500\n")
    config = config_of(place, str(bed), annotation=None, tiles=False)
    assert pipeline.train(config, folder=tmp_path / "run", quiet=True) == 0
    bed.write_text("chr1\t0\t501\n")
    with pytest.raises(DataError, match="its regions have changed"):
        resume(tmp_path / "run", "run.max_steps=4")
    with pytest.raises(UsageError, match=r"windows\.regions cannot change within a run"):
        resumed(tmp_path / "run", f"windows.regions=[{place}/end.bed]")


def test_a_region_hidden_by_those_before_it_is_an_error(place: Path) -> None:
    with pytest.raises(DataError, match="region exon has no base of its own: those before it in the list cover all"):
        inputs_of(config_of(place, **{"windows.regions": [{"feature": "promoter", "around": 20_000}, "exon"]}))


def test_of_several_sources_each_has_regions_of_its_own(place: Path, tmp_path: Path) -> None:
    other = write_fasta(tmp_path / "other.fa", {"chr1": random_bases(6000, seed=8, letters="ACGT")})
    first = f"{{fasta: {place}/g.fa, regions: [{{bed: {place}/end.bed, weight: 2}}]}}"
    sources = f"sources=[{first}, {{fasta: {other}, name: two}}]"
    inputs = inputs_of(configuration(*TINY, sources))
    assert (inputs.names, inputs.regions) == (("g", "two"), ("end", "other"))
    reader = inputs.reader("train")
    strata = [set(reader.read(index).strata.tolist()) for index in range(len(reader))]
    assert set.union(*strata[: reader.parts[0]]) == {0, 1}
    assert set.union(*strata[reader.parts[0] :]) == {3}  # of the second source, in no region
    often = inputs.often()
    assert often is not None
    assert (often[reader.parts[0] :] == 1).all()
    assert often.max() == 2
    with pytest.raises(UsageError, match="--regions BED applies to one FASTA"):
        configuration(*TINY, f"sources=[{{fasta: a}}, {{fasta: {other}}}]", f"windows.regions=[{place}/end.bed]")
