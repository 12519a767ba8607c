"""The model folder: what is in it, and that nothing that somebody has is lost or taken for more than it is."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from fasta_files import random_bases, write_fasta
from train_runs import configuration, resumed, same_weights, tiny_config, train_tiny, weights

from genoconv import load_model
from genoconv.errors import DataError, ModelError, OutputError, UsageError
from genoconv.genome.assemblies.fetch import fetch
from genoconv.models.checkpoint import read_config
from genoconv.pipelines.train import run as pipeline
from genoconv.pipelines.train.inputs import gather

PARTS = {
    *("model.safetensors", "config.json", "genome.json", "run.yaml", "metrics.csv", "README.md", "checkpoints"),
    "training_mqc.yaml",
}


def test_the_perplexity_in_the_folder_is_that_of_the_weights_in_it(fasta: Path, tmp_path: Path) -> None:
    folder = train_tiny(tmp_path / "run", fasta, "data.valid_tokens=1000000")
    config = tiny_config(fasta, "data.valid_tokens=1000000")
    model = load_model(folder)
    inputs = gather(config, max_length=64, offline=True, quiet=True).assemblies[0]
    valid = inputs.split("valid")
    total, count = 0.0, 0
    for contig, start, end in zip(valid["contig"], valid["start"], valid["end"], strict=True):
        ids = torch.from_numpy(inputs.fasta.tokens(contig, start, end)).long()[None]
        with torch.inference_mode():
            chances = torch.log_softmax(model(ids)[0, :-1, 7:11].double(), dim=-1)
        total -= float(chances.gather(1, ids[0, 1:, None] - 7).sum())
        count += ids.shape[1] - 1
    perplexity = read_config(folder)["provenance"]["validation_perplexity"]
    assert perplexity == pytest.approx(float(torch.exp(torch.tensor(total / count))), rel=1e-4)


def test_an_existing_folder_stays_unless_forced(fasta: Path, tmp_path: Path) -> None:
    folder = train_tiny(tmp_path / "run", fasta, max_steps=1)
    before = weights(folder)
    with pytest.raises(OutputError, match="exists already; choose another name, or pass --force"):
        train_tiny(folder, fasta, max_steps=2)
    assert all(torch.equal(before[name], value) for name, value in weights(folder).items())
    notes = folder / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(OutputError, match="is not a model folder"):
        train_tiny(tmp_path, fasta)
    config = tiny_config(fasta, max_steps=2)
    assert pipeline.train(config, folder=folder, force=True, quiet=True) == 0
    assert read_config(folder)["provenance"]["steps"] == 2
    assert {path.name for path in folder.iterdir()} == PARTS | {"notes.txt"}
    assert notes.read_text() == "mine"


def test_the_old_model_stays_a_model_until_the_new_one_is_whole(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, twin = (train_tiny(tmp_path / name, fasta, max_steps=1) for name in ("run", "twin"))
    other = tiny_config(fasta, "run.seed=3", max_steps=2)

    def fail(*_: object, **__: object) -> None:
        raise DataError("no")

    # The second attempt must not lose what the first has put aside, even if it gets further.
    for step in ("genoconv.pipelines.train.session.measure_baselines", "genoconv.models.checkpoint.save_model"):
        with monkeypatch.context() as patch:
            patch.setattr(step, fail)
            with pytest.raises(DataError):
                pipeline.train(other, folder=folder, force=True, quiet=True)
        assert same_weights(folder / "previous", twin)
        with pytest.raises(ModelError, match=f"its training was not finished: `genoconv train --resume {folder}`"):
            load_model(folder)
        with pytest.raises(OutputError, match=f"resume with `genoconv train --resume {folder}`"):
            pipeline.train(other, folder=folder, quiet=True)
    config = resumed(folder)
    assert pipeline.resume(config, folder=folder, quiet=True) == 0
    assert not (folder / "previous").exists()
    assert same_weights(folder, train_tiny(tmp_path / "fresh", fasta, "run.seed=3", max_steps=2))


def test_nothing_is_written_before_the_input_is_known_to_be_good(fasta: Path, tmp_path: Path) -> None:
    folder = train_tiny(tmp_path / "run", fasta, max_steps=1)
    before = weights(folder)
    bad = write_fasta(tmp_path / "bad.fa", {"chr1": "N" * 5000})
    with pytest.raises(DataError, match="no windows"):
        pipeline.train(tiny_config(bad), folder=folder, force=True, quiet=True)
    assert all(torch.equal(before[name], value) for name, value in weights(folder).items())
    with pytest.raises(DataError):
        train_tiny(tmp_path / "new", bad)
    assert not (tmp_path / "new").exists()


def test_weights_without_config_are_no_model(fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("genoconv.train.checkpoints.atomic.commit", fail)
        with pytest.raises(OSError, match="No space left"):
            train_tiny(folder, fasta)
    assert not list((folder / "checkpoints").glob("step-*"))
    with pytest.raises(ModelError):
        load_model(folder)


def test_going_on_from_a_model(fasta: Path, tmp_path: Path) -> None:
    first = train_tiny(tmp_path / "first", fasta, max_steps=10)
    second = tmp_path / "second"
    config = configuration(
        *("optim.lr=1e-30", "optim.filter_lr=1e-30", "data.valid_tokens=2000", "run.device=cpu"),
        options={"fasta": str(fasta), "init": str(first), "run.max_steps": 1, "max_length": 32},
    )
    assert pipeline.train(config, folder=second, quiet=True) == 0
    assert same_weights(first, second)  # so little was learnt that nothing but where it began can be seen
    record = read_config(second)
    assert record["model"] == read_config(first)["model"]
    assert record["provenance"]["init"]["folder"] == str(first)
    assert f"the model in `{first}`" in (second / "README.md").read_text()
    with pytest.raises(UsageError, match=r"--max-length 128: the model in .* was made for up to 64 bases"):
        pipeline.train(config.model_copy(update={"max_length": 128}), folder=tmp_path / "third", quiet=True)
    with pytest.raises(ModelError, match="does not exist"):
        pipeline.train(config.model_copy(update={"init": tmp_path / "none"}), folder=tmp_path / "third", quiet=True)
    assert not (tmp_path / "third").exists()


def test_dropout_is_on_when_going_on_from_a_model(fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from genoconv.train.module import Learner

    first = train_tiny(tmp_path / "first", fasta, "model.embed_dropout=0.5", max_steps=1)
    modes = []
    original = Learner.training_step
    monkeypatch.setattr(
        Learner,
        "training_step",
        lambda self, *a: (modes.append(all(m.training for m in self.model.modules())), original(self, *a))[1],
    )
    options = {"fasta": str(fasta), "init": str(first), "run.max_steps": 2}
    assignments = ["data.valid_tokens=500", "run.validate_every=1", "run.device=cpu"]
    config = configuration(*assignments, options=options)
    assert pipeline.train(config, folder=tmp_path / "second", quiet=True) == 0
    assert modes == [True, True]


ODD = {
    "a genome too small": ({"c": "ACGT" * 4}, (), "no windows"),
    "one that fits one window": ({"c": random_bases(64, seed=1, letters="ACGT")}, (), "no windows for"),
    "one contig that is held out": (
        {"c": random_bases(3000, seed=1, letters="ACGT")},
        ("windows.valid=c",),
        "no windows for training: all of them are in valid; hold out less",
    ),
    "nothing but N": ({"c": "N" * 3000}, (), "more than 50% unknown bases"),
    "protein": ({"p": "MKVLAAGIVGLLLAQPSWEHKRDENFYW" * 30}, (), "protein"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_genomes_get_one_clear_line(tmp_path: Path, name: str) -> None:
    records, assignments, message = ODD[name]
    with pytest.raises(DataError) as caught:
        train_tiny(tmp_path / "run", write_fasta(tmp_path / "odd.fa", records), *assignments)
    assert message in str(caught.value)
    assert "odd.fa" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_an_annotation_of_another_genome(fasta: Path, tmp_path: Path) -> None:
    genes = tmp_path / "genes.gff3"
    genes.write_text("chrX\tx\tgene\t11\t600\t.\t+\t.\tID=a\n")
    with pytest.raises(DataError, match=r"genes\.gff3.*chrX"):
        train_tiny(tmp_path / "run", fasta, f"annotation={genes}")


def test_genes_under_another_name_of_a_known_genomes_contig(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENOCONV_MANIFESTS", str(tmp_path))
    (tmp_path / "toy.toml").write_text(
        'title = "toy"\nlicence = "none"\nsource = "here"\n[fasta]\nurls = ["https://example.org/genome.fa"]\n'
        '[contigs]\nchr1 = 20000\n[aliases]\nBK006935 = "chr1"\n'
    )
    fetch("toy", mirror=str(tmp_path), quiet=True)
    genes = tmp_path / "genes.gff3"
    rows = [f"BK006935\tx\tgene\t{s + 1}\t{s + 150}\t.\t+\t.\tID=g{s}" for s in range(0, 19_000, 200)]
    genes.write_text("\n".join(rows) + "\n")
    config = configuration(options={"genome": "toy", "annotation": str(genes)})
    inputs = gather(config, max_length=256, offline=True, quiet=True).assemblies[0]
    assert len(inputs.windows.frame) == 95
    assert set(inputs.windows.frame["contig"]) == {"chr1"}


def test_windows_longer_than_any_gene_and_as_short_as_can_be(fasta: Path, tmp_path: Path) -> None:
    genes = tmp_path / "genes.gff3"
    rows = [f"chr1\tx\tgene\t{s + 1}\t{s + 150}\t.\t{'+-'[s % 400 // 200]}\t.\tID=g{s}" for s in range(0, 19_000, 200)]
    genes.write_text("\n".join(rows) + "\n")
    long = train_tiny(tmp_path / "long", fasta, f"annotation={genes}", "max_length=4096", max_steps=2)
    genome = json.loads((long / "genome.json").read_text())
    assert genome["windows"] == "genes"
    assert sum(part["bases"] for part in genome["split"].values()) == 95 * 150
    short = train_tiny(tmp_path / "short", fasta, f"annotation={genes}", "max_length=16", max_steps=2)
    assert read_config(short)["model"]["max_length"] == 16
    with pytest.raises(DataError, match="no gene has biotype lncRNA"):
        train_tiny(tmp_path / "none", fasta, f"annotation={genes}", "windows.biotypes=lncRNA")


def test_gzip_is_read_as_its_plain_twin(fasta: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.fa.gz"
    packed.write_bytes(gzip.compress(fasta.read_bytes()))
    one, other = (train_tiny(tmp_path / p.stem, p, max_steps=2) for p in (fasta, packed))
    assert same_weights(one, other)


def test_an_output_that_cannot_be_written(fasta: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot create a model folder"):
        train_tiny(tmp_path / "file" / "run", fasta)
