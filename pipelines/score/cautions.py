"""Reasons to doubt a model's scores that its own folder shows: what it was measured against, what it was trained on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genoconv.models.checkpoint import read_config
from genoconv.models.published.hub import PUBLISHED
from genoconv.models.registry import model_folder
from genoconv.wording import printable

_DEMO = "demo"


def cautions(model: Path, *, reference: Mapping[str, str], fasta: Path) -> list[str]:
    """Reasons not to rely on the scores of ``model`` on this reference, one phrase each; none for most models.

    Args:
        model: the model folder.
        reference: MD5 of the sequences that variants lie on.
        fasta: what to call the reference.
    """
    provenance = read_config(model)["provenance"]
    found = [
        _below_baseline(provenance),
        _elsewhere(model, provenance, reference=reference, fasta=fasta),
        _imported(provenance, reference=reference, fasta=fasta),
    ]
    return [printable(caution) for caution in found if caution]  # names in a config may hold anything


def _below_baseline(provenance: Mapping[str, Any]) -> str | None:
    ours, markov = provenance.get("validation_perplexity"), provenance.get("markov_perplexities")
    if not isinstance(ours, int | float) or not isinstance(markov, list) or not markov:
        return None
    numbers = [value for value in markov if isinstance(value, int | float)]
    best = min(numbers, default=float("inf"))
    if ours < best:
        return None
    return (
        f"the model predicts worse than counting k-mers (validation perplexity {ours:.3f}, "
        f"Markov model of order {markov.index(best)} {best:.3f}); train it longer"
    )


def _elsewhere(model: Path, provenance: Mapping[str, Any], *, reference: Mapping[str, str], fasta: Path) -> str | None:
    """Whether the training genome is known and is not the reference."""
    name = str(provenance.get("genome") or "")
    trained = _training_sequences(model)
    if set(trained) & set(reference.values()):
        return None
    if name == _DEMO:
        return "the model was trained on the synthetic demo genome, which is not biological sequence"
    if not trained or not reference:
        return None
    species = _species(provenance)
    there = _assemblies(trained) | {name for names in species.values() for name in names}
    here = _assemblies(reference.values())
    if there & here:
        return None
    if species and not here:
        return (
            f"the model was trained on sequence of {' and '.join(species)}; it is not known whether {fasta.name} is"
            " one of these, and scores on another species may mean little"
        )
    known = f" ({', '.join(sorted(here))})" if here else ""
    learned = f"sequence of {' and '.join(species)}" if species else name or "another genome"
    return (
        f"the model was trained on {learned}, which shares no sequence with {fasta.name}{known}; "
        "scores on another species or assembly may mean little"
    )


def _species(provenance: Mapping[str, Any]) -> dict[str, list[str]]:
    """Genomes by name of each species that a model has read parts of, where its folder says so."""
    species = provenance.get("species")
    if not isinstance(species, Mapping):
        return {}
    return {str(name): [str(one) for one in names] for name, names in species.items() if isinstance(names, list)}


def _imported(provenance: Mapping[str, Any], *, reference: Mapping[str, str], fasta: Path) -> str | None:
    """What is known of the training genome of an imported checkpoint, which does not record it itself."""
    if provenance.get("kind") != "imported":
        return None
    source = provenance.get("source")
    repository = source.get("repository") if isinstance(source, Mapping) else None
    trained = next((model.genome for model in PUBLISHED.values() if model.repository == repository), None)
    here = _assemblies(reference.values())
    if trained is None:
        return (
            "the model was imported from a checkpoint that does not record what it was trained on; nothing says that"
            f" its scores mean anything on {fasta.name}"
        )
    if trained in here:
        return None
    known = f" but {', '.join(sorted(here))}" if here else ", as far as is known"
    return (
        f"the published model was trained on {trained}, and {fasta.name} is not that{known}; scores on another species"
        " or assembly may mean little"
    )


def _training_sequences(model: Path) -> list[str]:
    """MD5 of the sequences of the training genome, from ``genome.json``; none where that is missing or unusual."""
    try:
        record = json.loads((model_folder(model) / "genome.json").read_text(encoding="utf-8"))
        sources = record["sources"].values() if "sources" in record else [record]
        return [str(contig["md5"]) for source in sources for contig in source["contigs"].values()]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []


def _assemblies(digests: Any) -> set[str]:
    """Names of the genomes in our manifests that have one of these sequences."""
    from genoconv.genome.assemblies.manifest import list_manifests

    wanted = set(digests)
    return {manifest.name for manifest in list_manifests() if wanted & set(manifest.md5.values())}
