"""Reasons to doubt a model's scores, from what its folder says of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from vcf_files import tiny_model

from genoconv.genome.assemblies.manifest import list_manifests
from genoconv.models.published.hub import PUBLISHED
from genoconv.pipelines.score.cautions import cautions

FASTA = Path("reference.fa")
MD5 = {manifest.name: next(iter(manifest.md5.values())) for manifest in list_manifests() if manifest.md5}
HUMAN, YEAST = {"chr1": MD5["hg38"]}, {"chrI": MD5["saccer3"]}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "model")


def doubts(model: Path, reference: dict[str, str], trained: dict[str, str] | None = None, **provenance: Any) -> str:
    config = json.loads((model / "config.json").read_text())
    config["provenance"] = provenance
    (model / "config.json").write_text(json.dumps(config))
    if trained is not None:
        contigs = {name: {"md5": digest} for name, digest in trained.items()}
        (model / "genome.json").write_text(json.dumps({"contigs": contigs}))
    return "; ".join(cautions(model, reference=reference, fasta=FASTA))


@pytest.mark.parametrize(
    ("ours", "markov", "words"),
    [
        (3.2, [3.9, 3.5, 3.3], ""),
        (
            3.3,
            [3.9, 3.3, 3.5],
            "worse than counting k-mers (validation perplexity 3.300, Markov model of order 1 3.300)",
        ),
        (3.4, [3.9, 3.3, 3.5], "predicts worse than counting"),
        (3.4, [], ""),
        ("bad", [3.0], ""),
    ],
)
def test_a_model_is_held_against_counting(model: Path, ours: Any, markov: list[float], words: str) -> None:
    found = doubts(model, {}, validation_perplexity=ours, markov_perplexities=markov)
    assert words in found
    assert bool(words) == bool(found)


@pytest.mark.parametrize(
    ("reference", "trained", "words"),
    [
        (HUMAN, HUMAN, ""),
        (HUMAN, None, ""),  # nothing is known
        (HUMAN, YEAST, "trained on yeast, which shares no sequence with reference.fa (hg38)"),
        ({"x": "0" * 32}, YEAST, "trained on yeast, which shares no sequence with reference.fa; scores on another"),
        ({**HUMAN, "x": "0" * 32}, {"x": "0" * 32}, ""),  # one sequence in common
    ],
)
def test_the_training_genome_is_held_against_the_reference(
    model: Path, reference: dict[str, str], trained: dict[str, str] | None, words: str
) -> None:
    found = doubts(model, reference, trained, genome="yeast")
    assert words in found
    assert bool(words) == bool(found)


def test_species_of_a_model_are_known_by_any_assembly_of_theirs(model: Path) -> None:
    species = {"human": ["hg38", "chm13v2"], "yeast": ["saccer3"]}
    assert doubts(model, HUMAN, {"z": "1" * 32}, species=species) == ""
    other = doubts(model, {"x": MD5["ecoli-k12"]}, {"z": "1" * 32}, species=species)
    assert "trained on sequence of human and yeast, which shares no sequence with reference.fa (ecoli-k12)" in other
    unknown = doubts(model, {"x": "0" * 32}, {"z": "1" * 32}, species=species)
    assert "trained on sequence of human and yeast; it is not known whether reference.fa is one of these" in unknown


def test_the_demo_is_no_organism(model: Path) -> None:
    assert "synthetic demo genome" in doubts(model, HUMAN, genome="demo")


def test_a_published_checkpoint_is_of_its_genome(model: Path) -> None:
    published = next(one for one in PUBLISHED.values() if one.genome == "hg38")
    imported = {"kind": "imported", "source": {"repository": published.repository}}
    assert doubts(model, HUMAN, **imported) == ""
    assert "was trained on hg38, and reference.fa is not that but saccer3" in doubts(model, YEAST, **imported)
    assert "reference.fa is not that, as far as is known" in doubts(model, {"x": "0" * 32}, **imported)
    unknown = {"kind": "imported", "source": {"repository": "someone/else"}}
    assert "does not record what it was trained on" in doubts(model, HUMAN, **unknown)
