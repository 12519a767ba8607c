"""Real genomes, seconds of training: a model of a few thousand parameters already knows more than base frequencies."""

import json
from pathlib import Path

import pytest
from train_runs import train_tiny

from genoconv.models.checkpoint import read_config
from support import DATA, needs_data

GENOMES = DATA / "genomes"
YEAST = GENOMES / "yeast_chr1_2"
COLI = GENOMES / "ecoli_k12"
HUMAN = GENOMES / "hg19_chr22_1_22M"

LEARN = (
    "model.d_model=32",
    "max_length=512",
    "data.tokens_per_batch=2048",
    "data.valid_tokens=20000",
    "data.reverse_complement=auto",
    "optim.lr=0.01",
    "optim.filter_lr=0.005",
    "run.log_every=20",
)
CASES = {
    "yeast genes": (YEAST / "yeast_chrI_chrII.fa.gz", YEAST / "yeast_chrI_chrII.gff3.gz", "genes"),
    "coli tiles": (COLI / "NC_000913.3.fa.gz", None, "tiles"),
    "human genes": (HUMAN / "chr22.1-22000000.fa.gz", HUMAN / "chr22.refseq.1-22M.gtf.gz", "genes"),
}


@needs_data("genomes")
@pytest.mark.parametrize("name", CASES)
def test_a_real_genome_is_learnt_from(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genoconv.pipelines.train.report.write_plot", lambda *_, **__: True)
    fasta, annotation, kind = CASES[name]
    more = () if annotation is None else (f"annotation={annotation}",)
    folder = train_tiny(tmp_path / "run", fasta, *LEARN, *more, max_steps=60)
    done = read_config(folder)["provenance"]
    assert done["validation_perplexity"] < done["markov_perplexities"][0] < 4.01, done
    genome = json.loads((folder / "genome.json").read_text())
    assert genome["windows"] == kind
    assert all(genome["split"][part]["windows"] for part in ("train", "valid", "test"))


@needs_data("genomes")
def test_whole_genes_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genoconv.pipelines.train.report.write_plot", lambda *_, **__: True)
    fasta, annotation, _ = CASES["yeast genes"]
    whole = ("max_length=20000", "data.valid_tokens=1000", "data.stages=[{length: 20000}]")
    folder = train_tiny(tmp_path / "run", fasta, f"annotation={annotation}", *whole, max_steps=1)
    genome = json.loads((folder / "genome.json").read_text())
    from genoconv.genome.annotation.genes import read_genes

    genes = read_genes(annotation)  # type: ignore[arg-type]
    assert sum(part["bases"] for part in genome["split"].values()) == int(
        (genes["end"] - genes["start"])[lambda lengths: lengths >= 64].sum()
    )
