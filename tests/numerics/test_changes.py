"""Insertions, deletions and MNVs that are planned together have the scores of those that are planned one by one."""

import random

import pytest
from fasta_files import random_bases
from toy_scoring import record, scorer, write_fasta

from genoconv.tasks.changes import Changes
from genoconv.tasks.comparison import Comparisons, Reduce
from genoconv.tasks.planning import Strand

CONTIG = random_bases(900, seed=9, letters="ACGT")
REPEAT = "ACAC" * 40


def records() -> list:
    """At both ends, in repeats, in unknown sequence, in small letters, longer than half a window."""
    text = {"c": CONTIG, "short": CONTIG[:70], "repeat": REPEAT, "unknown": "N" * 300 + CONTIG[:100]}
    rng = random.Random(3)
    found = []
    for contig, sequence in text.items():
        for start in [0, 1, len(sequence) - 3, *(rng.randrange(len(sequence)) for _ in range(40))]:
            ref = sequence[start : start + rng.randint(1, 12)]
            alts = {"".join(rng.choices("ACGT", k=rng.randint(1, 9))) for _ in range(2)} | {ref[0], ref + "ac"}
            found.append(record(contig, start, ref, *sorted(alts - {ref})))
    return found


@pytest.mark.parametrize("reduce", list(Reduce))
@pytest.mark.parametrize("strand", list(Strand))
def test_scores_are_those_of_one_by_one(tmp_path, reduce: Reduce, strand: Strand) -> None:
    contigs = {"c": CONTIG, "short": CONTIG[:70], "repeat": REPEAT, "unknown": "N" * 300 + CONTIG[:100]}
    made = scorer(write_fasta(tmp_path / "c.fa", contigs), widths=(64, 32), grid=(4, 8), reduce=reduce, strand=strand)
    some = records()
    together, alone = made._planner.plans(some, Comparisons(reduce))
    changes = [one.some for one in together if isinstance(one.some, Changes)]
    assert sum(len(one.alleles) for one in changes) > len(alone) > 20
    found = made.score(some)
    made._planner.aligned = True
    expected = made.score(some)
    assert found == expected
    assert len({score.llr for alleles in found for windows in alleles for score in windows}) > 100
