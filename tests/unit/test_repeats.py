"""The long demo: contigs whose end repeats their beginning, and nothing else that could be learnt."""

from pathlib import Path

import pytest
from train_runs import configuration

from genoconv.errors import UsageError
from genoconv.genome.assemblies.repeats import RepeatPlan, write_repeats
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.intervals import read_bed
from genoconv.models.checkpoint import read_config
from genoconv.pipelines.train import run as pipeline
from genoconv.pipelines.train.inputs import gather

PLAN = RepeatPlan(contigs=12, length=500, distance=320, block=16)


def test_the_end_of_a_contig_repeats_its_beginning_and_the_bed_names_where_blocks_begin(tmp_path: Path) -> None:
    fasta, bed = tmp_path / "x.fa", tmp_path / "x.bed"
    write_repeats(PLAN, fasta=fasta, bed=bed)
    genome, rows = Fasta(fasta), read_bed(bed)
    assert list(genome.contigs.values()) == [500] * 12
    units = set()
    for contig in genome.contigs:
        codes = genome.tokens(contig, 0, 500)
        assert (codes[320:] == codes[:180]).all()
        assert all(len(set(codes[start : start + 16].tolist())) == 1 for start in range(0, 320, 16))
        units.add(codes[:320].tobytes())
        here = rows[rows["contig"] == contig]
        assert here["start"].tolist() == list(range(320, 500, 16))
        assert (here["end"] - here["start"] == 1).all()
    assert len(units) == 12
    before = fasta.read_bytes()
    write_repeats(PLAN, fasta=fasta, bed=bed)
    assert fasta.read_bytes() == before


def test_the_demo_brings_its_sequence_and_its_region() -> None:
    sizes = ("contigs=12", "length=500", "distance=320", "block=16", "loss_weight=4")
    config = configuration(*(f"repeats.{size}" for size in sizes), options={"demo": "long", "max_length": 500})
    inputs = gather(config, max_length=500, offline=True, quiet=True)
    assert (inputs.demo, inputs.regions) == (True, ("repeat", "other"))
    assert inputs.often() is None
    assert inputs.summary("train") == "10 tiles"
    weights = inputs.reader("train", learn=True).read(0).weights
    assert weights is not None
    assert [place for place, weight in enumerate(weights.tolist()) if weight == 4] == list(range(320, 500, 16))


REFUSED = {
    "too far": (("repeats.distance=5000",), {}, "repeats.distance is 5,000; it must be below repeats.length, 4,096"),
    "uneven": (("repeats.block=100",), {}, "repeats.block is 100; it must divide repeats.distance, 3,072"),
    "endless": (("repeats.contigs=16000000",), {}, "more than 2,147,483,648 bases"),
    "a sequence too": ((), {"fasta": "x.fa"}, "--demo generates its own sequence"),
    "a genome too": ((), {"genome": "hg38"}, "--demo generates its own sequence"),
    "a weight": (("repeats.loss_weight=0",), {}, "repeats.loss_weight: must be above 0.0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_demo_that_cannot_be_is_refused(name: str) -> None:
    assignments, options, message = REFUSED[name]
    with pytest.raises(UsageError) as caught:
        configuration(*assignments, options={"demo": "long", **options})
    assert message in str(caught.value)


def test_the_short_demo_is_what_a_run_without_a_sequence_learns_from() -> None:
    assert configuration(options={"demo": "short"}).genome == configuration().genome == ("demo",)
    with pytest.raises(UsageError, match="--demo generates its own sequence"):
        configuration(options={"demo": "short", "fasta": "x.fa"})


def test_a_model_that_sees_far_enough_knows_the_repeats_and_one_that_does_not_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genoconv.pipelines.train.report.write_plot", lambda *_, **__: True)
    sizes = ("contigs=1500", "length=32", "distance=20", "block=1", "loss_weight=9")
    small = ("model.emb_dim=33", "model.filter_order=64", "data.tokens_per_batch=2048", "run.device=cpu")
    found = {}
    for name, length in (("long", 32), ("short", 16)):
        config = configuration(
            *(f"repeats.{size}" for size in sizes),
            *small,
            options={"demo": "long", "max_length": length, "run.max_steps": 110, "run.validate_every": 110},
        )
        assert pipeline.train(config, folder=tmp_path / name, quiet=True) == 0
        found[name] = read_config(tmp_path / name)["provenance"]["regions"]
    assert found["long"]["repeat"]["validation_perplexity"] < 1.2
    assert found["short"]["repeat"]["validation_perplexity"] > 3.5
    assert found["long"]["other"]["validation_perplexity"] > 3.5  # what repeats nothing cannot be known
