"""Several sources: how options pair up, how often each is read, what is reported of each, and what a resumed run is."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fasta_files import random_bases, write_fasta
from train_runs import TINY, configuration, patterned_bases, resume, same_weights

from genoconv import load_model
from genoconv.errors import DataError, UsageError
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.batches import drawn_windows
from genoconv.models.checkpoint import read_config
from genoconv.pipelines.train import run as pipeline
from genoconv.pipelines.train.inputs import gather
from genoconv.pipelines.train.options import TrainConfig
from genoconv.train.held_out import spaced
from genoconv.train.metrics import read_rows
from genoconv.train.mixture import JoinedReader, Strata
from genoconv.train.module import Learner
from genoconv.train.readers import WindowReader
from genoconv.train.settings import Stage
from genoconv.train.stream import Share, TrainingBatches


def sources(*assignments: str, **options: object) -> TrainConfig:
    return configuration(*assignments, options=options)


def test_the_nth_annotation_belongs_to_the_nth_fasta() -> None:
    config = sources(genome=["hg38"], fasta=["a.fa", "b.fa.gz"], annotation=["a.gff3", "b.gtf"])
    found = [(s.usual_name, s.genome, s.annotation.name if s.annotation else None) for s in config.all_sources()]
    assert found == [("hg38", "hg38", None), ("a", None, "a.gff3"), ("b", None, "b.gtf")]
    config = sources(genome=["hg38", "mm39"], annotation=["h.gtf", "m.gtf"])
    assert [(s.genome, s.annotation and s.annotation.name) for s in config.all_sources()] == [
        ("hg38", "h.gtf"),
        ("mm39", "m.gtf"),
    ]


def test_sources_of_a_file_come_first_and_their_paths_start_at_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        "sources:\n- {fasta: a.fa, annotation: a.gtf, weight: 2, valid: chr1}\n"
        "- {genome: mm39, soft_mask_weight: 0.01}\n"
    )
    config = configuration(file=file, options={"fasta": ["/b.fa"]})
    first, second, third = config.all_sources()
    assert (first.fasta, first.annotation) == (tmp_path / "a.fa", tmp_path / "a.gtf")
    assert (first.weight, first.valid, second.soft_mask_weight, third.fasta) == (2, ("chr1",), 0.01, Path("/b.fa"))
    again = tmp_path / "again.yaml"
    again.write_text(config.to_yaml())
    assert configuration(file=again) == config


REFUSED = {
    "fewer annotations": ({"fasta": ["a", "b"], "annotation": ["x"]}, (), "--annotation is given 1 time and --fasta 2"),
    "more annotations": ({"fasta": ["a"], "annotation": ["x", "y"]}, (), "--annotation is given 2 times and --fasta 1"),
    "of genomes": ({"genome": ["a", "b"], "annotation": ["x"]}, (), "--annotation is given 1 time and --genome 2"),
    "fewer windows": ({"fasta": ["a", "b"], "window_file": ["x"]}, (), "--windows is given 1 time and --fasta 2"),
    "a genome twice": ({"genome": ["hg38", "hg38"]}, (), "hg38 is given twice"),
    "a file twice": ({"fasta": ["a.fa", "./a.fa"]}, (), "a.fa is given twice"),
    "a name twice": ({}, ("sources=[{fasta: a, name: x}, {fasta: b, name: x}]",), "two sources are named x"),
    "no sequence": (
        {},
        ("sources=[{name: x}, {genome: hg38}]",),
        "source x: pass exactly one of --genome NAME and --fasta",
    ),
    "weight of 0": ({}, ("sources=[{fasta: a, weight: 0}]",), "sources.0.weight: must be above 0.0, got '0'"),
    "weight below 0": ({}, ("sources=[{fasta: a, weight: -1}]",), "sources.0.weight: must be above 0.0, got '-1'"),
    "huge weight": ({}, ("sources=[{fasta: a, weight: 1e300}]",), "sources.0.weight: must be at most 1000000.0"),
    "endless weight": ({}, ("sources=[{fasta: a, weight: .inf}]",), "sources.0.weight: must be a finite number"),
    "weight not a number": ({}, ("sources=[{fasta: a, weight: .nan}]",), "sources.0.weight: must be"),
    "unknown key": ({}, ("sources=[{fasta: a, weigh: 1}]",), "unknown key sources.0.weigh; did you mean sources."),
    "a name for tables": ({}, ("sources=[{fasta: a, name: 'x]'}]",), "choose another name"),
    "contigs of which": (
        {"fasta": ["a", "b"]},
        ("windows.valid=chr1",),
        "set valid and test under each of the sources",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_together_is_refused_in_one_line(name: str) -> None:
    options, assignments, message = REFUSED[name]
    with pytest.raises(UsageError) as caught:
        sources(*assignments, **options)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_two_files_of_one_name_get_names_of_their_own() -> None:
    config = sources(fasta=["one/genome.fa", "two/genome.fa"])
    from genoconv.pipelines.train.sources import named

    assert [source.name for source in named(config.all_sources())] == ["genome", "genome-2"]


def test_windows_are_drawn_as_often_as_they_weigh() -> None:
    often = np.array([1.0] * 90 + [5.5] * 10)
    total = np.zeros(100)
    for epoch in range(40):
        drawn = drawn_windows(often, seed=3, epoch=epoch)
        assert np.array_equal(drawn, drawn_windows(often, seed=3, epoch=epoch))
        total += np.bincount(drawn, minlength=100)
        assert (np.abs(total - (epoch + 1) * often / often.mean()) < 1).all()
    assert np.array_equal(drawn_windows(np.full(7, 0.1), seed=1, epoch=5), np.arange(7))


def windows(count: int) -> pd.DataFrame:
    starts = np.arange(count) * 50
    return pd.DataFrame({"contig": "chr1", "start": starts, "end": starts + 50, "strand": "+"})


def test_contigs_of_one_name_are_two_in_a_joined_table(tmp_path: Path) -> None:
    files = [write_fasta(tmp_path / f"{i}.fa", {"chr1": random_bases(1000, seed=i, letters="ACGT")}) for i in range(2)]
    parts = [
        WindowReader(Fasta(path), windows(n), stratum=i) for i, (path, n) in enumerate(zip(files, (3, 7), strict=True))
    ]
    empty = WindowReader(Fasta(files[0]), windows(0), stratum=0)
    joined = JoinedReader([empty, parts[0], empty, parts[1]])
    assert (len(joined), joined.parts) == (10, (0, 3, 0, 7))
    for index in range(10):
        part, row = (parts[0], index) if index < 3 else (parts[1], index - 3)
        assert np.array_equal(joined[index], part[row])
        assert set(joined.read(index).strata) == {int(index >= 3)}
    batches = TrainingBatches(
        joined,
        stages=(Stage(length=50),),
        tokens_per_batch=100,
        flips=np.repeat([True, False], [3, 7]),
        seed=0,
        share=Share(),
        often=np.repeat([1.0, 3.0], [3, 7]),
    )
    seen: Counter[int] = Counter()
    for index in range(200):
        seen.update(batches.batch(index).strata.flatten().tolist())
    assert seen[1] / seen[0] == pytest.approx(7, rel=0.03)  # 7 windows of weight 3 to 3 of weight 1


def test_every_source_has_its_share_of_what_is_measured() -> None:
    assert spaced([10], 4) == [0, 3, 6, 9]
    assert spaced([1000, 3, 0, 1], 4) == [0, 999, 1000, 1003]
    for count in (0, 3, 7, 100, 1003, 5000):
        chosen = spaced([1000, 3, 0, 1], count)
        assert len(set(chosen)) == len(chosen) == max(3, min(count, 1004))
        assert {0 <= c < 1000 for c in chosen} == {True, False}
        assert spaced([1000, 3, 0, 1], len(chosen)) == chosen


def test_strata_name_their_groups() -> None:
    assert Strata(("a", "b"), ("x", "y", "z")).groups() == {
        **{"a": [0, 1, 2], "b": [3, 4, 5]},
        **{"x": [0, 3], "y": [1, 4], "z": [2, 5]},
    }
    assert (len(Strata()), Strata().groups()) == (0, {})


# Two species whose only contig has one name, one easy to learn and one that is not.
WEIGHTS = "sources=[{fasta: FOLDER/easy.fa, weight: 2}, {fasta: FOLDER/hard.fa, name: other}]"
UNEVEN = ("run.log_every=5", "run.checkpoint_every=3", "run.validate_every=4", "data.valid_tokens=100000")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sources")
    write_fasta(place / "easy.fa", {"chr1": patterned_bases(20_000, seed=1)})
    write_fasta(place / "hard.fa", {"chr1": random_bases(8_000, seed=2, letters="ACGT")})
    return place


def two(folder: Path, *assignments: str) -> TrainConfig:
    words = (WEIGHTS.replace("FOLDER", str(folder)), "run.max_steps=13", *UNEVEN, *assignments)
    return configuration(*TINY, *words)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genoconv.pipelines.train.report.write_plot", lambda *_, **__: True)
        assert pipeline.train(two(folder), folder=folder / "run", quiet=True) == 0
    return folder / "run"


def test_perplexity_is_reported_for_each_source_and_together(folder: Path, whole: Path) -> None:
    done = read_config(whole)["provenance"]
    rows = read_rows(whole / "metrics.csv")
    last = [row for row in rows if row.split == "valid"][-1]
    model = load_model(whole)
    losses, bases = {}, {}
    for assembly in gather(two(folder), max_length=64, offline=True, quiet=True).assemblies:
        losses[assembly.name] = bases[assembly.name] = 0.0
        frame = assembly.split("valid")
        for start, end in zip(frame["start"], frame["end"], strict=True):
            ids = torch.from_numpy(assembly.fasta.tokens("chr1", start, end)).long()[None]
            with torch.inference_mode():
                chances = torch.log_softmax(model(ids)[0, :-1, 7:11].double(), dim=-1)
            losses[assembly.name] -= float(chances.gather(1, ids[0, 1:, None] - 7).sum())
            bases[assembly.name] += end - start - 1
    assert list(done["sources"]) == ["easy", "other"]
    card = (whole / "README.md").read_text()
    for name in losses:
        expected = math.exp(losses[name] / bases[name])
        assert last.figures[f"perplexity[{name}]"] == pytest.approx(expected, rel=1e-4)
        assert done["sources"][name]["validation_perplexity"] == pytest.approx(expected, rel=1e-4)
        assert done["sources"][name]["validation_bases"] == bases[name]
        assert f"| {name} | {done['sources'][name]['training_bases']:,} |" in card
        assert f"{done['sources'][name]['test_perplexity']:.4f}" in card
    together = math.exp(sum(losses.values()) / sum(bases.values()))
    assert done["validation_perplexity"] == pytest.approx(together, rel=1e-4)
    # The Markov models of all sources, measured on each.
    assert done["sources"]["easy"]["validation_best_markov"] < 3 < done["sources"]["other"]["validation_best_markov"]


def test_bases_read_are_counted_for_each_source(whole: Path) -> None:
    done = read_config(whole)["provenance"]
    read = {name: facts["training_bases"] for name, facts in done["sources"].items()}
    assert sum(read.values()) == pytest.approx(done["tokens"], rel=0.02)  # the first base of a window is no target
    sizes = json.loads((whole / "genome.json").read_text())["sources"]
    wanted = {name: sizes[name]["weight"] * sizes[name]["split"]["train"]["bases"] for name in read}
    assert read["easy"] / read["other"] == pytest.approx(wanted["easy"] / wanted["other"], rel=0.15)


def test_the_digests_of_each_source_are_recorded(folder: Path, whole: Path) -> None:
    genome = json.loads((whole / "genome.json").read_text())
    for name, file in (("easy", "easy.fa"), ("other", "hard.fa")):
        record = genome["sources"][name]
        assert record["fasta"] == file
        assert record["contigs"]["chr1"]["md5"] == Fasta(folder / file).digest("chr1")
        assert len(record["sequences_sha256"]) == len(record["windows_sha256"]) == 64
    assert read_config(whole)["provenance"]["sequences_sha256"] == genome["sequences_sha256"]


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_a_resumed_run_is_the_uninterrupted_one(folder: Path, whole: Path, tmp_path: Path) -> None:
    original, calls = Learner.training_step, [0]

    def killed(self: Learner, *args: object) -> object:
        calls[0] += 1
        if calls[0] == 8:
            raise Killed
        return original(self, *args)

    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "training_step", killed)
        with pytest.raises(Killed):
            pipeline.train(two(folder), folder=run, quiet=True)
    hard = folder / "hard.fa"
    text = hard.read_text()
    try:
        hard.write_text(text.replace("A", "C", 1))
        with pytest.raises(DataError, match="other: the FASTA has other bases on chr1"):
            resume(run)
    finally:
        hard.write_text(text)
    assert resume(run) == 0
    assert same_weights(run, whole)
    for one, other in zip(read_rows(run / "metrics.csv"), read_rows(whole / "metrics.csv"), strict=True):
        assert (one.step, one.split, dict(one.figures)) == (other.step, other.split, dict(other.figures))


def test_each_source_takes_its_own_file_of_windows(folder: Path, tmp_path: Path) -> None:
    for name, ends in (("easy", (64, 128, 192)), ("hard", (40, 80, 120))):
        rows = zip((0, *ends), ends, ("train", "valid", "train"), strict=False)
        lines = [f"chr1\t{start}\t{end}\tw{start}\t0\t-\t{split}\n" for start, end, split in rows]
        (tmp_path / f"{name}.bed").write_text("".join(lines))
    files = [str(folder / "easy.fa"), str(folder / "hard.fa")]
    beds = [str(tmp_path / "easy.bed"), str(tmp_path / "hard.bed")]
    config = configuration(*TINY, options={"fasta": files, "window_file": beds, "run.max_steps": 1})
    inputs = gather(config, max_length=64, offline=True, quiet=True)
    assert inputs.reader("train").lengths.tolist() == [64, 64, 40, 40]
    assert inputs.reader("valid").lengths.tolist() == [64, 40]
    assert [assembly.kind for assembly in inputs.assemblies] == ["file", "file"]
    reverse = configuration(*TINY, options={"fasta": files, "window_file": beds[::-1]})
    assert gather(reverse, max_length=64, offline=True, quiet=True).reader("valid").lengths.tolist() == [40, 64]
    (tmp_path / "hard.bed").write_text("chr1\t0\t40\tw\t0\t+\tvalid\n")
    with pytest.raises(DataError, match=r"hard\.bed: no windows for training"):
        gather(config, max_length=64, offline=True, quiet=True)


def test_one_sequence_under_two_names_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.fa"
    copy.write_text((folder / "easy.fa").read_text().replace(">chr1", ">1"))
    config = configuration(*TINY, options={"fasta": [str(folder / "easy.fa"), str(copy)], "run.max_steps": 1})
    with pytest.raises(DataError, match="sources easy and copy contain the same sequences"):
        pipeline.train(config, folder=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_source_too_small_to_be_measured_says_so(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small = write_fasta(tmp_path / "small.fa", {"chr1": random_bases(60, seed=9, letters="ACGT")})
    config = configuration(*TINY, options={"fasta": [str(folder / "easy.fa"), str(small)], "run.max_steps": 1})
    assert pipeline.train(config, folder=tmp_path / "run", quiet=True) == 0
    assert "no validation windows in small" in caplog.text
    facts = read_config(tmp_path / "run")["provenance"]["sources"]["small"]
    assert "validation_perplexity" not in facts
    rows = read_rows(tmp_path / "run" / "metrics.csv")
    assert all(math.isnan(row.figures["perplexity[small]"]) for row in rows if row.split == "valid")
