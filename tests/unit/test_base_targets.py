"""Targets of every base from the intervals of a BED file: which bases, and on which strand."""

from pathlib import Path

import pytest
from fasta_files import random_bases, write_fasta

from genoconv.pipelines.finetune.targets import BaseTargets, open_targets


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return write_fasta(tmp_path / "g.fa", {"c": random_bases(100, seed=1), "d": random_bases(50, seed=2)})


def targets(fasta: Path, *rows: str) -> BaseTargets:
    bed = fasta.with_name("t.bed")
    bed.write_text("".join("\t".join(row.split()) + "\n" for row in rows))
    return open_targets([bed], fasta=fasta, contigs={"c": 100, "d": 50}, labels=(), task=None)


def marked(found: BaseTargets, contig: str, start: int, end: int, strand: str) -> list[int]:
    """Positions on the contig that have the first label."""
    return [start + place for place, value in enumerate(found.of(contig, start, end, strand)[:, 0]) if value == 1]


def test_an_interval_without_a_strand_is_on_both(fasta: Path) -> None:
    found = targets(fasta, "c 10 13 a 0 +", "c 20 22 b 0 -", "c 30 32 c 0 .")
    assert found.stranded
    assert marked(found, "c", 0, 100, "+") == [10, 11, 12, 30, 31]
    assert marked(found, "c", 0, 100, "-") == [20, 21, 30, 31]
    assert marked(found, "d", 0, 50, "+") == []


def test_a_long_interval_reaches_past_those_that_begin_after_it(fasta: Path) -> None:
    found = targets(fasta, "c 5 60", "c 10 12", "c 14 15")
    assert not found.stranded
    assert marked(found, "c", 40, 70, "+") == list(range(40, 60))
    assert marked(found, "c", 60, 70, "+") == []
    assert marked(found, "c", 0, 6, "-") == [5]


def test_classes_are_numbers_and_labels_that_overlap_are_columns(fasta: Path) -> None:
    apart = targets(fasta, "c 0 2 exon", "c 4 6 intron")
    assert (apart.kind, apart.names) == ("multiclass", ("none", "exon", "intron"))
    assert apart.of("c", 0, 7, "+")[:, 0].tolist() == [1, 1, 0, 0, 2, 2, 0]
    together = targets(fasta, "c 0 3 exon", "c 2 4 repeat")
    assert (together.kind, together.names) == ("multilabel", ("exon", "repeat"))
    assert together.of("c", 0, 5, "+").tolist() == [[1, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
